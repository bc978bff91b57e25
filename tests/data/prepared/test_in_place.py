import io
import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from frcore.data.contents import Contents, EncodedFiles, open_encoded
from frcore.data.pixels.align import template
from frcore.data.pixels.decoding import decode_rgb
from frcore.data.pixels.images import fit, read_image
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.in_place import InPlaceImages
from frcore.data.prepared.writing import write
from frcore.data.signatures import sign
from frcore.data.source import place_of
from frcore.errors import UserError
from frcore.study.data import Image
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec
from tests.data.making import pixels, write_person
from tests.data.sources import SOURCES, moved

IMAGE = Image(size=16, crop=18, alignment="none")
ABOUT = {"kind": "folder", "spec": {}, "spec_hash": "x", "alignment": "none", "synthetic": False}


@pytest.fixture
def files(tmp_path):
    root = tmp_path / "people"
    paths = [*write_person(root, "Ada", 3), *write_person(root, "Bea", 2, suffix=".png")]
    return root, [path.relative_to(root).as_posix() for path in paths]


def index_of(names):
    who = [name.partition("/")[0] for name in names]
    return pd.DataFrame({"name": names, "identity": who, "label": pd.factorize(np.array(who))[0],
                         "medium": range(len(names)), "true_identity": who})  # fmt: skip


@pytest.fixture
def folder(files, tmp_path):
    source = EncodedFiles(*files)
    contents = Contents("train", source, index_of(files[1]))
    write(tmp_path / "train", contents, IMAGE, in_place=True, **ABOUT)
    return tmp_path / "train"


def test_rows_are_as_numpy_would_give_them(files):
    expected = np.stack([fit(read_image(files[0] / name), IMAGE) for name in files[1]])
    images = InPlaceImages(EncodedFiles(*files), IMAGE, threads=3)
    assert images.shape == expected.shape == (5, 16, 16, 3)
    assert images.dtype == expected.dtype
    assert (len(images), images.nbytes) == (5, expected.nbytes)
    for rows in (0, -1, np.int64(3), slice(None), slice(1, 4, 2), [4, 0, 0], np.array([2]),
                 np.array([], int), np.array([True, False, False, True, True])):  # fmt: skip
        found = images[rows]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected[rows])
    for rows in (5, -6, [0, 9], [0.5], [[0]], np.array([True])):
        with pytest.raises(IndexError):
            images[rows]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_change_the_images(files, threads):
    one, more = (InPlaceImages(EncodedFiles(*files), IMAGE, threads=n) for n in (1, threads))
    rows = np.random.default_rng(0).integers(0, 5, 100)
    np.testing.assert_array_equal(one[rows], more[rows])
    more.use_threads(2)
    np.testing.assert_array_equal(one[rows], more[rows])


def test_a_prepared_folder_holds_no_pixels(folder, files):
    data = Prepared.open(folder)
    assert data.manifest.storage == "in_place"
    assert data.manifest.images == 5
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    assert not (folder / "images.npy").exists()
    np.testing.assert_array_equal(data.images[3], fit(read_image(files[0] / files[1][3]), IMAGE))
    data.verify()


def test_a_changed_source_is_refused(folder, files):
    path = files[0] / files[1][1]
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(before + b"\0")
    with pytest.raises(UserError, match=rf"{path.name}: had {len(before)} bytes"):
        Prepared.open(folder)
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(UserError, match="modification time"):
        Prepared.open(folder)
    path.unlink()
    with pytest.raises(UserError, match="No such file"):
        Prepared.open(folder)


def test_a_change_that_keeps_size_and_time_is_found_by_verify(folder, files):
    path = files[0] / files[1][1]
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(UserError, match="sha256"):
        Prepared.open(folder).verify()


