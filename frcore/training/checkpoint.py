"""Saving a run so that it resumes exactly, and saving the trained backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frcore.files import atomic_file
from frcore.machine.faults import raise_refusal
from frcore.optimizer import CentersSGD
from frcore.study.expansion import RunSpec
from frcore.training.loop import Trainer
from frcore.training.metrics import MetricsFile
from frcore.training.tensor_file import own, read_tensors, write_tensors

POSITION = ("epoch", "step", "seconds", "last_loss", "epoch_loss", "backend_name")
"""Attributes of a `Trainer` that are plain values."""


def save_checkpoint(path: Path, trainer: Trainer, metrics: MetricsFile, key: str) -> None:
    """Write everything that `restore` needs to resume exactly.

    The order and mirroring of the images are functions of seed and epoch, so only the epoch has to
    be saved for them. Tensors are written to the file without a copy.
    """
    device = trainer.device
    state = {
        "key": key,
        **{name: getattr(trainer, name) for name in POSITION},
        "metrics": metrics.lines(),
        "backbone": trainer.backbone.state_dict(),
        "classifier": trainer.classifier.state_dict(),
        "touches": trainer.touches.state_dict(),
        "last_angles": trainer.last_angles.state_dict() if trainer.is_finished else None,
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    with atomic_file(path) as temporary:
        write_tensors(temporary, state)


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
    for name in POSITION:
        setattr(trainer, name, state[name])
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
