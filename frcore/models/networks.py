"""TorchScript archives and checkpoints of this harness, as functions from images to embeddings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from frcore.backbones import build_backbone
from frcore.data.loader import to_network
from frcore.errors import UserError, first_line
from frcore.models.own import read_backbone
from frcore.models.pixels import AGAIN, Network, Pixels
from frcore.models.torchscript_file import EXPORT, check_archive, check_graph
from frcore.models.weights import load_weights
from frcore.study.models import CheckpointModel, TorchScriptModel


class TorchScriptNetwork(Network):
    """A TorchScript archive; its input has the type of the first weights, which may be float16.

    Raises:
        UserError: the archive is refused by `frcore.models.torchscript_file`.
    """

    def __init__(self, model: TorchScriptModel, *, device: str = "cpu"):
        self.path, self.device, self.size = Path(model.file), device, model.size
        self.files = [self.path]
        check_archive(self.path)
        try:
            module: Any = torch.jit.load(str(self.path), map_location=device)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be loaded: {first_line(error)}; {EXPORT}"
            ) from error
        check_graph(self.path, module)
        self._module = module.eval()
        kinds = (weight.dtype for weight in module.parameters() if weight.is_floating_point())
        self._dtype: torch.dtype = next(kinds, torch.float32)
        self._pixels = Pixels(model)
        kind = str(self._dtype).removeprefix("torch.")
        self.about = f"{self._pixels}, NCHW, {kind}; TorchScript in torch {torch.__version__}"

    def _prepared(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._pixels(images)

    @torch.inference_mode()
    def _run(self, values: NDArray[np.float32]) -> NDArray[np.floating]:
        try:
            # Not `module(...)`, which would run hooks that the graph of `forward` does not show.
            out = self._module.forward(torch.from_numpy(values).to(self.device, self._dtype))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            todo = (
                "export the model in one precision (`model.float()` before tracing)"
                if _OF_TYPES.search(reason)
                else AGAIN
            )
            raise UserError(
                f"{self.path} cannot be run on {self._dtype} images of shape {values.shape}: "
                f"{reason}; {todo}"
            ) from error
        if not isinstance(out, torch.Tensor):
            raise UserError(
                f"{self.path} gives a {type(out).__name__}; allowed is one tensor of embeddings: "
                "export the model with that output alone"
            )
        return np.asarray(out.float().cpu().numpy())


_OF_TYPES = re.compile(r"\b(data ?|d)?type\b", re.IGNORECASE)
"""In torch's message of two tensors that have not the same type."""


class CheckpointNetwork(Network):
    """A `model.pt` of this harness, or weights of a backbone that the study names.

    Raises:
        UserError: no such file, or a backbone that is not one of this harness: a foreign class
            would be imported, and importing runs code. Or weights of another network.
    """

    def __init__(self, model: CheckpointModel, *, device: str = "cpu"):
        self.path, self.device = Path(model.file), device
        self.files = [self.path]
        if model.backbone is not None and model.side is not None:
            name, self.size = model.backbone.name, model.side
            parameters = model.backbone.parameters
            self._backbone = build_backbone(name, image_size=self.size, **parameters)
            load_weights(self.path, self._backbone, name)
            self._backbone.to(device).eval()
            what = f"weights of the backbone {name}"
        else:
            spec, self._backbone = read_backbone(self.path, device, own_classes=False)
            self.size = spec.image.size
            what = f"checkpoint of the run {spec.id}, backbone {spec.backbone.name}"
        self.about = f"RGB, (pixel - 127.5) / 127.5; {what}"

    def _prepared(self, images: NDArray[np.uint8]) -> torch.Tensor:
        return to_network(images, self.device)

    @torch.inference_mode()
    def _run(self, values: torch.Tensor) -> NDArray[np.floating]:
        backbone: nn.Module = self._backbone
        out: torch.Tensor = backbone(values)
        return np.asarray(out.float().cpu().numpy())