@pytest.mark.parametrize("name", ["source.json", "source.parquet", "files.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"[]"])
def test_damaged_folders(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="frcore prepare"):
        Prepared.open(folder)


@pytest.mark.parametrize("change", [{"kind": "nothing"}, {"settings": {}}, {"image": {}}])
def test_a_source_that_is_not_known(folder, change):
    path = folder / "source.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError):
        Prepared.open(folder)


def test_damaged_images_are_named(files):
    (files[0] / files[1][4]).write_bytes(b"rubbish")
    (files[0] / files[1][2]).unlink()
    images = InPlaceImages(EncodedFiles(*files), IMAGE)
    assert list(images.problems()) == [2, 4]
    with pytest.raises(UserError, match=r"(?s)Bea_0002.png: not an image.*Ada_0003.jpg: No such"):
        images[[4, 0, 2]]
    images[[0, 1, 3]]


def test_fewer_images_of_a_source(files):
    source = EncodedFiles(*files)
    chosen = source.take(np.array([4, 0]))
    assert chosen.names.tolist() == [files[1][4], files[1][0]]
    assert chosen.encoded(1) == source.encoded(0)
    settings, table = chosen.settings, chosen.table
    again = open_encoded("files", json.loads(json.dumps(settings)), table)
    assert again.encoded(0) == source.encoded(4)


@pytest.mark.parametrize("name", ["../a.jpg", "a/../../b.jpg", "/etc/a.jpg", "..\\a.jpg"])
def test_names_that_lead_out_of_the_folder(tmp_path, name):
    with pytest.raises(UserError, match="leads out"):
        EncodedFiles(tmp_path, [name])


def test_landmarks_must_be_of_every_image(files):
    with pytest.raises(UserError, match=r"\(4, 5, 2\)"):
        InPlaceImages(EncodedFiles(*files), IMAGE, landmarks=np.zeros((4, 5, 2), np.float32))


def test_images_are_aligned_by_their_landmarks(files, tmp_path):
    # The template moved by (3, -2) and doubled, in a larger picture: a shift and a scale of 1/2.
    picture = np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8)
    root = tmp_path / "large"
    root.mkdir()
    for name in ("a.png", "b.png"):
        Pillow.fromarray(picture).save(root / name)
    landmarks = np.stack([(2 * template(112) + (4, 6)).astype(np.float32)] * 2)
    size = Image(size=112, alignment="arcface-112")
    images = InPlaceImages(EncodedFiles(root, ["a.png", "b.png"]), size, landmarks=landmarks)
    np.testing.assert_allclose(images[0].astype(int), picture[6:230:2, 4:228:2], atol=1)
    index = index_of(["a/a.png", "b/b.png"])
    contents = Contents("train", images.source, index, landmarks=landmarks)
    write(tmp_path / "aligned", contents, images.image, in_place=True, **ABOUT)
    data = Prepared.open(tmp_path / "aligned")
    np.testing.assert_array_equal(data.images[:], images[:])
    data.verify()
    np.save(tmp_path / "aligned" / "landmarks.npy", landmarks + 1)
    with pytest.raises(UserError, match="sha256"):
        Prepared.open(tmp_path / "aligned").verify()


def test_without_images_all_but_images_works(tmp_path):
    contents = Contents("train", None, index_of(["Ada/1.jpg", "Bea/1.jpg"]))
    write(tmp_path / "out", contents, IMAGE, **ABOUT)
    data = Prepared.open(tmp_path / "out")
    assert (data.manifest.images, data.num_classes) == (2, 2)
    data.verify()
    with pytest.raises(UserError, match="without images"):
        _ = data.images


def jpeg(picture, **options):
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_pillow_and_opencv_decode_jpeg_alike():
    # The one claim that lets two libraries share the work.
    rng = np.random.default_rng(0)
    for side in (1, 8, 17, 33):
        for picture in (rng.integers(0, 256, (side, side + 3, 3), np.uint8), pixels(3, side)):
            for grey in (False, True):
                for subsampling in (0, 1, 2):
                    for progressive in (False, True):
                        source = picture[..., 0] if grey else picture
                        content = jpeg(source, subsampling=subsampling, progressive=progressive)
                        by_pillow = np.array(Pillow.open(io.BytesIO(content)).convert("RGB"))
                        np.testing.assert_array_equal(decode_rgb(content), by_pillow)


# --- sources that are moved, touched or changed --------------------------------------------------

PLACED = ("folder", "image_list", "parquet", "tar", "recordio", "insightface_bin", "cfp", "ijb")


def placed(kind, tmp_path):
    """A source, and the set that was prepared of it."""
    found = SOURCES[kind](tmp_path / "data")
    section = found.section | ({"storage": "in_place"} if kind == "folder" else {})
    is_benchmark = kind in ("insightface_bin", "cfp", "ijb")
    spec = {"image": IMAGE.model_dump() | {"size": 112, "crop": None}, "data": section}
    model = BenchmarkSpec if is_benchmark else TrainDataSpec
    spec |= {"name": "b"} if is_benchmark else {}
    return found, model.model_validate(spec), tmp_path / "out"


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("kind", PLACED)
def test_a_source_may_be_moved_and_touched(kind, tmp_path):
    found, spec, out = placed(kind, tmp_path)
    manifest = prepare(spec, out, workers=1)
    expected = Prepared.open(out).images[:]
    there = tmp_path / "there" / "renamed"
    there.parent.mkdir()
    (tmp_path / "data").rename(there)
    for name in found.read:
        (there / name).touch()
    section = moved(spec.data.model_dump(mode="json"), tmp_path / "data", there)
    after = type(spec).model_validate(spec.model_dump() | {"data": section})
    data = Prepared.open(out, place=place_of(after.data))
    np.testing.assert_array_equal(data.images[:], expected)
    data.verify()
    data.refuse_changed()
    with pytest.raises(UserError, match="No such file"):
        Prepared.open(out)

    # What is prepared there is the same to the letter, so that nothing that follows is repeated.
    written = (out / "manifest.json").read_bytes()
    assert prepare(after, out, workers=1) == manifest
    assert (out / "manifest.json").read_bytes() == written

    images = (".jpg", ".parquet", ".tar", ".rec", ".bin")
    path = there / next(name for name in reversed(found.read) if name.endswith(images))
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"had \d+ bytes"):
        data.refuse_changed()


