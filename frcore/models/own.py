"""Models that this harness trained: reading the backbone of a `model.pt` back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import torch
from torch import nn

from frcore.backbones import BACKBONES, build_backbone
from frcore.errors import UserError, first_line
from frcore.study.expansion import RunSpec
from frcore.text import one_line


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
        path: a `model.pt`, by `frcore.training.checkpoint.save_model`.
        device: where the backbone goes.
        own_classes: whether the backbone may be a class of the user's own, which is imported. Of a
            untrusted file it may not: that would run whatever the file names.

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
        what = first_line(error) if isinstance(error, OSError) else other_file(path)
        raise _no_model(path, what) from None
    if isinstance(saved, dict) and "classifier" in saved:
        raise _no_model(path, "it is a training checkpoint, for resuming" + NAME_IT)
    try:
        return saved, RunSpec.model_validate_json(saved["spec"])
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        what = f"its spec is not one of this version of frcore ({where}: {first['msg']})"
    except (KeyError, TypeError, IndexError):
        what = "it holds tensors without the spec of a run, as a state dict does" + NAME_IT
    raise _no_model(path, what)


NAME_IT = " (weights need their network's name: `backbone: iresnet50` in a model of a study)"


def _no_model(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} is not a model file of frcore: {what}; give the model.pt of a run, or export "
        "another network to ONNX"
    )


def other_file(path: Path) -> str:
    """What a file is that `torch.load` refuses, found out without running anything in it.

    torch's own message is not passed on: it says how to load the file unsafely anyway.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "it is empty"
    if start == b"\x80\x02\x8a\n":  # the length of a number that only torch begins with
        return (
            "it is an archive of torch before 1.6, damaged or with pickled objects, which can run "
            "anything when they are read"
        )
    if start != b"PK\x03\x04":
        return "it is not an archive of torch.save"
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:
        return "it is a TorchScript archive (`kind: torchscript` in a study)"
    except Exception:  # as above
        named = []
    if not named:
        return "it is truncated or damaged"
    classes = one_line(", ".join(sorted(named)), 100)
    return f"it holds pickled objects ({classes}), which can run anything when they are read"
