"""`frcore prepare --check`, as a person calls it: what is recognised, and each kind of damage."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from frcore.cli import app
from frcore.data.check.formats import FORMATS
from frcore.data.ijb.simulate import write_synthetic
from frcore.files import read_json, write_json
from frcore.study.data import Image
from tests.data.making import PLAIN, benchmark, train, write_person
from tests.data.people import write_people
from tests.data.recordio.rec_writer import insightface, write_rec
from tests.data.verification.test_insightface_bin import IMAGES, PYTHON_2, SAME
from tests.data.verification.test_lfw import root as lfw_root
from tests.data.verification.test_pair_lists import cfp, two_lines

__all__ = ["cfp", "lfw_root"]

runner = CliRunner()


def checked(path: Path, code: int = 0) -> list[dict]:
    result = runner.invoke(app, ["prepare", "--check", str(path), "--json"])
    assert result.exit_code == code, result.output
    reports = json.loads(result.stdout)
    assert all(report["ok"] == (not report["problems"]) for report in reports)
    return reports


def one(path: Path, code: int = 0) -> dict:
    (report,) = checked(path, code)
    return report


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "people"
    for name, count in (("Ada", 3), ("Bea", 2)):
        write_person(path, name, count)
    return path


def benchmarks_of(report: dict) -> dict:
    """The benchmarks in the study's lines that a report gives, which are YAML."""
    return yaml.safe_load(report["study"])["benchmarks"]


# --- what is recognised ---------------------------------------------------------------------------


def test_a_bin_file(tmp_path):
    path = tmp_path / "tiny.bin"
    path.write_bytes(pickle.dumps((IMAGES, SAME)))
    report = one(path)
    assert report["counts"] == {"genuine pairs": 2, "impostor pairs": 2, "images": 8}
    assert report["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "16×16" in report["notes"][0]
    given = benchmarks_of(report)["tiny"]
    assert len(benchmark(tmp_path / "out", image=PLAIN, **given).pairs) == 4


@pytest.mark.slow
def test_every_file_of_a_folder(tmp_path):
    for path in PYTHON_2:
        shutil.copy(path, tmp_path)
    (tmp_path / "property").write_text("2,112,112")
    assert len(checked(tmp_path)) == len(PYTHON_2)
    (tmp_path / PYTHON_2[3].name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    reports = checked(tmp_path, code=1)
    assert [report["wrong"] for report in reports] == [0, 0, 0, 1, 0, 0]
    assert "reference to 'os.system'" in reports[3]["problems"][0]


def test_a_folder_of_images(folder, tmp_path):
    report = one(folder)
    assert report["counts"] == {"images": 5, "identities": 2}
    given = yaml.safe_load(report["study"])["train"]
    assert train(tmp_path / "out", image=PLAIN, **given).manifest.images == 5
    (folder / "Bea" / "Bea_0002.jpg").write_bytes((folder / "Ada" / "Ada_0001.jpg").read_bytes())
    (folder / "notes.txt").write_text("x")
    changed = one(folder)
    assert changed["sha256"] != report["sha256"]
    text = " ".join(changed["notes"])
    assert "under two identities" in text
    assert "Ada/Ada_0001.jpg and Bea/Bea_" in text
    assert "'notes.txt'" in text


def test_an_lfw_root(lfw_root):
    report = one(lfw_root)
    assert report["counts"] == {"images": 9, "identities": 4}
    assert benchmarks_of(report)["lfw"]["root"] == str(lfw_root)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("pairs.txt", {"genuine pairs": 2, "impostor pairs": 2, "folds": 2}),
        ("pairsDevTest.txt", {"genuine pairs": 1, "impostor pairs": 1, "folds": 1}),
        ("peopleDevTrain.txt", {"people": 2, "images": 3}),
    ],
)
def test_lists_of_lfw(lfw_root, name, counts):
    assert one(lfw_root / "protocol" / name)["counts"] == counts


@pytest.mark.parametrize("form", ["calfw", "cplfw"])
def test_lists_of_two_lines(tmp_path, form):
    path = tmp_path / f"pairs_{form.upper()}.txt"
    path.write_text(two_lines(form == "calfw"))
    report = one(path)
    assert report["counts"] == {"genuine pairs": 20, "impostor pairs": 20, "folds": 10}
    assert benchmarks_of(report)["pairs"]["format"] == form


