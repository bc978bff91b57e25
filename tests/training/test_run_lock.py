"""A run's folder has one training at a time; a dead owner's lock is taken over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from frcore import cli
from frcore.training import run_lock
from frcore.training.loop import Trainer
from frcore.training.run_lock import NAME, SILENT_SECONDS, BusyError, RunLock
from frcore.training.train import train
from tests.training.conftest import run_spec

HOLDS = """
import sys, time
from pathlib import Path
from frcore.training.run_lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""

TAKES_TURNS = """
import sys, time
from pathlib import Path
from frcore.training.run_lock import BusyError, RunLock
folder, turns = Path(sys.argv[1]), 0
counter = folder / "counter"
while turns < 30:
    try:
        with RunLock(folder):
            count = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(count + 1))
            turns += 1
    except BusyError:
        pass
    time.sleep(0.002)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder)], text=True,
                               stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_who_comes_second_is_refused_and_changes_nothing(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    process = holder(tmp_path)
    try:
        before = (tmp_path / NAME).read_bytes()
        command = ["frcore", "train", "--spec", run_spec().model_dump_json(),
                   "--data", str(tiny_data), "--out", str(tmp_path)]  # fmt: skip
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        assert ending.value.code == 75
        told = capsys.readouterr().err
        assert f"by process {process.pid} on {os.uname().nodename} (Slurm job 4711) since" in told
        assert [path.name for path in tmp_path.iterdir()] == [NAME]
        assert (tmp_path / NAME).read_bytes() == before
    finally:
        process.kill()
        process.wait()
    with RunLock(tmp_path):  # the dead one's, at once
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_processes_take_turns(tmp_path: Path):
    (tmp_path / "counter").write_text("0")
    command = [sys.executable, "-c", TAKES_TURNS, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    assert (tmp_path / "counter").read_text() == "90"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def leave(folder: Path, seconds_ago: float = 0.0, **changed: Any) -> Path:
    """The file of an owner on another machine."""
    path = folder / NAME
    owner = {"host": "0123abcd", "pid": 7, "started": 1, "machine": "node3", "job": None,
             "since": "yesterday"}  # fmt: skip
    path.write_text(json.dumps({**owner, **changed}))
    moment = time.time() - seconds_ago
    os.utime(path, (moment, moment))
    return path


def test_an_owner_on_another_machine_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_lock, "POLL_SECONDS", 0.05)
    path = leave(tmp_path, SILENT_SECONDS - 30)
    beat = threading.Timer(0.5, os.utime, [path])
    beat.start()
    with pytest.raises(BusyError, match="by process 7 on node3 since yesterday"), RunLock(tmp_path):
        pass
    beat.join()
    assert json.loads(path.read_text())["machine"] == "node3"
    leave(tmp_path, SILENT_SECONDS - 0.5)  # silent until the end
    with RunLock(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    "left", [{"seconds_ago": SILENT_SECONDS + 1}, {"pid": "none"}, {"host": None, "started": []}]
)
def test_what_tells_of_no_living_owner_is_taken_at_once(
    left: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
    leave(tmp_path, **left)
    with RunLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_owner_says_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_lock, "BEAT_SECONDS", 0.01)
    with RunLock(tmp_path):
        first = (tmp_path / NAME).stat().st_mtime_ns
        until = time.monotonic() + 60
        while (tmp_path / NAME).stat().st_mtime_ns == first:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_training_whose_lock_is_gone_stops(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = Trainer.train_epoch

    def deleted(self: Trainer, *args: Any) -> Any:
        if self.epoch == 1:
            (tmp_path / NAME).unlink()
        return original(self, *args)

    monkeypatch.setattr(Trainer, "train_epoch", deleted)
    with pytest.raises(BusyError, match="this one stops"):
        train(run_spec(), tiny_data, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "unfinished"}
