import io
import unicodedata

import numpy as np
import pytest
from PIL import Image as Pillow

from frcore.data.folders.align_folder import align_folder
from frcore.data.pixels.align import TEMPLATE_112, align_face
from frcore.data.pixels.images import read_image
from frcore.errors import UserError
from tests.data.making import pixels

POINTS = TEMPLATE_112 / 2 + np.random.default_rng(0).normal(0, 1, (5, 2))


def row(path, separator="\t", points=POINTS):
    return separator.join([path, *(f"{value:.3f}" for value in points.ravel())]) + "\n"


@pytest.fixture
def images(tmp_path):
    root = tmp_path / "images"
    for name in ("Ada/Ada 1.jpg", "Ada/Ada 2.png", "Bea/x/1.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels(len(name), side=70)).save(path)
    return root


def run(tmp_path, images, text, **options):
    (tmp_path / "list.txt").write_text(text)
    return align_folder(images, tmp_path / "list.txt", tmp_path / "out", **options)


@pytest.mark.parametrize(("encoding", "suffix"), [("png", ".png"), ("jpeg100", ".jpg"),
                                                  ("jpeg95", ".jpg")])  # fmt: skip
def test_faces_keep_their_folders(tmp_path, images, encoding, suffix):
    text = row("Ada/Ada 1.jpg") + row("Ada/Ada 2.png") + row("Bea/x/1.jpg", points=POINTS + 3)
    assert run(tmp_path, images, text, size=40, encoding=encoding) == (3, [])
    out = tmp_path / "out"
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.[jp]*g"))
    assert written == [f"Ada/Ada 1{suffix}", f"Ada/Ada 2{suffix}", f"Bea/x/1{suffix}"]
    rounded = np.round(POINTS, 3) + 3
    expected = align_face(read_image(images / "Bea/x/1.jpg"), rounded, 40)
    found = np.array(Pillow.open(out / f"Bea/x/1{suffix}"))
    assert found.shape == (40, 40, 3)
    limit = {"png": 0, "jpeg100": 20, "jpeg95": 40}[encoding]
    assert np.abs(found.astype(int) - expected).max() <= limit
    assert np.abs(found.astype(int) - expected).mean() <= limit / 10


def test_quality_is_what_was_asked_for(tmp_path, images):
    tables = {}
    for encoding, quality in (("jpeg95", 95), ("jpeg100", 100)):
        run(tmp_path, images, row("Ada/Ada 1.jpg"), encoding=encoding)
        tables[quality] = Pillow.open(tmp_path / "out/Ada/Ada 1.jpg").quantization[0]
        reference = io.BytesIO()
        Pillow.fromarray(pixels(0)).save(reference, "JPEG", quality=quality)
        assert tables[quality] == Pillow.open(reference).quantization[0]


def test_spaces_separate_too_where_no_name_has_one(tmp_path, images):
    assert run(tmp_path, images, row("Bea/x/1.jpg", " "))[0] == 1
    with pytest.raises(UserError, match=r"list\.txt:1: expected 11 fields"):
        run(tmp_path, images, row("Ada/Ada 1.jpg", " "))


def test_pictures_that_the_list_does_not_name(tmp_path, images):
    (images / "Ada/Ada 2.png").rename(images / "Ada/Ada 2")
    (images / "Ada/notes.txt").write_text("no picture")
    (images / ".cache").mkdir()
    (images / ".cache/1.jpg").write_bytes((images / "Bea/x/1.jpg").read_bytes())
    count, unlisted = run(tmp_path, images, row("Ada/Ada 1.jpg"))
    assert (count, unlisted) == (1, ["Ada/Ada 2", "Bea/x/1.jpg"])


@pytest.mark.parametrize("name", ["J.R._Smith_0001", "J.R._Smith_0001.jfif", "J.R._Smith_0001.jpg"])
def test_dots_in_names_are_no_suffix(tmp_path, images, name):
    (images / "Bea/x/1.jpg").rename(images / name)
    run(tmp_path, images, row(name))
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["J.R._Smith_0001.jpg"]


def test_a_composed_list_and_decomposed_names_on_disk(tmp_path, images):
    decomposed, composed = (unicodedata.normalize(form, "Zoé") for form in ("NFD", "NFC"))
    (images / "Bea").rename(images / decomposed)
    text = row("Ada/Ada 1.jpg") + row("Ada/Ada 2.png") + row(f"{composed}/x/1.jpg")
    assert run(tmp_path, images, text) == (3, [])


def test_threads_change_nothing(tmp_path, images):
    text = "".join(row(name) for name in ("Ada/Ada 1.jpg", "Ada/Ada 2.png", "Bea/x/1.jpg"))
    contents = []
    for threads in (1, 5):
        run(tmp_path, images, text, threads=threads)
        contents.append({path.name: path.read_bytes() for path in tmp_path.rglob("out/*/*.jpg")})
    assert contents[0] == contents[1]


BAD = {
    "../Ada 1.jpg": "must lead to a file below the folder",
    "/etc/passwd": "must lead to a file below the folder",
    "C:\\a.jpg": "must lead to a file below the folder",
    "Ada/../../a.jpg": "must lead to a file below the folder",
    "Bea/X/1.png": "is a duplicate of line 1",
}


@pytest.mark.parametrize("path", BAD)
def test_bad_paths_are_refused_before_anything_is_read(tmp_path, images, path):
    with pytest.raises(UserError, match=rf"list\.txt:2: .*{BAD[path]}"):
        run(tmp_path, images, row("Bea/x/1.jpg") + row(path))
    assert not (tmp_path / "out").exists()


def test_bad_landmarks_are_named(tmp_path, images):
    with pytest.raises(UserError, match=r"list\.txt:2: x1 must be a finite number"):
        run(tmp_path, images, row("a.jpg") + row("b.jpg", points=POINTS * np.nan))
    with pytest.raises(UserError, match=r"list\.txt:2: all five landmarks are one point"):
        run(tmp_path, images, row("a.jpg") + row("b.jpg", points=POINTS * 0))
    with pytest.raises(UserError, match=r"list\.txt:2: expected 11 fields"):
        run(tmp_path, images, row("a.jpg") + "b.jpg\t1\t2\n")


def test_bad_images_are_named_and_nothing_is_written(tmp_path, images):
    (images / "Ada/Ada 2.png").write_bytes(b"no image")
    text = row("Ada/Ada 1.jpg") + row("Ada/Ada 2.png") + row("Ada/Ada 3.png")
    with pytest.raises(UserError, match=r"(?s)^2 images.*txt:2: .*2\.png.*txt:3: .*3\.png"):
        run(tmp_path, images, text)
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*")) == []


def test_wrong_options(tmp_path, images):
    with pytest.raises(UserError, match="jpeg95, jpeg100, png"):
        run(tmp_path, images, row("Bea/x/1.jpg"), encoding="gif")
    with pytest.raises(UserError, match="16 to 512"):
        run(tmp_path, images, row("Bea/x/1.jpg"), size=5000)
    with pytest.raises(UserError, match="is not a folder"):
        run(tmp_path, images / "none", row("Bea/x/1.jpg"))


def test_the_command(tmp_path, images, capsys, monkeypatch):
    from frcore.cli import main

    (tmp_path / "list.txt").write_text(row("Bea/x/1.jpg"))
    options = ["--align", str(images), "--out", str(tmp_path / "faces")]
    monkeypatch.setattr("sys.argv", ["frcore", "prepare", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--landmarks is missing" in capsys.readouterr().err
    listed = ["--landmarks", str(tmp_path / "list.txt"), "--size", "64", "--encoding", "png"]
    monkeypatch.setattr("sys.argv", ["frcore", "prepare", *options, *listed])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert Pillow.open(tmp_path / "faces/Bea/x/1.png").size == (64, 64)
    assert "2 images in" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_real_faces(tmp_path, shared_data):
    root = shared_data / "lfw"
    there = {path.relative_to(root / "original-250").as_posix()
             for path in (root / "original-250").rglob("*.jpg")}  # fmt: skip
    lines = (root / "landmarks.txt").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if line.split("\t")[0] in there)
    assert run(tmp_path, root / "original-250", text, encoding="jpeg95") == (200, [])
    means = []
    for name in sorted(there):
        ours = np.array(Pillow.open(tmp_path / "out" / name)).astype(int)
        means.append(np.abs(ours - np.array(Pillow.open(root / "aligned-112" / name))).mean())
    assert np.mean(means) < 2