@pytest.mark.slow
def test_cfp_with_its_images(cfp):
    for path in (cfp, cfp / "Protocol"):
        report = one(path)
        assert report["counts"] == {"cfp_ff pairs": 20, "cfp_fp pairs": 40, "images": 60,
                                    "people": 20}  # fmt: skip
        assert set(benchmarks_of(report)) == {"cfp_ff", "cfp_fp", "cfp_templates"}
        assert benchmarks_of(report)["cfp_fp"]["images"] == str(cfp / "Data" / "Images")
    (cfp / "Data/Images/004/profile/01.jpg").unlink()
    assert "004/profile/01.jpg" in one(cfp, code=1)["problems"][0]


@pytest.mark.parametrize("source", ["embeddings", pytest.param("faces", marks=pytest.mark.slow)])
def test_ijb(tmp_path, source):
    path = tmp_path / "ijb"
    write_synthetic(path, scale=0.0005, source=source, dim=16, workers=1)
    report = one(path)
    assert report["what"].startswith("IJB-C")
    assert report["counts"]["genuine pairs"] > 0
    assert benchmarks_of(report)["ijbc"]["name"] == "ijbc"
    assert ("images" in benchmarks_of(report)["ijbc"]) == (source == "embeddings")
    if source == "faces":
        image = next((path / "loose_crop").iterdir())
        image.write_bytes(image.read_bytes()[:-40])
        assert image.name in one(path, code=1)["problems"][0]
    lines = (path / "meta/ijbc_name_5pts_score.txt").read_text().splitlines()
    (path / "meta/ijbc_name_5pts_score.txt").write_text("\n".join(lines[1:]) + "\n")
    assert one(path, code=1)["wrong"] == 1


# --- training sets that are read in place ---------------------------------------------------------


@pytest.fixture
def people(tmp_path) -> list[Path]:
    """Nine images of three people."""
    return write_people(tmp_path / "faces")


def readable(report: dict, out: Path) -> None:
    """The lines that the report gives make the training set that it counted."""
    assert {"images": 9, "identities": 3}.items() <= report["counts"].items()
    made = train(out, image=Image(size=16, crop=18, alignment="none"),
                 **yaml.safe_load(report["study"])["train"])  # fmt: skip
    assert (made.manifest.images, made.manifest.identities) == (9, 3)


@pytest.mark.slow
def test_recordio(tmp_path, people):
    labels = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    content = [path.read_bytes() for path in people]
    rec = write_rec(tmp_path / "rec" / "train.rec", insightface(labels, content))
    (tmp_path / "rec" / "property").write_text("3,20,20")
    (tmp_path / "rec" / "lfw.bin").write_bytes(pickle.dumps((IMAGES, SAME)))
    report = one(rec)
    readable(report, tmp_path / "out")
    assert any("numbers but no names" in note for note in report["notes"])
    both = checked(tmp_path / "rec")
    assert [Path(report["path"]).name for report in both] == ["lfw.bin", "train.rec"]
    listed = [f"{at}\t{label}\t{path.parent.name}/{path.name}\n"
              for at, (label, path) in enumerate(zip(labels, people, strict=True), 1)]  # fmt: skip
    rec.with_suffix(".lst").write_text("".join(listed))
    named = one(rec)
    assert yaml.safe_load(named["study"])["train"]["names"] == "train.lst"
    assert not any("no names" in note for note in named["notes"])
    (tmp_path / "rec" / "property").write_text("2,20,20")
    assert "are not below 2" in one(rec, code=1)["problems"][0]
    (tmp_path / "rec" / "property").unlink()
    rec.write_bytes(rec.read_bytes()[:-900])
    assert one(rec, code=1)["wrong"] >= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["list.csv", "list.lst"])
