"""Trainings in several processes: the same training, however many, and however they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from benchmarks.kills_compared import results_of
from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.study.expansion import RunSpec
from frcore.study.parts import Augment, Backbone, Training
from frcore.training.checkpoint import newest
from frcore.training.lost import LostError
from frcore.training.run_lock import BusyError, RunLock
from frcore.training.train import train
from tests.training.conftest import run_spec
from tests.training.faulty_backbone import FAULT
from tests.training.teams import CASES, spec_of

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture(scope="module")
def found(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.training.teams` finds, for all cases in one start."""
    folder = tmp_path_factory.mktemp("teams")
    command = [*TORCHRUN, "4", "-m", "tests.training.teams", ",".join(CASES)]
    done = subprocess.run(
        [*command, str(tiny_data), str(folder)], env=environment(), cwd=REPOSITORY,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return {case: json.loads((folder / case / "found.json").read_text()) for case in CASES}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_checkpoint_is_the_same_in_any_number_of_processes(case: str, found: dict[str, Any]):
    """Four processes save in the middle of an epoch; 3, 1, 2 and 4 read it and save it again."""
    bits = found[case]["bits"]
    assert not [name for name, differing in bits.items() if differing]
    assert {"in 3", "in 1", "in 2", "in 4", "going on in as many", "lines"} <= set(bits)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["full", "torch"])
def test_4_then_3_then_1_then_2_processes_train_as_one_does(case: str, found: dict[str, Any]):
    ours, one = dict(found[case]["losses"]), dict(found[case]["alone"])
    assert len(one) == 16
    assert ours == pytest.approx(one, rel=1e-4)


