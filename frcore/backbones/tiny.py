"""Tiny: a backbone for one CPU core, so that a whole study of heads runs on a laptop.

Faces are aligned, so a linear layer over the last map, which sees where each feature was, separates
people far better than a global average, at a fraction of the cost of another convolution.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from frcore.backbones.common import check_image_size, check_input, full_precision
from frcore.errors import UserError


class Tiny(nn.Module):
    """Four convolutions of stride 2 and a linear layer over the last map, for CPUs.

    Args:
        image_size: side of the input in pixels, 16 or more.
        dim: length of the embedding.
        width: channels of the first convolution; the next have 2, 4 and 8 times as many. The
            default, 0.10 M parameters at 40 or 48 px, takes about 0.2 ms per trained image on one
            core; 16 has 0.25 M.
        crop: side of the centre of the image that it sees; the whole image when absent.
        shrink: what it sees is averaged over squares of this side first. A study whose images
            are large, because it also evaluates a model that needs them, costs no more with it.

    Raises:
        UserError: `crop` is larger than the image or no multiple of `shrink`, or fewer than 16
            pixels a side are left.
    """

    def __init__(
        self,
        image_size: int,
        *,
        dim: Annotated[int, Field(ge=1)] = 128,
        width: Annotated[int, Field(ge=1)] = 8,
        crop: Annotated[int, Field(ge=16)] | None = None,
        shrink: Annotated[int, Field(ge=1, le=32)] = 1,
    ):
        super().__init__()
        check_image_size("tiny", image_size, smallest=16)
        seen = image_size if crop is None else crop
        if seen > image_size or seen % shrink or seen // shrink < 16:
            raise UserError(
                f"backbone 'tiny' with crop {crop} and shrink {shrink} on images of {image_size} "
                "px: the crop must fit into the image and be a multiple of shrink, with 16 pixels "
                "or more left; change crop, shrink or image.size"
            )
        self._edge, self._shrink = (image_size - seen) // 2, shrink
        self._seen = seen
        self.dim = dim
        self.image_size = image_size
        layers: list[nn.Module] = []
        inputs, side = 3, seen // shrink
        for outputs in (width, 2 * width, 4 * width, 8 * width):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            inputs, side = outputs, (side + 1) // 2
        self.trunk = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs * side**2, dim, bias=False)
        self.features = nn.BatchNorm1d(dim)
        # As in IResNet: the embedding is normalised next, so a gain per dimension is useless.
        self.features.weight.requires_grad_(False)
        # Channels last is a quarter faster on a CPU at these widths.
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] -> (N, dim), float32 also under autocast."""
        check_input("tiny", images, self.image_size)
        part = slice(self._edge, self._edge + self._seen)
        images = images[:, :, part, part]
        if self._shrink > 1:
            images = nn.functional.avg_pool2d(images, self._shrink)
        maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        with full_precision(maps):
            return self.features(self.fc(maps.float().flatten(1)))
