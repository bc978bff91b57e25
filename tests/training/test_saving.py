"""Checkpoints within an epoch: whenever a training is cut off, it goes on as if it had not been."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills_compared import results_of
from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.study.expansion import RunSpec
from frcore.training import saving
from frcore.training.loop import Trainer, TrainingFailedError
from frcore.training.metrics import MetricsFile
from frcore.training.run_folder import UNFINISHED
from frcore.training.tensor_file import read_tensors
from frcore.training.train import train
from tests.training.conftest import run_spec

LAZY = {"name": "partial_fc", "rate": 0.3, "update": "lazy"}
QUEUED = {"name": "broadface", "size": 40, "over": LAZY}
KINDS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "lazy": ("adacos", LAZY, {}),
    "queue": ("curricularface", QUEUED, {}),
    "hard": ("adaface", {"name": "partial_fc", "rate": 0.5, "negatives": "hard"}, {}),
    "split": ("arcface", LAZY, {"center_format": "split", "backend": "streamed"}),
    "augmented": ("softmax", "full", {"augment": {"crop": 0.5, "colour": 0.5}}),
}


class Cut(BaseException):
    """What ends a training in the middle of a step, as a kill would."""


def cut_off(monkeypatch: pytest.MonkeyPatch, at: int, spec: RunSpec, data: Path, out: Path) -> None:
    original = Trainer.train_step

    def step(self: Trainer, *batch: Any) -> Any:
        if self.step == at:
            raise Cut
        return original(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", step)
        with pytest.raises(Cut):
            train(spec, data, out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_cut_off_within_an_epoch_equals_one_that_was_not(
    kind: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whole without a checkpoint within an epoch; cut off twice with one after every step."""
    head, sampler, training = KINDS[kind]
    whole = run_spec(head, sampler, checkpoint_minutes=60, **training)
    often = run_spec(head, sampler, checkpoint_minutes=0, **training)
    assert whole.hash == often.hash
    train(whole, tiny_data, tmp_path / "whole")
    for at in (8, 15):  # in the second and in the third of three epochs of six steps
        cut_off(monkeypatch, at, often, tiny_data, tmp_path / "cut")
        assert read_tensors(tmp_path / "cut/checkpoint.pt")["step"] == at
        for path in (tmp_path / "cut" / UNFINISHED).iterdir():
            path.unlink()
    train(often, tiny_data, tmp_path / "cut")
    expected = results_of(tmp_path / "whole")
    assert {"metrics.jsonl", "model.pt", "checkpoint.pt", "diagnostics.json"} <= set(expected)
    found = results_of(tmp_path / "cut")
    del found["run.json"], expected["run.json"]  # it tells the setting
    assert found == expected


@pytest.mark.slow
def test_an_epoch_saves_itself_by_the_clock(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With an interval of 15 minutes and steps of 6: after the third, and at the end of epochs."""
    clock = 0.0

    def now() -> float:
        return clock

    saved: list[int] = []
    original = saving.save_checkpoint, Trainer.train_step

    def save(path: Path, trainer: Trainer, *rest: Any) -> None:
        saved.append(trainer.step)
        original[0](path, trainer, *rest)

    def step(self: Trainer, *batch: Any) -> Any:
        nonlocal clock
        clock += 6 * 60
        return original[1](self, *batch)

    monkeypatch.setattr(saving.time, "monotonic", now)
    monkeypatch.setattr(saving, "save_checkpoint", save)
    monkeypatch.setattr(Trainer, "train_step", step)
    train(run_spec(epochs=2), tiny_data, tmp_path)
    assert saved == [3, 6, 9, 12]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_not_saved(tiny_data: Path, tmp_path: Path):
    batches = Batches(Prepared.open(tiny_data), 16, seed=0)
    trainer = Trainer(run_spec("softmax", learning_rate=1e18, clip_norm=None), batches, 12)
    seen: list[float] = []

    class Note:
        def due(self) -> bool:
            return True

        def pause(self) -> None:
            seen.append(trainer.last_loss)

    with pytest.raises(TrainingFailedError):
        trainer.train_epoch(MetricsFile(tmp_path / "metrics.jsonl"), None, Note())
    assert len(seen) < 6
    assert all(loss < float("inf") for loss in seen)


@pytest.mark.slow
@pytest.mark.long
def test_a_handful_of_kills_at_random_moments(tiny_data: Path, tmp_path: Path):
    """`kill -9` and SIGTERM; benchmarks/kills_training.py does it a hundred times."""
    head, sampler, _ = KINDS["queue"]
    spec = run_spec(head, sampler, epochs=20, checkpoint_minutes=0)
    train(spec, tiny_data, tmp_path / "whole")
    out, dice = tmp_path / "killed", random.Random(0)
    command = [sys.executable, "-m", "frcore", "train", "--spec", spec.model_dump_json(),
               "--data", str(tiny_data), "--out", str(out)]  # fmt: skip
    kept: list[int] = []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        started = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        goal, deadline = (kept or [0])[-1] + dice.randrange(1, 30), time.monotonic() + 120
        while started.poll() is None and step_in(out) < goal:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        started.send_signal(number)
        assert started.wait() == (-number if number == signal.SIGKILL else 128 + number)
        kept.append(step_in(out))
    assert kept == sorted(kept)
    assert kept[-1] < 20 * 6, "it was over before the last kill"
    subprocess.run(command, check=True, capture_output=True)
    assert results_of(out) == results_of(tmp_path / "whole")
    assert {path.name for path in out.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def step_in(out: Path) -> int:
    """Of the checkpoint in a run's folder; 0 without one."""
    path = out / "checkpoint.pt"
    return int(read_tensors(path)["step"]) if path.exists() else 0
