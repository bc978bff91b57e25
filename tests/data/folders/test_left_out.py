"""No picture vanishes from any source without a word, whatever its file is called."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import features

from frcore.data.check.check import check
from frcore.data.folders.image_list import read_list
from frcore.data.pixels.decoding import decode_rgb
from frcore.data.signatures import sign
from frcore.errors import UserError
from frcore.study.data import PairList
from tests.data.making import PLAIN, benchmark, pixels, train, write_person

SUFFIXES = (".jfif", ".jpe", ".JPG", "", ".jp2", ".avif", ".photo", ".jpg_large")
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


def picture(number: int, suffix: str) -> bytes:
    form = {".jp2": "JPEG2000", ".avif": "AVIF"}.get(suffix, "JPEG")
    stream = io.BytesIO()
    Pillow.fromarray(pixels(number)).save(stream, form)
    return stream.getvalue()


@pytest.fixture(params=SUFFIXES)
def suffix(request) -> str:
    if request.param == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    return request.param


def people(root: Path, suffix: str = ".jpg") -> list[Path]:
    """Two people with two images each, one of them with dots in her name."""
    paths = []
    for name in ("A.J._Cook", "Bea"):
        (root / name).mkdir(parents=True)
        for number in (1, 2):
            paths.append(root / name / f"{name}_{number:04d}{suffix}")
            paths[-1].write_bytes(picture(len(paths), suffix))
    return paths


PAIRS = "1\nBea\t1\t2\nBea\t1\tA.J._Cook\t2\n"


def assert_all_there(images, suffix: str, rows=range(4)) -> None:
    """The very pixels of the files, cut to the middle 16 of 20."""
    expected = [decode_rgb(picture(row + 1, suffix))[2:18, 2:18] for row in rows]
    np.testing.assert_array_equal(images[:], expected)


CUT = PLAIN.model_copy(update={"crop": 16})


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("storage", ["copied", "in_place"])
def test_a_folder(tmp_path, suffix, storage):
    people(tmp_path / "faces", suffix)
    data = train(tmp_path / "out", CUT, kind="folder", root=str(tmp_path / "faces"),
                 storage=storage)  # fmt: skip
    assert_all_there(data.images, suffix)
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert (data.manifest.skipped, data.manifest.warnings) == ((), ())
    (report,) = check(tmp_path / "faces")
    assert (report.counts["images"], report.wrong) == (4, 0)


@pytest.mark.fast_cases(2)
def test_pairs_over_a_folder(tmp_path, suffix):
    people(tmp_path / "faces", suffix)
    (tmp_path / "pairs.txt").write_text(PAIRS)
    data = benchmark(tmp_path / "out", CUT, kind="folder_pairs", root=str(tmp_path / "faces"),
                     pairs=str(tmp_path / "pairs.txt"))  # fmt: skip
    assert_all_there(data.images, suffix, [1, 2, 3])


@pytest.mark.fast_cases(2)
def test_lfw(tmp_path, suffix):
    people(tmp_path / "aligned-112", suffix)
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol/peopleDevTrain.txt").write_text("2\nA.J._Cook\t2\nBea\t2\n")
    data = train(tmp_path / "out", CUT, kind="lfw", root=str(tmp_path))
    assert_all_there(data.images, suffix)


@pytest.mark.fast_cases(2)
def test_a_list(tmp_path, suffix):
    paths = people(tmp_path / "faces", suffix)
    names = [path.relative_to(tmp_path / "faces").as_posix() for path in paths]
    (tmp_path / "list.txt").write_text("".join(f"{n} {n.split('/')[0]}\n" for n in names))
    data = train(tmp_path / "out", CUT, kind="list", root=str(tmp_path / "faces"),
                 list=str(tmp_path / "list.txt"), labels="name")  # fmt: skip
    assert_all_there(data.images, suffix)


@pytest.mark.fast_cases(2)
def test_an_official_pair_list(tmp_path, suffix):
    (tmp_path / "faces").mkdir()
    lines = []
    for pair in range(20):
        same = pair < 10
        for side in (0, 1):
            name = f"P{pair}_{1 if same else side}"
            number = side + 1 if same else 1
            (tmp_path / "faces" / f"{name}_{number:04d}{suffix}").write_bytes(
                picture(2 * pair + side, suffix)
            )
            lines.append(f"{name}_{number:04d}.jpg {int(same)}\n")
    (tmp_path / "pairs.txt").write_text("".join(lines))
    data = benchmark(tmp_path / "out", CUT, kind="pair_list", format="cplfw",
                     images=str(tmp_path / "faces"), pairs=str(tmp_path / "pairs.txt"))  # fmt: skip
    first = data.pairs.iloc[0]
    np.testing.assert_array_equal(
        data.images[[first["a"], first["b"]]],
        [decode_rgb(picture(side, suffix))[2:18, 2:18] for side in (0, 1)],
    )
    assert data.manifest.images == 40
    # A change of such a file is a change of the source.
    section = PairList.model_validate(data.manifest.spec["data"] | {
        "images": str(tmp_path / "faces"), "pairs": str(tmp_path / "pairs.txt")
    })  # fmt: skip
    before = sign(section, "content")
    (tmp_path / "faces" / f"P3_1_0001{suffix}").write_bytes(picture(77, suffix))
    assert sign(section, "content") != before


def shard(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("label", ["folder", "cls"])
def test_tar_shards(tmp_path, suffix, label):
    files = {}
    for row in range(4):
        key = f"{'AB'[row // 2]}/{row}"
        files[key + suffix] = picture(row + 1, suffix)
        if label == "cls":
            files[f"{key}.cls"] = str(row // 2).encode()
    settings = {"kind": "tar", "root": str(shard(tmp_path / "0.tar", files)), "label": label}
    if label == "folder":
        settings["labels"] = "name"
    data = train(tmp_path / "out", CUT, **settings)
    assert_all_there(data.images, suffix)
    assert data.labels.tolist() == [0, 0, 1, 1]
    (report,) = check(tmp_path / "0.tar")
    assert (report.counts["images"], report.wrong) == (4, 0)


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["Bea/new.heic", "Bea/new", "Bea/new.jpg"])
@pytest.mark.parametrize("storage", ["copied", "in_place"])
def test_what_cannot_be_read_is_refused_or_skipped_by_name(tmp_path, name, storage):
    people(tmp_path / "faces")
    (tmp_path / "faces" / name).write_bytes(HEIC)
    settings = {"kind": "folder", "root": str(tmp_path / "faces"), "storage": storage}
    with pytest.raises(UserError, match=rf"(?s)^images .*{name}: HEIC is not supported.*convert"):
        train(tmp_path / "out", **settings)
    data = train(tmp_path / "out", CUT, **settings, on_bad_image="skip")
    assert_all_there(data.images, ".jpg")
    assert [one.file for one in data.manifest.skipped] == [name]
    assert "1 bad images were skipped; see `skipped`" in data.manifest.warnings
    (report,) = check(tmp_path / "faces")
    assert report.wrong == 1
    assert "HEIC" in report.problems[0]


@pytest.mark.parametrize("storage", ["copied", "in_place"])
def test_pictures_in_folders_inside_an_identitys(tmp_path, storage):
    paths = people(tmp_path / "faces")
    inner = tmp_path / "faces" / "Bea" / "more" / "still"
    inner.mkdir(parents=True)
    shutil.copy(paths[0], inner / "x")
    settings = {"kind": "folder", "root": str(tmp_path / "faces"), "storage": storage}
    with pytest.raises(UserError, match=r"(?s)^pictures that lie in a folder inside.*still/x\n"):
        train(tmp_path / "out", **settings)
    data = train(tmp_path / "out", CUT, **settings, on_bad_image="skip")
    assert_all_there(data.images, ".jpg")
    assert [one.file for one in data.manifest.skipped] == ["Bea/more/still/x"]
    (report,) = check(tmp_path / "faces")
    assert report.wrong == 1


def test_a_root_one_level_too_high(tmp_path):
    people(tmp_path / "download" / "faces")
    with pytest.raises(UserError, match=r"(?s)^4 pictures that lie in a folder.*`root` down"):
        train(tmp_path / "out", kind="folder", root=str(tmp_path / "download"))


def test_what_is_no_picture_is_counted_and_hidden_files_are_not(tmp_path):
    paths = people(tmp_path / "faces")
    bea = tmp_path / "faces" / "Bea"
    for name in ("notes.txt", "empty", "video.mp4", "BMW"):
        (bea / name).write_bytes(name.encode() if name != "empty" else b"")
    for name in (".Bea_0003.jpg", "._Bea_0001.jpg", "Thumbs.db", ".DS_Store"):
        shutil.copy(paths[0], bea / name)
    os.mkfifo(bea / "pipe.jpg")
    (bea / "pipe_link").symlink_to(bea / "pipe.jpg")
    data = train(tmp_path / "out", CUT, kind="folder", root=str(tmp_path / "faces"))
    assert_all_there(data.images, ".jpg")
    assert data.manifest.warnings == (
        "6 files are not images by name or content and were ignored, the first is 'Bea/BMW'",
    )
    (report,) = check(tmp_path / "faces")
    assert report.wrong == 0
    assert data.manifest.warnings[0] in report.notes


def test_a_link_to_nothing_is_a_bad_image(tmp_path):
    people(tmp_path / "faces")
    (tmp_path / "faces/Bea/Bea_0003.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(UserError, match=r"Bea_0003.jpg: No such file"):
        train(tmp_path / "out", kind="folder", root=str(tmp_path / "faces"))


def test_samples_of_tar_with_other_pictures(tmp_path):
    files = {"A/0.jpg": picture(1, ".jpg"), "A/0.mask.png": picture(2, ".jpg"),
             "A/._0.jpg": picture(3, ".jpg"), "A/readme": b"text", "B/J.R._Cook_1": HEIC,
             "B/J.R._Cook_2": picture(4, ".jpg")}  # fmt: skip
    settings = {"kind": "tar", "root": str(shard(tmp_path / "0.tar", files)), "label": "folder",
                "labels": "name"}  # fmt: skip
    with pytest.raises(UserError, match=r"0\.tar/B/J\.R\._Cook_1: the sample 'B/J' has 2 images"):
        train(tmp_path / "out", **settings)
    (report,) = check(tmp_path / "0.tar")
    assert report.wrong == 1
    del files["B/J.R._Cook_1"]
    shard(tmp_path / "0.tar", files)
    data = train(tmp_path / "out", CUT, **settings)
    assert_all_there(data.images, ".jpg", [0, 3])
    assert data.manifest.warnings == (
        "2 members are neither image nor label and were ignored, such as '0.tar/A/._0.jpg'",
        "1 members are further images and were ignored, such as '0.tar/A/0.mask.png'",
    )


# --- names on disk in another form ----------------------------------------------------------------

NFC, NFD = (unicodedata.normalize(form, "Zoé_Müller") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("on_disk", "listed"), [(NFC, NFD), (NFD, NFC)])
def test_a_list_in_another_unicode_form_than_the_disk(tmp_path, on_disk, listed):
    root = tmp_path / "faces"
    write_person(root, on_disk, 2)
    write_person(root, "Ada", 1)
    (root / "train.csv").write_text(
        f"Ada/Ada_0001.jpg,Ada\n{listed}/{listed}_0001.jpg,{listed}\n"
        f"{listed}/{listed}_0002.jpg,{on_disk}\n",
        encoding="utf-8",
    )
    data = train(tmp_path / "out", PLAIN, kind="list", root=str(root), list="train.csv",
                 labels="name")  # fmt: skip
    assert data.index["identity"].tolist() == ["Ada", NFC, NFC]
    assert len(data.images[:]) == 3
    (report,) = check(root / "train.csv")
    assert report.wrong == 0
    (root / "pairs.txt").write_text(f"1\n{listed}\t1\t2\n{listed}\t1\tAda\t1\n", encoding="utf-8")
    pairs = benchmark(tmp_path / "pairs", PLAIN, kind="folder_pairs", root=str(root),
                      pairs="pairs.txt")  # fmt: skip
    assert len(pairs.pairs) == 2
    (report,) = check(root)
    assert report.wrong == 0


def test_a_missing_file_beside_names_in_another_form(tmp_path):
    write_person(tmp_path / "faces", NFD, 1)
    (tmp_path / "faces/list.txt").write_text(f"{NFC}/none.jpg 0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list.txt:1: .*none.jpg' cannot be read: No such file"):
        train(tmp_path / "out", kind="list", root=str(tmp_path / "faces"), list="list.txt")


def test_names_that_are_no_utf_8(tmp_path):
    path = people(tmp_path / "faces")[0]
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.jpg"))
    settings = {"kind": "folder", "root": str(tmp_path / "faces")}
    assert train(tmp_path / "out", PLAIN, **settings).manifest.images == 4
    with pytest.raises(UserError, match=r"caf\\udce9.jpg' below .* is not UTF-8"):
        train(tmp_path / "out", PLAIN, **settings, storage="in_place")
    (report,) = check(tmp_path / "faces")
    assert "is not UTF-8" in report.problems[0]


def test_a_list_is_read_as_it_is(tmp_path):
    (tmp_path / "list.txt").write_text(f"{NFD}/1.jpg 0\n", encoding="utf-8")
    assert read_list(tmp_path / "list.txt").paths.tolist() == [f"{NFD}/1.jpg"]