def test_parts_of_a_batch_make_the_batch(tiny_data: Path):
    prepared = Prepared.open(tiny_data)
    augment = Augment(crop=0.5, low_resolution=0.5, colour=0.5)

    def batches(**share: int) -> Batches:
        return Batches(prepared, 16, seed=0, augment=augment, **share)

    whole = list(batches().epoch(1))
    parts = [list(batches(rank=rank, ranks=3).epoch(1)) for rank in range(3)]
    assert batches(ranks=3).sizes == [5, 5, 6]
    for k, (images, labels) in enumerate(whole):
        assert torch.equal(torch.cat([part[k][0] for part in parts]), images)
        assert torch.equal(torch.cat([part[k][1] for part in parts]), labels)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"processes": 17}, "at most 16 processes"),
        ({"processes": 2, "sync_batchnorm": True}, "several processes on GPUs"),
        ({"sync_batchnorm": True, "device": "cuda"}, "several processes on GPUs"),
    ],
)
def test_a_study_is_told_what_cannot_be(given: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        Training(epochs=1, batch_size=16, learning_rate=0.1, **given)


def test_one_process_alone_does_not_do_the_work_of_two(tiny_data: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"processes is 2, but this training has 1: start it with"):
        train(run_spec(processes=2), tiny_data, tmp_path)


def training(spec: RunSpec, data: Path, out: Path, fault: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "frcore", "train", "--spec", spec.model_dump_json()]
    return subprocess.Popen(
        [*command, "--data", str(data), "--out", str(out)],
        env={**environment(), FAULT: fault}, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_a_checkpoint(started: subprocess.Popen[str], out: Path) -> None:
    before, deadline = _modified(out), time.monotonic() + 240
    while _modified(out) == before:
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _modified(out: Path) -> int:
    index = out / "checkpoint/.metadata"
    return index.stat().st_mtime_ns if index.exists() else 0


@pytest.mark.long
@pytest.mark.grid
def test_processes_that_are_killed_or_stopped_go_on(tiny_data: Path, tmp_path: Path):
    """Two: one is killed, all are asked to stop, their parent is killed; then they finish."""
    spec = spec_of("queue", epochs=6, processes=2, checkpoint_minutes=0)
    whole = training(spec, tiny_data, tmp_path / "whole")
    assert whole.wait(timeout=300) == 0, whole.communicate()
    out = tmp_path / "cut"

    started = training(spec, tiny_data, out)
    wait_for_a_checkpoint(started, out)
    ranks = psutil.Process(started.pid).children()
    assert len(ranks) == 2
    ranks[1].kill()
    _, told = started.communicate(timeout=400)
    assert started.returncode in (75, 137), told
    assert "the same command resumes from" in told
    assert not (out / "failure.json").exists(), "a lost process is no failure of the training"

    started = training(spec, tiny_data, out)
    wait_for_a_checkpoint(started, out)
    started.send_signal(signal.SIGTERM)
    _, told = started.communicate(timeout=400)
    assert started.returncode == 143, told
    assert told.count("stopped: ") == 1, "one process says it for all"
    assert f"is kept in {out / 'checkpoint'}, and the same command resumes from there" in told

    started = training(spec, tiny_data, out)
    wait_for_a_checkpoint(started, out)
    ranks = psutil.Process(started.pid).children()
    started.kill()
    started.communicate()
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive, "nobody trains on when the one that started it is dead"

    assert training(spec, tiny_data, out).wait(timeout=300) == 0
    assert results_of(out) == results_of(tmp_path / "whole")
    assert newest(out / "checkpoint.pt", "another key") is None


@pytest.mark.long
@pytest.mark.grid
@pytest.mark.parametrize("fault", ["hangs", "is stopped"])
def test_a_process_that_hangs_is_named_and_the_training_goes_on(
    fault: str, tiny_data: Path, tmp_path: Path
):
    spec = faulty(timeout_minutes=0.25)
    assert training(spec, tiny_data, tmp_path / "whole").wait(timeout=300) == 0
    out = tmp_path / "cut"
    started = training(spec, tiny_data, out, fault)
    if fault == "is stopped":
        wait_for_a_checkpoint(started, out)
        psutil.Process(started.pid).children()[1].suspend()
    _, told = started.communicate(timeout=400)
    assert started.returncode == LostError.exit_code, told
    assert "process 1 of 2 (counted from 0) hangs: it did nothing for 0.25 minutes" in told
    assert "process 0 of 2 (counted from 0) has finished no step for 12 s; it is here:" in told
    if fault == "hangs":
        told = told.partition("process 1 of 2 (counted from 0) has finished no step")[2]
        assert re.search(r'faulty_backbone.py", line \d+ in wait_for_nothing', told)
    assert not (out / "failure.json").exists()
    assert newest(out / "checkpoint.pt", "another key") is None
    assert training(spec, tiny_data, out).wait(timeout=300) == 0
    assert results_of(out) == results_of(tmp_path / "whole")


@pytest.mark.long
@pytest.mark.grid
@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ("is refused", 2, "a network without ideas"),
        ("is wrong", 1, "ZeroDivisionError: somewhere"),
    ],
)
def test_an_error_of_one_process_ends_them_all(
    fault: str, code: int, message: str, tiny_data: Path, tmp_path: Path
):
    """At once: the others would wait for ten minutes."""
    started = training(faulty(timeout_minutes=10), tiny_data, tmp_path / "run", fault)
    _, told = started.communicate(timeout=400)
    assert started.returncode == code, told
    assert f"process 1 of 2 (counted from 0) failed: {message}" in told
    failure = json.loads((tmp_path / "run/failure.json").read_text())
    assert failure["error"] == f"process 1 of 2 (counted from 0) failed: {message}"


@pytest.mark.long
@pytest.mark.grid
def test_processes_whose_folder_is_taken_end(tiny_data: Path, tmp_path: Path):
    with RunLock(tmp_path):
        started = training(faulty(timeout_minutes=10), tiny_data, tmp_path)
        _, told = started.communicate(timeout=400)
    assert started.returncode == BusyError.exit_code, told
    assert told.count("error: ") == 1


def faulty(**more: Any) -> RunSpec:
    """A training in two processes, of which the second may fail or hang."""
    spec = spec_of("queue", epochs=4, processes=2, checkpoint_minutes=0, **more)
    named = {"name": "tests.training.faulty_backbone:Faulty", "label": "faulty"}
    return spec.model_copy(update={"backbone": Backbone.model_validate(named)})