def test_lists_of_images(tmp_path, people, name):
    lines = []
    for at, path in enumerate(people):
        where = path.relative_to(tmp_path / "faces")
        number = ["Ada", "Bea"].index(path.parent.name) if path.parent.name[0] < "C" else 2
        lines.append(f"{at}\t{number}\t{where}" if name == "list.lst" else f"{where},{number}")
    (tmp_path / "faces" / name).write_text("\n".join(lines) + "\n")
    readable(one(tmp_path / "faces" / name), tmp_path / "out")
    people[4].write_bytes(people[4].read_bytes()[:70])
    report = one(tmp_path / "faces" / name, code=1)
    assert "Bea_0002.png" in report["problems"][0]
    people[4].unlink()
    assert f"{name}:5" in one(tmp_path / "faces" / name, code=1)["problems"][0]


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 2, 2, 2, 2], list("aaabbcccc")])
def test_parquet(tmp_path, people, labels):
    content = [path.read_bytes() for path in people]
    content[8] = content[0]
    frame = pd.DataFrame({"image": content, "label": labels})
    (tmp_path / "shards").mkdir()
    for part in (0, 1):
        frame.iloc[part * 5 : part * 5 + 5].to_parquet(tmp_path / "shards" / f"{part}.parquet")
    report = one(tmp_path / "shards")
    readable(report, tmp_path / "out")
    assert any("under two identities" in note for note in report["notes"])
    damaged = (tmp_path / "shards" / "0.parquet").read_bytes()
    (tmp_path / "shards" / "0.parquet").write_bytes(damaged[:-20])
    assert "0.parquet" in one(tmp_path / "shards", code=1)["problems"][0]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["cls", "folder"])
def test_tar(tmp_path, people, place):
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "0.tar", "w") as tar:
        for at, path in enumerate(people):
            key = f"{path.parent.name[0]}/{at}"
            files = {f"{key}{path.suffix}": path.read_bytes()}
            if place == "cls":
                files[f"{key}.cls"] = str([0, 0, 0, 1, 1, 2, 2, 2, 2][at]).encode()
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    for path in (tmp_path / "shards", tmp_path / "shards" / "0.tar"):
        report = one(path)
        readable(report, tmp_path / "out")
        assert yaml.safe_load(report["study"])["train"].get("label", "cls") == place
    whole = (tmp_path / "shards" / "0.tar").read_bytes()
    (tmp_path / "shards" / "0.tar").write_bytes(whole[:2500])
    assert "0.tar" in one(tmp_path / "shards", code=1)["problems"][0]


# --- damage ---------------------------------------------------------------------------------------


def test_the_first_ten_problems_are_named(tmp_path):
    path = tmp_path / "people"
    for file in write_person(path, "Ada", 25):
        file.write_bytes(file.read_bytes()[:-30])
    write_person(path, "Bea", 1)
    report = one(path, code=1)
    assert report["wrong"] == 25
    assert len(report["problems"]) == 10
    assert all("truncated" in problem for problem in report["problems"])
    assert "Ada/Ada_0001.jpg" in report["problems"][0]
    shown = runner.invoke(app, ["prepare", "--check", str(path)])
    assert shown.exit_code == 1
    assert "and 15 problems more" in shown.stdout
    assert "25 problems" in shown.stdout


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda root: (root / "aligned-112/Bea/Bea_0003.jpg").unlink(),
         "pairs.txt:4: Bea/Bea_0003 does not exist"),
        (lambda root: (root / "protocol/pairs.txt").write_text("2\t1\nAda\t1\t2\n"),
         "has fewer lines than its header announces"),
        (lambda root: (root / "aligned-112/Dan/Dan_0001.jpg").write_bytes(b""), "Dan_0001.jpg"),
        (lambda root: (root / "aligned-112/ada").mkdir(), "differ only in case"),
    ],
)  # fmt: skip
def test_a_damaged_lfw(lfw_root, damage, problem):
    damage(lfw_root)
    assert any(problem in text for text in one(lfw_root, code=1)["problems"])


@pytest.fixture
def pairs(tmp_path, lfw_root) -> Path:
    benchmark(tmp_path / "pairs", image=PLAIN, kind="lfw_pairs", root=str(lfw_root), view=2)
    return tmp_path / "pairs"


def test_a_prepared_folder(pairs):
    report = one(pairs)
    assert report["what"] == "a prepared data set: lfw_pairs, protocol pairs, images copied"
    assert report["counts"]["pairs"] == 4
    assert report["sha256"] == read_json(pairs / "manifest.json")["content_sha256"]


