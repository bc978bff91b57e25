"""Trackers of other people get the figures and cannot harm a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from frcore.errors import UserError
from frcore.files import read_json
from frcore.records.diagnostics import CenterAngles
from frcore.records.metrics import EpochEvent, StepEvent
from frcore.study.expansion import RunSpec
from frcore.training import loggers as module
from frcore.training.loggers import TRACKERS, VARIABLE, Loggers, Tracker
from frcore.training.train import train
from tests.training.conftest import leave_one_epoch, run_spec


class Recorder(Tracker):
    """Keeps what it is told; `fails` names the call that raises."""

    package = "json"
    fails = ""
    told: ClassVar[list[Any]] = []

    def start(self, spec: RunSpec, out: Path, known_id: str | None) -> str | None:
        self._tell("start", known_id)
        return known_id or f"id of {spec.id}"

    def figures(self, values: Mapping[str, float], step: int) -> None:
        self._tell("figures", (step, dict(values)))

    def close(self) -> None:
        self._tell("close", None)

    def _tell(self, call: str, value: Any) -> None:
        if call == type(self).fails:
            raise ConnectionError("the server is gone")
        type(self).told.append((call, value))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    Recorder.told, Recorder.fails = [], ""
    monkeypatch.setitem(TRACKERS, "recorder", Recorder)
    monkeypatch.setenv(VARIABLE, " recorder,recorder ")
    return Recorder


def written(out: Path, event: str) -> list[dict[str, Any]]:
    records = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [record for record in records if record["event"] == event]


def test_nothing_listens_unless_it_is_asked_for(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    train(run_spec(epochs=1), tiny_data, tmp_path)
    assert not (tmp_path / "loggers.json").exists()


def test_a_tracker_gets_what_the_file_gets(
    tiny_data: Path, tmp_path: Path, recorder: type[Recorder]
) -> None:
    spec = run_spec("curricularface", epochs=2)
    train(spec, tiny_data, tmp_path)
    assert recorder.told[0] == ("start", None)
    assert recorder.told[-1] == ("close", None)
    assert read_json(tmp_path / "loggers.json") == {"recorder": f"id of {spec.id}"}
    figures = [value for call, value in recorder.told if call == "figures"]
    steps = [f for f in figures if "loss" in f[1]]
    in_file = written(tmp_path, "step")
    assert [(step, f["loss"]) for step, f in steps] == [(r["step"], r["loss"]) for r in in_file]
    assert steps[0][1]["head/t"] == in_file[0]["head"]["t"]
    epochs = [f for _, f in figures if "epoch/loss" in f]
    assert [f["epoch/loss"] for f in epochs] == [r["loss"] for r in written(tmp_path, "epoch")]


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_tracker(
    tiny_data: Path, tmp_path: Path, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = run_spec(epochs=2)
    leave_one_epoch(spec, tiny_data, tmp_path, monkeypatch)
    assert recorder.told[-1] == ("close", None)
    recorder.told.clear()
    train(spec, tiny_data, tmp_path)
    assert recorder.told[0] == ("start", f"id of {spec.id}")
    first = next(value for call, value in recorder.told if call == "figures")
    assert first[0] > 6  # the second epoch's steps only


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("call", ["start", "figures", "close"])
def test_a_tracker_that_fails_costs_a_warning(
    call: str, tiny_data: Path, tmp_path: Path, recorder: type[Recorder],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    recorder.fails = call
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        result = train(run_spec(epochs=1), tiny_data, tmp_path)
    assert result["status"] == "ok"
    assert caplog.text.count("the server is gone") == 1  # once, not at every step
    if call != "close":
        assert not [c for c, _ in recorder.told if c == "figures"]


def test_figures_that_are_not_numbers_are_left_out(
    tmp_path: Path, recorder: type[Recorder]
) -> None:
    with Loggers(run_spec(), tmp_path, ["recorder"]) as loggers:
        nan, empty = float("nan"), CenterAngles()
        loggers.event(StepEvent(step=3, loss=1.5, scale=nan, target_angle=None), 3)
        loggers.event(EpochEvent(epoch=1, loss=1.0, target_histogram=[1, 2], centers=empty), 3)
    assert ("figures", (3, {"loss": 1.5})) in recorder.told
    assert ("figures", (3, {"epoch/epoch": 1.0, "epoch/loss": 1.0})) in recorder.told


def test_unknown_and_missing_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="'tensorbord'; allowed are tensorboard, mlflow, wandb"):
        Loggers(run_spec(), tmp_path, ["tensorbord"])
    monkeypatch.setattr(Recorder, "package", "no_such_package_here")
    monkeypatch.setitem(TRACKERS, "recorder", Recorder)
    with pytest.raises(UserError, match="pip install no_such_package_here"):
        Loggers(run_spec(), tmp_path, ["recorder"])


def test_tensorboard_reads_it(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv(VARIABLE, "tensorboard")
    train(run_spec(epochs=1), tiny_data, tmp_path)
    accumulator = events.EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    seen = [(event.step, event.value) for event in accumulator.Scalars("loss")]
    wanted = [(record["step"], record["loss"]) for record in written(tmp_path, "step")]
    assert [step for step, _ in seen] == [step for step, _ in wanted]
    assert [value for _, value in seen] == pytest.approx([value for _, value in wanted])


def test_mlflow_reads_it(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv(VARIABLE, "mlflow")
    train(run_spec(epochs=1), tiny_data, tmp_path / "run")
    (run_id,) = read_json(tmp_path / "run" / "loggers.json").values()
    client = mlflow.MlflowClient(uri)
    history = client.get_metric_history(run_id, "loss")
    assert [m.step for m in history] == [r["step"] for r in written(tmp_path / "run", "step")]
    assert client.get_run(run_id).data.params["training.epochs"] == "1"


def test_wandb_takes_it_offline(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv(VARIABLE, "wandb")
    train(run_spec(epochs=1), tiny_data, tmp_path)
    (run_id,) = read_json(tmp_path / "loggers.json").values()
    (kept,) = (tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb")
    assert b"target_angle" in kept.read_bytes()
