"""What `frcore prepare --check` says of lists, Parquet and Arrow files and tar shards."""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from frcore.data.check.check import check
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.study.expansion import TrainDataSpec
from tests.data.people import IMAGE, write_people
from tests.data.shards.test_tar import write_tar


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "people"
    return root, write_people(root)


def prepared(report, out):
    """The training set that the report's lines of a study ask for."""
    data = yaml.safe_load(report.study)["train"]
    prepare(TrainDataSpec.model_validate({"image": IMAGE.model_dump(), "data": data}), out)
    return Prepared.open(out)


def only(path):
    (report,) = check(path)
    return report


@pytest.mark.parametrize("label", ["cls", "json", "folder"])
def test_shards(tmp_path, people, label):
    who = sorted({path.parent.name for path in people[1]})
    files = [(f"{path.parent.name}/{path.name}", path.read_bytes()) for path in people[1]]
    for path in people[1]:
        text = str(who.index(path.parent.name)) if label == "cls" else '{"label": "%s"}'
        name = f"{path.parent.name}/{path.stem}.{label}"
        if label != "folder":
            files.append((name, text.replace("%s", path.parent.name).encode()))
    write_tar(tmp_path / "data" / "0.tar", files[:5] + files[9:14])
    write_tar(tmp_path / "data" / "1.tar", files[5:9] + files[14:])
    report = only(tmp_path / "data")
    assert report.problems == []
    assert report.counts == {"shards": 2, "images": 9, "identities": 3}
    assert any("numbers but no names" in note for note in report.notes) == (label == "cls")
    assert len(prepared(report, tmp_path / "out").labels) == 9
    assert len(only(tmp_path / "data" / "0.tar").sha256) == 64


def test_damaged_shards(tmp_path, people):
    content = people[1][0].read_bytes()
    path = tmp_path / "data" / "0.tar"
    files = [("a.jpg", content), ("a.cls", b"0"), ("b.jpg", content), ("c.cls", b"1")]
    write_tar(path, [*files, ("c.jpg", content[:-2])])
    report = only(tmp_path / "data")
    assert report.wrong == 2
    assert "0.tar/b.jpg: no member b.cls with its label" in report.problems[0]
    assert "0.tar/c.jpg: a truncated JPEG" in report.problems[1]
    path.write_bytes(path.read_bytes()[:700])
    assert "truncated" in only(path).problems[0]
    write_tar(path, [("a.txt", b"x")])
    assert "have no image with a label" in only(path).problems[0]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("plain", [True, False])
def test_columns(tmp_path, people, named, plain):
    names = [path.parent.name for path in people[1]]
    contents = [path.read_bytes() for path in people[1]]
    numbers = [sorted(set(names)).index(name) for name in names]
    image = pa.array(contents) if plain else pa.array([{"bytes": c, "path": ""} for c in contents])
    columns = {
        "jpg" if plain else "image": image,
        "who" if named else "label": names if named else numbers,
    }
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / "train-0.parquet", row_group_size=4)
    with pa.ipc.new_stream(str(folder / "train-1.arrow"), pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns))
    report = only(tmp_path / "set")
    assert report.problems == []
    assert report.counts == {"files": 2, "row groups": 4, "images": 18, "identities": 3}
    assert any("numbers but no names" in note for note in report.notes) != named
    assert len(prepared(report, tmp_path / "out").labels) == 18


def test_damaged_columns(tmp_path, people):
    path = tmp_path / "a.parquet"
    contents = [people[1][0].read_bytes(), None, b"no image"]
    pq.write_table(pa.table({"image": contents, "label": [0, 1, 3]}), path)
    report = only(path)
    assert "a.parquet/1: the image is null: the file" in report.problems[1]
    assert "a.parquet/2: not an image, or damaged at" in report.problems[2]
    assert "no image has the label 2" in report.problems[0]
    pq.write_table(pa.table({"text": ["x"], "label": [0]}), path)
    assert "no column 'image'; it has 'text', 'label'" in only(path).problems[0]


def test_a_list(tmp_path, people):
    root, paths = people
    who = sorted({path.parent.name for path in paths})
    lines = [f"{at}\t{who.index(path.parent.name)}\t{path.relative_to(root)}\n"
             for at, path in enumerate(paths)]  # fmt: skip
    (root / "train.lst").write_text("".join(lines))
    report = only(root / "train.lst")
    assert report.problems == []
    assert report.counts == {"images": 9, "identities": 3}
    assert report.sha256 == hashlib.sha256((root / "train.lst").read_bytes()).hexdigest()
    assert len(prepared(report, tmp_path / "out").labels) == 9
    paths[3].unlink()
    assert "train.lst:4: 'Bea/Bea_0001.png' cannot be read" in only(root / "train.lst").problems[0]
    alone = tmp_path / "alone.lst"
    alone.write_text("".join(lines))
    assert "its images are not next to it" in only(alone).notes[0]
    alone.write_text(lines[0] + lines[0])
    assert "is a duplicate of line 1" in only(alone).problems[0]