def flip_a_pixel(folder: Path) -> None:
    images = np.load(folder / "images.npy")
    images[1, 2, 3, 0] ^= 1
    np.save(folder / "images.npy", images)


def edit(table: str, change):
    def apply(folder: Path) -> None:
        path = folder / f"{table}.parquet"
        frame = pd.read_parquet(path)
        change(frame)
        frame.to_parquet(path, index=False)

    return apply


def remanifest(**change):
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        write_json(path, read_json(path) | change)

    return apply


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (flip_a_pixel, "the content's sha256 is"),
        (edit("pairs", lambda frame: frame.__setitem__("same", ~frame["same"])), "sha256"),
        (remanifest(images=3), "manifest.json says"),
        (remanifest(format=1), "format 1"),
        (lambda folder: (folder / "pairs.parquet").unlink(), "pairs.parquet is missing"),
        (lambda folder: (folder / "images.npy").write_bytes(b"x"), "cannot be read"),
    ],
)
def test_a_damaged_prepared_folder(pairs, damage, problem):
    damage(pairs)
    assert problem in one(pairs, code=1)["problems"][0]


def with_right_hash(folder: Path) -> None:
    """What someone who builds a folder himself could hand on."""
    from frcore.data.prepared.folder import Prepared, image_content
    from frcore.data.prepared.tables import TABLES, content_sha256

    data = Prepared.open(folder)
    names = ("index", *TABLES[data.manifest.protocol])
    tables = {name: data._table(name) for name in names}
    remanifest(content_sha256=content_sha256(image_content(data.images), tables))(folder)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (edit("pairs", lambda frame: frame.__setitem__("same", ~frame["same"])),
         "pairs.parquet row 0: `same` is not what the identities say"),
        (edit("pairs", lambda frame: frame.__setitem__("b", frame["b"] + 90)),
         "pairs.parquet row 0: image"),
        (edit("index", lambda frame: frame.__setitem__("name", "x")),
         "index.parquet: the name 'x' is a duplicate"),
        (edit("index", lambda frame: frame.__setitem__("label", -1)), "label -1 of image 0"),
    ],
)  # fmt: skip
def test_a_folder_that_contradicts_itself(pairs, damage, problem):
    damage(pairs)
    with_right_hash(pairs)
    assert problem in one(pairs, code=1)["problems"][0]


def test_a_prepared_folder_in_place_whose_source_is_damaged(tmp_path):
    path = tmp_path / "tiny.bin"
    path.write_bytes(pickle.dumps((IMAGES, SAME)))
    benchmark(tmp_path / "out", image=PLAIN, kind="insightface_bin", path=str(path))
    assert one(tmp_path / "out")["counts"]["pairs"] == 4
    path.write_bytes(path.read_bytes() + b"x")
    assert "have changed" in one(tmp_path / "out", code=1)["problems"][0]


# --- neither --------------------------------------------------------------------------------------


def test_what_is_not_known_is_refused(tmp_path, capsys):
    (tmp_path / "a.xyz").write_text("x")
    for path, words in ((tmp_path / "none", "does not exist"), (tmp_path / "a.xyz", "none of the"),
                        (tmp_path, "none of the")):  # fmt: skip
        result = runner.invoke(app, ["prepare", "--check", str(path)])
        assert result.exit_code != 0
        assert words in str(result.exception)


def test_every_format_is_documented(repository):
    assert len({checker.name for checker in FORMATS}) == len(FORMATS)
    page = (repository / "docs" / "data.md").read_text()
    assert "frcore prepare --check PATH" in page


def test_nothing_is_written(folder):
    before = sorted(folder.rglob("*"))
    one(folder)
    assert sorted(folder.rglob("*")) == before
    assert sorted(folder.parent.iterdir()) == [folder]


@pytest.mark.slow
def test_real_faces(shared_data):
    report = one(shared_data / "lfw")
    assert report["counts"] == {"images": 13_233, "identities": 5749}
    # The same photograph under two names: an error of LFW's own.
    assert any("Bart_Hendricks_0001.jpg and Ricky_Ray" in note for note in report["notes"])
