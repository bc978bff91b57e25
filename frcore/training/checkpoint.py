"""Saving a run so that it resumes exactly, and reading the trained backbone back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from frcore.backbones import BACKBONES, build_backbone
from frcore.errors import UserError, first_line
from frcore.files import atomic_file
from frcore.machine.faults import raise_refusal
from frcore.optimizer import CentersSGD
from frcore.study.expansion import RunSpec
from frcore.text import one_line
from frcore.training.loop import Trainer
from frcore.training.metrics import MetricsFile
from frcore.training.tensor_file import own, read_tensors, write_tensors


def save_checkpoint(path: Path, trainer: Trainer, metrics: MetricsFile, key: str) -> None:
    """Write all that `load_checkpoint` needs to go on as if nothing had happened.

    The order and mirroring of the images are functions of seed and epoch, so that the epoch's
    number is all there is to save of them. No tensor is copied on its way into the file.
    """
    device = trainer.device
    state = {
        "key": key,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "seconds": trainer.seconds,
        "last_loss": trainer.last_loss,
        "epoch_loss": trainer.epoch_loss,
        "backend_name": trainer.backend_name,
        "metrics": metrics.lines(),
        "backbone": trainer.backbone.state_dict(),
        "classifier": trainer.classifier.state_dict(),
        "touches": trainer.touches.state(),
        "last_angles": trainer.last_angles.state() if trainer.is_finished else None,
        "optimizers": [optimizer.state_dict() for optimizer in trainer.optimizers],
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }
    with atomic_file(path) as temporary:
        write_tensors(temporary, state)


def read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The checkpoint at `path` if it is of this very run, else None.

    `key` stands for spec, data, code and versions: a checkpoint of anything else is not a start.
    One that cannot be read (the disk was full, the file was cut) is none either. Its tensors are
    read from the file when `restore` copies them, so drop it after that.
    """
    if not path.exists():
        return None
    try:
        state = read_tensors(path)
        is_own = state["key"] == key
    except Exception as error:  # torch raises many kinds for a damaged file
        raise_refusal(error)
        return None
    return state if is_own else None


def restore(state: dict[str, Any], trainer: Trainer) -> None:
    """Bring `trainer` to where `state` was saved; nothing of `state` is kept."""
    trainer.backbone.load_state_dict(state["backbone"])
    # Parameters and buffers are copied where they are; heads and samplers keep what else they get.
    classifier = {k: v if isinstance(v, Tensor) else own(v) for k, v in state["classifier"].items()}
    trainer.classifier.load_state_dict(classifier)
    trainer.touches.load(state["touches"])
    for optimizer, saved in zip(trainer.optimizers, state["optimizers"], strict=True):
        # torch's optimisers keep the tensors that they are given.
        optimizer.load_state_dict(saved if isinstance(optimizer, CentersSGD) else own(saved))
    trainer.epoch, trainer.step = state["epoch"], state["step"]
    trainer.seconds, trainer.last_loss = state["seconds"], state["last_loss"]
    trainer.epoch_loss, trainer.backend_name = state["epoch_loss"], state["backend_name"]
    if state["last_angles"] is not None:
        trainer.last_angles.load(state["last_angles"])
    torch.set_rng_state(state["rng"])
    if state["rng_cuda"] is not None:
        torch.cuda.set_rng_state(state["rng_cuda"], trainer.device)


def save_model(path: Path, spec: RunSpec, backbone: nn.Module) -> None:
    """Write the trained backbone with the spec that rebuilds it."""
    weights = {name: tensor.cpu() for name, tensor in backbone.state_dict().items()}
    with atomic_file(path) as temporary:
        write_tensors(temporary, {"spec": spec.model_dump_json(), "backbone": weights})


def load_backbone(run: Path, device: str | torch.device = "cpu") -> nn.Module:
    """The trained backbone of the run folder `run`, in eval mode.

    Raises:
        UserError: there is no readable `model.pt`.
    """
    path = Path(run) / "model.pt"
    if not path.exists():
        raise UserError(f"{path} does not exist; train the run first")
    return read_backbone(path, device)[1]


def read_backbone(
    path: Path, device: str | torch.device = "cpu", *, own_classes: bool = True
) -> tuple[RunSpec, nn.Module]:
    """The run's spec and its trained backbone, in eval mode, from the file `path`.

    Args:
        path: a `model.pt`, by `save_model`.
        device: where the backbone goes.
        own_classes: whether the backbone may be a class of the user's own, which is imported. Of a
            stranger's file it may not: that would run whatever the file names.

    Raises:
        UserError: the file cannot be read, or has another kind of backbone.
    """
    saved, spec = _saved_model(path)
    if not own_classes and spec.backbone.name not in BACKBONES:
        raise UserError(
            f"{path} has the backbone '{spec.backbone.name}', a class that would have to be "
            f"imported; allowed are {', '.join(BACKBONES)}: export the model to ONNX"
        )
    size = spec.image.size
    backbone = build_backbone(spec.backbone.name, image_size=size, **spec.backbone.parameters)
    try:
        backbone.load_state_dict(saved["backbone"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: its weights are not those of its backbone {spec.backbone.name}: "
            f"{first_line(error)}; give the model.pt of a run"
        ) from error
    return spec, backbone.to(device).eval()


def _saved_model(path: Path) -> tuple[Any, RunSpec]:
    """What `save_model` wrote, and the spec in it.

    Raises:
        UserError: it is anything else; the message says what.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for other files
        what = first_line(error) if isinstance(error, OSError) else _other_file(path)
        raise _no_model(path, what) from None
    if isinstance(saved, dict) and "classifier" in saved:
        raise _no_model(path, "it is the checkpoint of a training that goes on from it")
    try:
        return saved, RunSpec.model_validate_json(saved["spec"])
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        what = f"its spec is not one of this version of frcore ({where}: {first['msg']})"
    except (KeyError, TypeError, IndexError):
        what = "it holds tensors without the spec of a run, as a state dict does"
    raise _no_model(path, what)


def _no_model(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} is no model file of frcore: {what}; give the model.pt of a run, or export another "
        "network to ONNX"
    )


def _other_file(path: Path) -> str:
    """What a file is that `torch.load` refuses; nothing of it is run to find out.

    torch's own message is not passed on: it says how to load the file all the same, unsafely.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "it is empty"
    if start != b"PK\x03\x04":
        return "it is no archive of torch.save"
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return "it is a TorchScript archive (`kind: torchscript` in a study)"
    except Exception:  # as above
        named = []
    if not named:
        return "it is cut short or damaged"
    classes = one_line(", ".join(sorted(named)), 100)
    return f"it holds pickled objects ({classes}), which can run anything when they are read"