def test_a_touched_file_of_another_content_is_refused(tmp_path):
    found, spec, out = placed("folder", tmp_path)
    prepare(spec, out, workers=1)
    path = tmp_path / "data" / found.read[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\1")
    with pytest.raises(UserError, match="its content differs"):
        Prepared.open(out)
    Prepared.open(out, images=False)
    path.write_bytes(content)
    Prepared.open(out)


def test_a_source_that_changes_after_it_was_planned_or_while_it_is_read_is_refused(
    tmp_path, monkeypatch
):
    found, spec, out = placed("folder", tmp_path)
    planned = str(sign(spec.data))
    path = tmp_path / "data" / found.read[0]
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    with pytest.raises(UserError, match="was changed after it was planned"):
        prepare(spec, out, workers=1, signature=planned)
    path.write_bytes(content)
    prepare(spec, out, workers=1, signature=planned)
    written = (out / "manifest.json").read_bytes()

    decode = InPlaceImages.problems

    def while_read(images, *into):
        path.write_bytes(content + b"\0")
        return decode(images, *into)

    monkeypatch.setattr(InPlaceImages, "problems", while_read)
    with pytest.raises(UserError, match="was changed after it began to be read"):
        prepare(spec, out, workers=1)
    assert (out / "manifest.json").read_bytes() == written, "what was there stays"


def test_where_prepared_data_come_from_is_no_part_of_their_manifest(tmp_path):
    _, spec, out = placed("folder", tmp_path)
    prepare(spec, out, workers=1)
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    origin = json.loads((out / "origin.json").read_text())
    assert origin["data"]["root"] == origin["base"] == str(tmp_path / "data")
    assert origin["signature"] == str(sign(spec.data))


def test_a_folder_that_an_earlier_version_prepared_is_read_where_it_was(folder):
    stamps = pd.read_parquet(folder / "files.parquet")
    stamps.drop(columns="sha256").to_parquet(folder / "files.parquet")
    about = json.loads((folder / "source.json").read_text())
    del about["base"]
    (folder / "source.json").write_text(json.dumps(about))
    Prepared.open(folder, place=folder / "nowhere").verify()
