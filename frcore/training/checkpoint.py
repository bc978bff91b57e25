"""Saving a run so that it resumes exactly, and saving the trained backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frcore.centers.deferred_updates import DeferredUpdates
from frcore.classifier import Classifier
from frcore.files import atomic_file
from frcore.machine.faults import raise_refusal
from frcore.optimizer import CentersSGD
from frcore.study.expansion import RunSpec
from frcore.training.loop import Trainer
from frcore.training.metrics import EpochFigures, MetricsFile
from frcore.training.tensor_file import own, read_tensors, write_tensors

POSITION = ("epoch", "step", "seconds", "last_loss", "epoch_loss", "backend_name")
"""Attributes of a `Trainer` that are plain values."""


def save_checkpoint(path: Path, trainer: Trainer, metrics: MetricsFile, key: str) -> None:
    """Write everything that `restore` needs to resume exactly, also in the middle of an epoch.

    The order and mirroring of the images are functions of seed, epoch and step, so there is nothing
    to save of them. Tensors are written to the file without a copy.
    """
    device = trainer.device
    if trainer.is_finished:
        trainer.classifier.synchronize()  # now at the same step whatever the clock says
    with _rows_left_behind(trainer.classifier) as updates:
        state = {
            "key": key,
            **{name: getattr(trainer, name) for name in POSITION},
            "metrics": metrics.lines(),
            "figures": trainer.figures.state_dict() if trainer.figures else None,
            "backbone": trainer.backbone.state_dict(),
            "classifier": trainer.classifier.state_dict(),
            "deferred_updates": _deferred(updates) if updates is not None else None,
            "touches": trainer.touches.state_dict(),
            "last_angles": trainer.last_angles.state_dict() if trainer.is_in_last_epoch else None,
            "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
            "rng": torch.get_rng_state(),
            "rng_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }
    with atomic_file(path) as temporary:
        write_tensors(temporary, state)


@contextlib.contextmanager
def _rows_left_behind(classifier: Classifier) -> Iterator[DeferredUpdates | None]:
    """Within the block nothing brings rows of the centres up to date; gives what they are behind.

    When a checkpoint is written depends on the clock, and catching up in two parts rounds otherwise
    than in one: doing it here, the model would depend on the clock too.
    """
    updates, classifier.deferred_updates = classifier.deferred_updates, None
    try:
        yield updates
    finally:
        classifier.deferred_updates = updates


def _deferred(updates: DeferredUpdates) -> dict[str, Any]:
    return {
        "step": updates.step,
        "behind": updates.behind,
        "row_step_C": updates.row_step_C,
        "products": updates.products,
    }


def _restore_deferred(updates: DeferredUpdates, saved: dict[str, Any]) -> None:
    updates.step, updates.behind = saved["step"], saved["behind"]
    updates.row_step_C.copy_(saved["row_step_C"])
    updates.products.copy_(saved["products"])


def read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The checkpoint at `path` if it belongs to this exact run, else None.

    `key` identifies spec, data, code and versions; checkpoints with another key are ignored, and so
    are unreadable ones (the disk was full, the file was truncated). Tensors are read from the file
    when `restore` copies them, so drop the checkpoint after that.
    """
    if not path.exists():
        return None
    try:
        state = read_tensors(path)
        is_own = state["key"] == key
    except Exception as error:  # torch raises many kinds of exceptions for a damaged file
        raise_refusal(error)
        return None
    return state if is_own else None


def restore(state: dict[str, Any], trainer: Trainer) -> None:
    """Bring `trainer` to the saved `state`, without keeping references to it."""
    trainer.backbone.load_state_dict(state["backbone"])
    # Parameters and buffers are copied in place; heads and samplers keep other values as given.
    classifier = {k: v if isinstance(v, Tensor) else own(v) for k, v in state["classifier"].items()}
    trainer.classifier.load_state_dict(classifier)
    trainer.touches.load_state_dict(state["touches"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizers"], strict=True):
        # torch's optimisers keep references to the tensors they are given.
        optimizer.load_state_dict(saved if isinstance(optimizer, CentersSGD) else own(saved))
    if state["deferred_updates"] is not None:
        assert trainer.classifier.deferred_updates is not None, "the key holds the sampler"
        _restore_deferred(trainer.classifier.deferred_updates, state["deferred_updates"])
    for name in POSITION:
        setattr(trainer, name, state[name])
    if state["figures"] is not None:
        trainer.figures = EpochFigures(trainer.device)
        trainer.figures.load_state_dict(state["figures"])
    if state["last_angles"] is not None:
        trainer.last_angles.load_state_dict(state["last_angles"])
    torch.set_rng_state(state["rng"])
    if state["rng_cuda"] is not None:
        torch.cuda.set_rng_state(state["rng_cuda"], trainer.device)


def save_model(path: Path, spec: RunSpec, backbone: nn.Module) -> None:
    """Write the trained backbone together with the spec to rebuild it."""
    weights = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    with atomic_file(path) as temporary:
        write_tensors(temporary, {"spec": spec.model_dump_json(), "backbone": weights})
