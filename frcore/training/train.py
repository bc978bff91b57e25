"""`frcore train`: one run from prepared data to a trained backbone."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from frcore.components.catalogue import at_place
from frcore.data.loader import Batches
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError, check_classes, listed
from frcore.files import refuse_overlap, sha256_of_json
from frcore.machine.faults import RefusedError, refusal
from frcore.machine.leases import lease_gpu
from frcore.machine.lifetime import Grace
from frcore.machine.processes import rank
from frcore.machine.reproducible import reproducible
from frcore.provenance.environment import environment, versions
from frcore.provenance.stages import run_code
from frcore.records.base import Environment
from frcore.records.diagnostics import DiagnosticsRecord
from frcore.records.metrics import StartEvent, StepEvent
from frcore.records.run import FailureRecord, ResultRecord, RunRecord, TrainingData
from frcore.study.expansion import RunSpec
from frcore.training.checkpoint import newest, remove, restore_from, save_model
from frcore.training.diagnostics import TrainingClasses, diagnose_run
from frcore.training.fit import TrainingSize, problems
from frcore.training.loggers import Loggers
from frcore.training.loop import Trainer, TrainingFailedError
from frcore.training.lost import LostError
from frcore.training.metrics import ANGLE_EDGES_DEGREES, MetricsFile
from frcore.training.processes import Team, joined
from frcore.training.run_folder import (
    CHECKPOINT,
    FAILURE,
    RESULT,
    begin,
    publish,
    refuse_other_run,
)
from frcore.training.run_lock import BusyError, RunLock
from frcore.training.saving import Saving, reached

STARTS = {"weights": "frcore.models.weights:load_weights"}
"""What a run can start from: its code counts only for runs that do."""

SECONDS_BETWEEN_LINES = 10.0
"""How often progress is printed within an epoch; it is always printed at the end of one."""


def train(spec: RunSpec, data: Path, out: Path, *, place: Path | None = None) -> dict[str, Any]:
    """Train `spec` on the prepared set `data` into the folder `out`; returns `result.json`.

    An interrupted run resumes from its last checkpoint. An older result in `out` is kept until this
    one is complete. See docs/formats.md for the files.

    Args:
        spec: of the run.
        data: the prepared training set.
        out: the run's folder.
        place: where the images are now, if they are read in place and were moved.

    Raises:
        UserError: the data do not fit the spec or were changed meanwhile, or the device is
            unavailable.
        TrainingFailedError: the loss became NaN or infinite; `failure.json` has the diagnosis.
        BusyError: another process trains into `out`.
        Stopped: by a signal; a checkpoint was written after the step that it came in.
    """
    out = Path(out)
    refuse_overlap(out, [Path(data)])
    if rank():
        return _train_alone(spec, Path(data), out, None, place)
    refuse_other_run(out)
    out.mkdir(parents=True, exist_ok=True)
    with RunLock(out) as lock:
        (out / FAILURE).unlink(missing_ok=True)
        return _train_alone(spec, Path(data), out, lock, place)


def _train_alone(
    spec: RunSpec, data: Path, out: Path, lock: RunLock | None, place: Path | None
) -> dict[str, Any]:
    training = spec.training
    try:
        with (
            _leased(training.device),
            reproducible(
                spec.seed,
                training.threads,
                training.device,
                deterministic=training.deterministic,
                cudnn_benchmark=training.cudnn_benchmark,
            ),
            joined(training) as team,
        ):
            return _train(spec, Prepared.open(data, place=place), out, lock, team)
    except (BusyError, LostError):
        raise  # the folder and its files may belong to another process
    except Exception as caught:
        error = refusal(caught, out) or caught
        # A request to stop changes nothing any more: who started several processes ends them all.
        with Grace():
            if lock is not None:
                _keep_failure(spec, error, out)
            if error is caught:
                raise
            raise error from caught


def _keep_failure(spec: RunSpec, error: Exception, out: Path) -> None:
    failure = FailureRecord(
        id=spec.id,
        spec_hash=spec.hash,
        error=str(error) or type(error).__name__,
        diagnosis=error.diagnosis if isinstance(error, TrainingFailedError) else None,
    )
    with contextlib.suppress(OSError, RefusedError):  # the disk may be full: `error` says so
        failure.write(out / FAILURE)


def _train(
    spec: RunSpec, prepared: Prepared, out: Path, lock: RunLock | None, team: Team
) -> dict[str, Any]:
    console = Console(stderr=True, quiet=not team.is_first)
    _check_data(spec, prepared)
    training = spec.training
    batches = Batches(
        prepared,
        training.batch_size,
        seed=spec.seed,
        device=training.device,
        flip=training.flip,
        augment=training.augment,
        threads=training.loader_threads,
        channels_last=training.channels_last,
        rank=team.rank,
        ranks=team.size,
    )
    trainer = Trainer(spec, batches, prepared.num_classes, team)
    size = TrainingSize.of(prepared)
    if found := problems(training, trainer.classifier.sampler, size):
        raise UserError(listed([f"{part}: {problem}" for part, problem in found.items()]))
    about, key, checkpoint = prepared.manifest, _key(spec, prepared), out / CHECKPOINT
    saved = newest(checkpoint, key)
    is_new, lines = saved is None, saved[1]["metrics"] if saved else ""
    if saved is not None:
        restore_from(*saved, trainer)
        console.print(f"{spec.id}: resuming after {reached(trainer, trainer.step)}")
    else:
        _start_from_weights(trainer)
    saved = None  # release the file
    team.agree(0)  # nobody writes before all have read
    loggers = Loggers(spec, out, names=None if team.is_first else [])
    folder = begin(out) if team.is_first else None
    if folder is not None:
        _run_record(spec, prepared).write(folder / "run.json")
    metrics = MetricsFile(
        folder / "metrics.jsonl" if folder is not None else Path(os.devnull),
        lines=lines,
        listener=lambda event: loggers.event(event, trainer.step),
    )
    with (
        contextlib.closing(metrics),
        loggers,
        Saving(checkpoint, trainer, metrics, key, lock) as saving,
    ):
        if is_new:
            metrics.write(
                StartEvent(
                    id=spec.id,
                    images=about.images,
                    identities=prepared.num_classes,
                    steps_per_epoch=len(batches),
                    angle_edges_degrees=ANGLE_EDGES_DEGREES.tolist(),
                )
            )
        progress = _progress_printer(trainer, console)
        while not trainer.is_finished:
            trainer.train_epoch(metrics, progress, saving)
            saving.pause()
    try:
        prepared.refuse_changed()
    except UserError:
        if team.is_first:
            remove(checkpoint)  # trained on images that no longer exist
        raise
    found_in_run = _diagnosed(trainer, prepared)
    if folder is None or lock is None:
        return {}
    result = _finish(trainer, prepared, found_in_run, folder)
    lock.check()
    publish(out)
    return result


def _start_from_weights(trainer: Trainer) -> None:
    """Load the weights that the run starts from, if it has some; each process reads the file."""
    part = trainer.spec.backbone
    if part.weights is None:
        return
    if part.sha256 is None:
        raise UserError(
            f"backbone '{part.label}' starts from {part.weights}, but its spec has no sha256 of "
            "that file, which says what the run was made from: read the study with load_study, or "
            "give sha256"
        )
    at_place(STARTS["weights"])(part.weights, trainer.backbone, part.name, sha256=part.sha256)


def _key(spec: RunSpec, prepared: Prepared) -> str:
    """What a checkpoint must belong to: all but the number of processes, which may change."""
    about = prepared.manifest
    code = run_code(spec, about.kind, in_place=about.storage == "in_place")
    alone = {"processes": 1, "sync_batchnorm": False}
    whole = spec.model_copy(update={"training": spec.training.model_copy(update=alone)})
    return sha256_of_json([whole.hash, about.content_sha256, code, versions()])


def _diagnosed(trainer: Trainer, prepared: Prepared) -> DiagnosticsRecord:
    """The centres at the end; every process takes part."""
    classes, angle_C = TrainingClasses.of(prepared), trainer.last_angles.mean()
    found = diagnose_run(trainer.classifier, trainer.all_touches(), classes, angle_C)
    found.id, found.spec_hash, found.steps = trainer.spec.id, trainer.spec.hash, trainer.step
    if trainer.drift is not None:
        found.drift = sorted(trainer.drift.rows, key=lambda row: (row.start, row.age))
    return found


def _finish(
    trainer: Trainer, prepared: Prepared, found: DiagnosticsRecord, folder: Path
) -> dict[str, Any]:
    """Write the final results; all of them follow from the last checkpoint."""
    spec = trainer.spec
    save_model(folder / "model.pt", spec, trainer.backbone)
    found.write(folder / "diagnostics.json")
    images = trainer.step * min(spec.training.batch_size, prepared.manifest.images)
    result = ResultRecord(
        id=spec.id,
        spec_hash=spec.hash,
        epochs=trainer.epoch,
        steps=trainer.step,
        seconds=trainer.seconds,
        images_per_second=images / trainer.seconds,
        final_loss=trainer.epoch_loss,
        backend=trainer.backend_name,
        parameters=sum(p.numel() for p in trainer.backbone.parameters()),
    )
    return result.write(folder / RESULT)


def _progress_printer(trainer: Trainer, console: Console) -> Callable[[StepEvent], None]:
    """Prints progress at intervals; called with each logged step."""
    epochs = trainer.spec.training.epochs
    started, first, printed = time.perf_counter(), trainer.step, time.perf_counter()

    def progress(event: StepEvent) -> None:
        nonlocal printed
        now = time.perf_counter()
        if now - printed < SECONDS_BETWEEN_LINES and not float(event.epoch or 0.5).is_integer():
            return
        printed = now
        steps_left = epochs * len(trainer.batches) - trainer.step
        left = (now - started) / (trainer.step - first) * steps_left
        console.print(
            f"{trainer.spec.id}: epoch {event.epoch:.1f}/{epochs}  loss {event.loss:.3f}  "
            f"target angle {event.target_angle:.1f}°  scale {event.scale:.2f}  "
            f"{event.images_per_second:.0f} images/s  {left:.0f} s left",
            highlight=False,
        )

    return progress


def _run_record(spec: RunSpec, prepared: Prepared) -> RunRecord:
    about = prepared.manifest
    return RunRecord(
        id=spec.id,
        spec=spec.model_dump(mode="json"),
        spec_hash=spec.hash,
        data=TrainingData(
            content_sha256=about.content_sha256,
            spec_hash=about.spec_hash,
            images=about.images,
            identities=about.identities,
        ),
        environment=Environment(**environment(spec.training.device)),
    )


def _check_data(spec: RunSpec, prepared: Prepared) -> None:
    """Check that the prepared set is a training set of the image size that the backbone expects."""
    height, width = prepared.images.shape[1:3]
    if (height, width) != (spec.image.size, spec.image.size):
        raise UserError(
            f"prepared images are {height}×{width} but image.size is {spec.image.size}; "
            "prepare the data again with this study"
        )
    if prepared.manifest.protocol != "train":
        raise UserError(
            f"the prepared set is a benchmark ({prepared.manifest.protocol}); training needs the "
            "one made from the study's `train` section"
        )
    check_classes(len(np.unique(prepared.labels)), "a training set")


@contextlib.contextmanager
def _leased(device: str) -> Iterator[None]:
    """The device of the run; for a GPU, with an exclusive lease."""
    with lease_gpu(device, exclusive=True):
        if device != "cpu" and not torch.cuda.is_available():
            raise UserError(
                "training.device is 'cuda' but torch sees no GPU; run `frcore doctor`, or set "
                "training.device to 'cpu'"
            )
        yield
