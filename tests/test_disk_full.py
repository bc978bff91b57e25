"""Every stage on a full disk: one message, nothing half-written, and the same command goes on."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest

from benchmarks.kills_compared import files_of, results_of
from frcore.cli import main
from tests.small_disk import PAGE, SmallDisk
from tests.tiny_study import TINY, write_study

pytestmark = pytest.mark.slow

RUN = "tiny-arcface-full-s0"
CHANGES: dict[str, Any] = {"samplers": ["full"], "training": {**TINY["training"], "epochs": 3}}
STAGES: dict[str, list[str]] = {
    "prepare": ["prepare"],
    "prepare a benchmark": ["prepare", "--benchmark", "pairs"],
    "train": ["train", "--run", RUN],
    "evaluate": ["evaluate", "--run", RUN],
    "measure": ["measure", "--head", "arcface", "--sampler", "full"],
    "report": ["report", "--processes", "2"],
}
UNFINISHED = {"run.json", "metrics.jsonl", "checkpoint.pt", "failure.json"}
"""Files of a training that was cut off, from which it goes on."""


def frcore(folder: Path, *arguments: str | Path) -> tuple[int, str]:
    """Run `frcore` in `folder`: its exit code and what it says on stderr."""
    said = io.StringIO()
    command = ["frcore", *map(str, arguments)]
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(sys, "argv", command),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    return int(stopped.value.code or 0), said.getvalue()


def succeeds(folder: Path, *arguments: str | Path) -> str:
    """Run `frcore` and expect that it works; gives what it says."""
    code, said = frcore(folder, *arguments)
    assert code == 0, said
    return said


def fails_for_space(disk: SmallDisk, *arguments: str | Path) -> str:
    """Run `frcore` and expect one message that says where there is no space; gives it."""
    code, said = frcore(disk.work, *arguments)
    assert code == 2, said
    told = [line for line in said.splitlines() if "error:" in line]
    assert len(told) == 1, said
    assert "Traceback" not in said
    assert f"no space left on the file system at {disk.folder}" in told[0]
    assert "run the same command again" in told[0]
    return told[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run on a disk with room."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_study(folder, **CHANGES)
    for arguments in STAGES.values():
        succeeds(folder, *arguments, "--study", "study.yaml")
    return folder


def test_every_stage_tells_of_a_full_disk_and_goes_on(undisturbed, small_disk):
    write_study(small_disk.work, **CHANGES)
    for stage, arguments in STAGES.items():
        arguments = [*arguments, "--study", "study.yaml"]
        before = small_disk.names()
        small_disk.leave(0)
        fails_for_space(small_disk, *arguments)
        left = {name for name in small_disk.names() - before if (small_disk.work / name).is_file()}
        assert {Path(name).name for name in left} <= UNFINISHED, stage
        small_disk.clear()
        succeeds(small_disk.work, *arguments)
    # Once more over what is there: the older files stay, whole.
    root = Path("results/tiny")
    for stage, arguments in STAGES.items():
        small_disk.leave(0)
        fails_for_space(small_disk, *arguments, "--study", "study.yaml")
        small_disk.clear()
        if stage == "train":
            succeeds(small_disk.work, *arguments, "--study", "study.yaml")
        assert files_of(small_disk.work) == files_of(undisturbed), stage
        assert results_of(small_disk.work / root) == results_of(undisturbed / root), stage


@pytest.mark.long
def test_preparing_says_how_much_is_needed_before_it_begins(small_disk):
    study = {**CHANGES, "train": {"kind": "synthetic", "identities": 20, "images": 100}}
    write_study(small_disk.work, **study)
    before = small_disk.names()
    small_disk.leave(1_000_000)  # 20 × 100 images of 16 × 16 × 3 bytes are 1.5 MiB
    told = fails_for_space(small_disk, "prepare", "--study", "study.yaml")
    assert "1.5 MiB are needed, " in told
    assert ".0 KiB of 16.0 MiB are free" in told
    assert {
        name for name in small_disk.names() - before if (small_disk.work / name).is_file()
    } == set()
    # The images fit, and the index that follows does not.
    small_disk.leave(20 * 100 * 16 * 16 * 3 + PAGE)
    assert "index.parquet" not in fails_for_space(small_disk, "prepare", "--study", "study.yaml")
    assert not list(small_disk.work.glob("results/tiny/data/*"))
    small_disk.clear()
    succeeds(small_disk.work, "prepare", "--study", "study.yaml")


def test_a_training_goes_on_from_the_last_checkpoint_that_there_was_room_for(
    undisturbed, small_disk
):
    write_study(small_disk.work, **CHANGES)
    succeeds(small_disk.work, "prepare", "--study", "study.yaml")
    arguments = ("train", "--run", RUN, "--study", "study.yaml")
    checkpoint = undisturbed / "results/tiny/runs" / RUN / "checkpoint.pt"
    # One checkpoint, and not the next one beside it.
    small_disk.leave(checkpoint.stat().st_size * 3 // 2)
    assert "checkpoint.pt: no space" in fails_for_space(small_disk, *arguments)
    small_disk.clear()
    assert "resuming after epoch 1 of 3" in succeeds(small_disk.work, *arguments)
    runs = Path("results/tiny/runs")
    assert results_of(small_disk.work / runs) == results_of(undisturbed / runs)


def pictures(folder: Path) -> None:
    """Two people of twenty noisy pictures, and the landmarks of all."""
    rng = np.random.default_rng(0)
    lines = []
    for who in ("a", "b"):
        (folder / "photos" / who).mkdir(parents=True)
        for number in range(20):
            name = f"{who}/{number}.png"
            picture = rng.integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(str(folder / "photos" / name), picture)
            lines.append(f"{name} 20 25 44 25 32 35 23 46 41 46")
    (folder / "landmarks.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("storage", ["copied", "in_place"])
def test_a_folder_that_is_prepared(small_disk, tmp_path, storage):
    pictures(tmp_path)
    train = {"kind": "folder", "root": str(tmp_path / "photos"), "storage": storage}
    image = {"size": 64, "alignment": "none"}
    write_study(small_disk.work, train=train, image=image)
    for free in (0, 2 * PAGE):
        small_disk.leave(free)
        fails_for_space(small_disk, "prepare", "--study", "study.yaml")
        assert not list(small_disk.work.glob("results/tiny/data/*"))
    small_disk.clear()
    succeeds(small_disk.work, "prepare", "--study", "study.yaml")


def test_faces_that_are_aligned(small_disk, tmp_path):
    pictures(tmp_path)
    arguments = ("prepare", "--align", tmp_path / "photos", "--landmarks",
                 tmp_path / "landmarks.txt", "--size", "64", "--out", "aligned")  # fmt: skip
    small_disk.leave(6 * PAGE)
    fails_for_space(small_disk, *arguments)
    assert small_disk.names() == set()
    small_disk.clear()
    succeeds(small_disk.work, *arguments)
    assert len([name for name in small_disk.names() if name.endswith(".jpg")]) == 40


def test_a_study_that_is_kept_and_compared(undisturbed, small_disk, tmp_path):
    root = tmp_path / "tiny"
    shutil.copytree(undisturbed / "results/tiny", root)
    (root / "complete").touch()
    rows = root / "rows/training.csv"
    rows.write_text(rows.read_text().replace("+,", ","))  # whatever is uncommitted here
    keep = ("reference", "--root", root, "--to", "kept")
    small_disk.leave(PAGE)
    fails_for_space(small_disk, *keep)
    assert small_disk.names() == set()
    small_disk.clear()
    succeeds(small_disk.work, *keep)
    before = results_of(small_disk.work / "kept")
    small_disk.leave(PAGE)
    fails_for_space(small_disk, *keep)
    assert results_of(small_disk.work / "kept") == before
    small_disk.clear()

    study = write_study(small_disk.work, **CHANGES)
    shutil.copytree(root, small_disk.work / "results/tiny")
    compare = ("compare", "--study", study, "--candidate", "arcface", "--against", "kept",
               "--no-fail")  # fmt: skip
    before_names = small_disk.names()
    small_disk.leave(0)
    fails_for_space(small_disk, *compare)
    assert small_disk.names() - before_names <= {"results/tiny/comparison"}
    small_disk.clear()
    succeeds(small_disk.work, *compare)


def test_a_disk_that_is_mounted_read_only(small_disk):
    write_study(small_disk.work, **CHANGES)
    small_disk.remount("ro")
    for stage, arguments in STAGES.items():
        code, said = frcore(small_disk.work, *arguments, "--study", "study.yaml")
        assert code == 2, said
        assert "Traceback" not in said
        if stage != "evaluate":  # which misses the run before it would write
            assert "mounted read-only" in said, stage
            assert "results" in said
    assert small_disk.names() == {"study.yaml"}
