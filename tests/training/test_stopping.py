"""A training that somebody stops: one line, what is kept, and how it goes on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from frcore.machine.lifetime import signed
from frcore.study.expansion import RunSpec
from frcore.training.tensor_file import read_tensors
from tests.training.conftest import run_spec

FRCORE = [sys.executable, "-m", "frcore.cli"]


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def training(spec: RunSpec, data: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FRCORE, "train", "--spec", spec.model_dump_json(), "--data", str(data), "--out",
         str(out)],
        stderr=subprocess.PIPE, text=True,
        # As in a terminal; a shell's `&` would have tests, and so this, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "by"),
    [
        (signal.SIGINT, 130, "by Ctrl-C (SIGINT)"),
        (signal.SIGTERM, 143, "by a scheduler or `kill` (SIGTERM)"),
        pytest.param(
            signal.SIGUSR1,
            138,
            "by a scheduler before its time limit (SIGUSR1)",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_training_that_is_stopped_says_what_is_kept(tiny_data, tmp_path, number, code, by):
    spec = run_spec(epochs=100_000)
    process = training(spec, tiny_data, tmp_path / "run")
    checkpoint = tmp_path / "run/checkpoint.pt"
    wait_for(checkpoint.exists, process)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    *_, last = told.splitlines()
    found = re.fullmatch(
        rf"stopped: {re.escape(by)}; step (\d+) \(epoch ([\d.]+) of 100000\) is kept in "
        rf"{re.escape(str(checkpoint))}, and the same command resumes from there", last,
    )  # fmt: skip
    assert found is not None, last
    assert "Traceback" not in told
    assert not list((tmp_path / "run").rglob("failure.json"))
    assert read_tensors(checkpoint)["step"] == int(found[1]) >= 6

    again = training(spec, tiny_data, tmp_path / "run")
    assert again.stderr is not None
    lines = [again.stderr.readline() for _ in range(2)]
    again.kill()
    again.communicate()
    assert f"resuming after epoch {found[2]} of 100000" in lines[1]


@pytest.mark.slow
def test_before_the_first_epoch_nothing_is_kept(tiny_data, tmp_path):
    process = training(run_spec(epochs=3), tiny_data, tmp_path / "run")
    assert process.stderr is not None
    first = process.stderr.readline()  # its own name, as soon as the arguments are read
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    (last,) = told.splitlines()
    assert last.startswith("stopped: by Ctrl-C (SIGINT); ")
    assert "again" in last
    named = signed(first.strip())
    assert named is not None
    assert named.pid == process.pid
