"""Files that change under a finished study: which jobs Snakemake runs again, and which not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.data.making import write_person
from tests.models.making import MEAN, STD, tiny_onnx
from tests.tiny_study import write_study
from tests.workflow.snake import Snake, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.grid]

RUN = "tiny-arcface-full-s0"
TRAINED = {f"train_backbone {RUN}", f"evaluate_run {RUN}", "report_study"}


def write_sources(root: Path) -> None:
    for number in range(20):
        write_person(root / "train", f"P{number:02d}", 3)
        write_person(root / "test", f"T{number:02d}", 3)
    genuine = [f"T{number:02d}\t1\t2\n" for number in range(20)]
    impostor = [f"T{number:02d}\t1\tT{(number + 1) % 20:02d}\t2\n" for number in range(20)]
    (root / "test/pairs.txt").write_text("".join(["20\n", *genuine, *impostor]))
    tiny_onnx(root / "m.onnx", external="m.data")


def call(folder: Path, root: Path, *arguments: str | Path, heads: str = "[arcface]") -> Snake:
    """The study of the sources below `root`."""
    given = ("--configfile", "study.yaml", *arguments, "--config", f"data={root}", f"heads={heads}")
    return snakemake(folder, *given)


def planned(folder: Path, root: Path) -> set[str]:
    done = call(folder, root, "--dry-run")
    assert done.code == 0, done.text
    return done.jobs


def flip(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.long
def test_what_changes_is_done_again_and_nothing_else(tmp_path, monkeypatch):
    # Somebody else's `frcore` comes first on PATH.
    other = tmp_path / "bin/frcore"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 99\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:/usr/bin:/bin")
    root = tmp_path / "data"
    write_sources(root)
    model = {"label": "m", "kind": "onnx", "file": "${data}/m.onnx", "colour": "RGB",
             "mean": list(MEAN), "std": list(STD)}  # fmt: skip
    write_study(
        tmp_path, inputs={"data": None}, models=[model], samplers=["full"], measurement=None,
        image={"size": 16, "crop": 18, "alignment": "none"},
        train={"kind": "folder", "root": "${data}/train", "storage": "in_place"},
        benchmarks={"own": {"kind": "folder_pairs", "root": "${data}/test", "pairs": "pairs.txt"}},
    )  # fmt: skip
    done = call(tmp_path, root, "--cores", "2")
    assert done.code == 0, done.text
    assert done.jobs == {"prepare_data train", "prepare_data own", "evaluate_model", *TRAINED}

    # Moved, under another name, and all files touched: nothing is done again ...
    root = root.rename(tmp_path / "elsewhere")
    for path in root.rglob("*"):
        path.touch()
    (root / "other.txt").write_text("nobody asks for it")
    assert planned(tmp_path, root) == set()
    # ... and what is new is made of the files where they are now.
    new = "tiny-cosface-full-s0"
    done = call(tmp_path, root, "--cores", "2", heads="[arcface, cosface]")
    assert done.code == 0, done.text
    assert done.jobs == {f"train_backbone {new}", f"evaluate_run {new}", "report_study"}
    result = json.loads((tmp_path / f"results/tiny/runs/{new}/result.json").read_text())
    assert result["status"] == "ok"

    # One byte. (The report of one head is made again in any case.)
    flip(root / "train/P00/P00_0001.jpg")
    assert planned(tmp_path, root) == {"prepare_data train", *TRAINED}
    flip(root / "train/P00/P00_0001.jpg")
    pairs = (root / "test/pairs.txt").read_text()
    (root / "test/pairs.txt").write_text(pairs.replace("T00\t1\t2", "T00\t1\t3"))
    own = {"prepare_data own", f"evaluate_run {RUN}", "evaluate_model", "report_study"}
    assert planned(tmp_path, root) == own
    (root / "test/pairs.txt").write_text(pairs)
    flip(root / "m.data", at=0)
    assert planned(tmp_path, root) == {"evaluate_model", "report_study"}
    flip(root / "m.data", at=0)

    # What makes the study impossible is told before any job.
    (root / "test/T07/T07_0002.jpg").unlink()
    done = call(tmp_path, root, "--cores", "2")
    assert done.code != 0
    assert done.jobs == set()
    assert "benchmarks.own: images of the list are missing" in done.text
    assert "pairs.txt:9: T07/T07_0002 does not exist" in done.text
    assert "Traceback" not in done.text


def test_the_text_of_a_failed_job_is_short(tmp_path):
    """A command with its whole spec would hide what happened."""
    write_study(tmp_path, train={"kind": "folder", "root": str(tmp_path / "train")})
    for number in range(20):
        write_person(tmp_path / "train", f"P{number:02d}", 2)
    (tmp_path / "train/P00/P00_0001.jpg").write_bytes(b"no image")
    done = snakemake(tmp_path, "--configfile", "study.yaml", "--cores", "1",
                     "--until", "prepare_data")  # fmt: skip
    assert done.code != 0
    assert "P00_0001.jpg: not an image" in done.text
    assert " -P -m frcore prepare --spec .snakemake/frcore/specs/" in done.text
    assert max(map(len, done.text.splitlines())) < 500
