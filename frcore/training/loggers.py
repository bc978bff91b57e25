"""Third-party experiment trackers, off unless named in FRCORE_LOGGERS.

`metrics.jsonl` is complete without them. They get the same values through their own libraries,
which are not dependencies of this project, and cannot stop a training: a tracker that fails is
dropped with a warning. Trackers are not part of the study, because they do not affect results: a
finished run is not trained again for a tracker.
"""

from __future__ import annotations

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from frcore.errors import UserError
from frcore.files import read_json, write_json
from frcore.records.metrics import Event
from frcore.study.expansion import RunSpec
from frcore.study.section import dotted

log = logging.getLogger(__name__)

VARIABLE = "FRCORE_LOGGERS"
IDS = "loggers.json"
"""In the run's folder: the trackers' ids of the run, so that a resumed run continues there."""


class Tracker(ABC):
    """One experiment tracker's view of a run."""

    package: ClassVar[str]
    """Package to install."""

    @abstractmethod
    def start(self, spec: RunSpec, out: Path, known_id: str | None) -> str | None:
        """Begin, or resume the run that the tracker knows as `known_id`; returns its id."""

    @abstractmethod
    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of one step or epoch."""

    @abstractmethod
    def close(self) -> None:
        """Called when the run has ended or was interrupted."""


class TensorBoard(Tracker):
    """Event files in the run's folder: `tensorboard --logdir results/STUDY/runs`."""

    package = "tensorboard"

    def start(self, spec: RunSpec, out: Path, known_id: str | None) -> str | None:
        """Open a writer in `tensorboard/` of the run's folder."""
        summary = import_module("torch.utils.tensorboard")
        self._writer = summary.SummaryWriter(str(out / "tensorboard"))
        self._writer.add_text("spec", f"```json\n{spec.model_dump_json(indent=2)}\n```")
        return None

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """One scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class MLflow(Tracker):
    """A run in the experiment MLFLOW_EXPERIMENT_NAME (default `frcore`), at MLflow's URI."""

    package = "mlflow"

    def start(self, spec: RunSpec, out: Path, known_id: str | None) -> str | None:
        """Start a run, or go on with `known_id`."""
        self._mlflow = import_module("mlflow")
        if "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            self._mlflow.set_experiment("frcore")
        run = self._mlflow.start_run(run_id=known_id, run_name=None if known_id else spec.id)
        if known_id is None:
            self._mlflow.log_params(dotted(spec.model_dump(mode="json")))
        return str(run.info.run_id)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """All figures of a step at once."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


class WeightsAndBiases(Tracker):
    """A run in the project WANDB_PROJECT (default `frcore`); WANDB_MODE=offline keeps it local."""

    package = "wandb"

    def start(self, spec: RunSpec, out: Path, known_id: str | None) -> str | None:
        """Start a run, or go on with `known_id`."""
        wandb = import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "frcore"),
            name=spec.id,
            id=known_id,
            resume="allow" if known_id else None,
            config=spec.model_dump(mode="json"),
            dir=str(out),
        )
        return str(self._run.id)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """All figures of a step at once."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}


class Loggers:
    """The trackers named in FRCORE_LOGGERS, if any. Use as a context manager.

    Args:
        spec: the run.
        out: its folder.
        names: of trackers; by default those in the environment variable.

    Raises:
        UserError: an unknown name, or a library that is not installed.
    """

    def __init__(self, spec: RunSpec, out: Path, names: Sequence[str] | None = None):
        wanted = _named_in_environment() if names is None else names
        self._trackers: dict[str, Tracker] = {name: _tracker(name) for name in wanted}
        self._spec, self._out = spec, out

    def __enter__(self) -> Loggers:
        """Begin with every tracker."""
        path = self._out / IDS
        known: dict[str, str] = read_json(path) if path.is_file() else {}
        given: dict[str, str] = {}

        def begin(name: str, tracker: Tracker) -> None:
            found = tracker.start(self._spec, self._out, known.get(name))
            given.update({name: found} if found else {})

        self._each("start", begin)
        if given and given != known:
            write_json(path, {**known, **given})
        return self

    def __exit__(self, *_: object) -> None:
        """End with every tracker."""
        self._each("close", lambda _, tracker: tracker.close())

    def event(self, event: Event, step: int) -> None:
        """Pass on the values of a `step` or `epoch` event of `metrics.jsonl`."""
        if self._trackers:
            figures = _figures(event.line(), "epoch/" if event.kind == "epoch" else "")
            self._each("log", lambda _, tracker: tracker.figures(figures, step))

    def _each(self, what: str, action: Callable[[str, Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                action(name, tracker)
            # A tracker's library can raise anything, but must not stop a training.
            except Exception as error:
                log.warning("%s could not %s and is disabled from now on: %s", name, what, error)
                del self._trackers[name]
                if what != "close":
                    with contextlib.suppress(Exception):
                        tracker.close()


def _named_in_environment() -> list[str]:
    given = os.environ.get(VARIABLE, "")
    return list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))


def _tracker(name: str) -> Tracker:
    if name not in TRACKERS:
        raise UserError(
            f"{VARIABLE} names '{name}'; allowed are {', '.join(TRACKERS)}, separated by commas"
        )
    kind = TRACKERS[name]
    try:
        import_module(kind.package)
    except ImportError as error:
        raise UserError(
            f"{VARIABLE} names '{name}', but its library is not installed ({error}): "
            f"pip install {kind.package}, or leave the name out"
        ) from error
    return kind()


def _figures(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The finite numbers among `values`, those of the head under `head/`."""
    flat = {**values, **{f"head/{name}": value for name, value in values.get("head", {}).items()}}
    return {
        prefix + name: float(value)
        for name, value in flat.items()
        if isinstance(value, (int, float)) and name != "step" and abs(value) < float("inf")
    }
