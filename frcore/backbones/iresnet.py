"""IResNet: the residual network of ArcFace (arXiv:1801.07698, section 3.1), as in arcface_torch.

Differences from the usual ResNet: a 3×3 stem of stride 1 (faces are small), a pre-normalised basic
block BN-conv-BN-PReLU-conv-BN with no activation after the addition, the stride in the second
convolution, and a head BN-dropout-flatten-FC-BN, which keeps where in the face a feature was seen.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from frcore.backbones.common import check_image_size, check_input, full_precision

WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages; each halves the side of its input."""


class Block(nn.Module):
    """Pre-normalised basic block: x + BN(conv(PReLU(BN(conv(BN(x)))))); no ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return self.body(x) + self.shortcut(x)


class IResNet(nn.Module):
    """The family; a member names its number of blocks in each stage.

    Args:
        image_size: side of the input in pixels, a multiple of 16. The FC layer grows with it.
        dim: length of the embedding.
        dropout: before the FC layer; 0 is arcface_torch's default.

    Raises:
        UserError: `image_size` is not a multiple of 16.
    """

    blocks: ClassVar[tuple[int, int, int, int]]

    def __init__(
        self,
        image_size: int,
        *,
        dim: Annotated[int, Field(ge=1)] = 512,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ):
        super().__init__()
        self.name = type(self).__name__.lower()
        check_image_size(self.name, image_size, smallest=16, multiple=16)
        self.dim = dim
        self.image_size = image_size
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(WIDTHS[0]),
            nn.PReLU(WIDTHS[0]),
        )
        stages = []
        for inputs, outputs, count in zip((WIDTHS[0], *WIDTHS), WIDTHS, self.blocks, strict=False):
            rest = [Block(outputs, outputs, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(Block(inputs, outputs, 2), *rest))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(WIDTHS[-1])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(WIDTHS[-1] * (image_size // 16) ** 2, dim)
        self.features = nn.BatchNorm1d(dim)
        # The embedding is normalised next: a learned gain per dimension would only stretch the
        # sphere, so arcface_torch freezes it at one.
        self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] -> (N, dim), float32 also under autocast."""
        check_input(self.name, images, self.image_size)
        maps = self.norm(self.stages(self.stem(images)))
        flat = self.dropout(torch.flatten(maps, 1))
        with full_precision(flat):
            return self.features(self.fc(flat.float()))


class IResNet18(IResNet):
    """IResNet-18: 24.03 M parameters at 112 × 112 and dim 512."""

    blocks = (2, 2, 2, 2)


class IResNet34(IResNet):
    """IResNet-34: 34.14 M parameters at 112 × 112 and dim 512."""

    blocks = (3, 4, 6, 3)


class IResNet50(IResNet):
    """IResNet-50: 43.59 M parameters at 112 × 112 and dim 512."""

    blocks = (3, 4, 14, 3)


class IResNet100(IResNet):
    """IResNet-100: 65.16 M parameters at 112 × 112 and dim 512."""

    blocks = (3, 13, 30, 3)
