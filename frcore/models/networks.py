"""TorchScript archives and checkpoints of this harness, as functions from images to embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from frcore.data.loader import to_network
from frcore.errors import UserError
from frcore.model_config import CheckpointModel, TorchScriptModel
from frcore.models.pixels import Pixels, check_embeddings, check_size
from frcore.models.torchscript_file import EXPORT, check_archive, check_graph
from frcore.training.checkpoint import read_backbone


class TorchScriptNetwork:
    """Images uint8 (B, H, W, 3), RGB, to embeddings (B, D).

    Attributes:
        files: what was read.
        about: how its input is made, in words.

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
                f"{self.path} cannot be loaded: {str(error).strip().splitlines()[0]}; {EXPORT}"
            ) from error
        check_graph(self.path, module)
        self._module = module.eval()
        self._pixels = Pixels.of(model)
        self.about = f"{self._pixels}, NCHW; TorchScript in torch {torch.__version__}"

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (B, D) of images uint8 (B, H, W, 3), RGB."""
        check_size(str(self.path), self.size, images)
        values = torch.from_numpy(self._pixels(images)).to(self.device)
        try:
            # Not `module(...)`, which would run hooks that the graph of `forward` does not show.
            out = self._module.forward(values)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(
                f"{self.path} cannot be run on images of shape {tuple(values.shape)}: {reason}; "
                "check `image.size` of the study, or export the model again"
            ) from error
        if not isinstance(out, torch.Tensor):
            raise UserError(
                f"{self.path} gives a {type(out).__name__}; allowed is one tensor of embeddings: "
                "export the model with that output alone"
            )
        return check_embeddings(str(self.path), out.float().cpu().numpy(), len(images))


class CheckpointNetwork:
    """A `model.pt` of this harness: images uint8 (B, H, W, 3), RGB, to embeddings (B, D).

    Attributes:
        files: what was read.
        about: what it is, in words.

    Raises:
        UserError: no such file, or a backbone that is not one of this harness: a class of somebody
            else's would be imported, and importing runs code.
    """

    def __init__(self, model: CheckpointModel, *, device: str = "cpu"):
        self.path, self.device = Path(model.file), device
        self.files = [self.path]
        spec, self._backbone = read_backbone(self.path, device, own_classes=False)
        self.size = spec.image.size
        self.about = (
            f"RGB, (pixel - 127.5) / 127.5; checkpoint of the run {spec.id}, backbone "
            f"{spec.backbone.name}"
        )

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (B, D) of images uint8 (B, H, W, 3), RGB."""
        check_size(str(self.path), self.size, images)
        backbone: nn.Module = self._backbone
        out: torch.Tensor = backbone(to_network(images, self.device))
        return check_embeddings(str(self.path), out.float().cpu().numpy(), len(images))
