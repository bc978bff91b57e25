"""MobileFaceNet (Chen et al., arXiv:1804.07573, table 1): inverted residuals for faces.

Its two ideas: no global average pool, because the corner of a face is less informative than its
middle, so a depthwise convolution as large as the map weights each position ("GDConv"); and early
downsampling.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from frcore.backbones.common import check_image_size, check_input, full_precision


class Bottleneck(NamedTuple):
    """A row of the paper's table 1, with the expansion written out as channels."""

    hidden: int
    outputs: int
    repeats: int
    stride: int


SETTINGS = (
    Bottleneck(hidden=128, outputs=64, repeats=5, stride=2),
    Bottleneck(hidden=256, outputs=128, repeats=1, stride=2),
    Bottleneck(hidden=256, outputs=128, repeats=6, stride=1),
    Bottleneck(hidden=512, outputs=128, repeats=1, stride=2),
    Bottleneck(hidden=256, outputs=128, repeats=2, stride=1),
)
STEM, LAST = 64, 512


def convolution(
    inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    """Convolution, BN and, unless `linear`, PReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([] if linear else [nn.PReLU(outputs)]))


class InvertedResidual(nn.Module):
    """Expand (1×1), filter each channel (3×3), project linearly (1×1); added to the input."""

    def __init__(self, inputs: int, hidden: int, outputs: int, stride: int):
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            convolution(inputs, hidden, 1),
            convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            convolution(hidden, outputs, 1, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return x + self.body(x) if self.residual else self.body(x)


class MobileFaceNet(nn.Module):
    """MobileFaceNet; the default is arcface_torch's `mbf`, 2.06 M parameters at 112 × 112.

    Args:
        image_size: side of the input in pixels, a multiple of 16.
        dim: length of the embedding.
        width: channels between the bottlenecks as a multiple of the paper's 64 and 128; inside
            them the paper's stay. 1 is the paper (0.99 M at dim 128), 2 is arcface_torch's `mbf`,
            whose second layer is then grouped in pairs rather than depthwise.

    Raises:
        UserError: `image_size` is not a multiple of 16.
    """

    def __init__(
        self,
        image_size: int,
        *,
        dim: Annotated[int, Field(ge=1)] = 512,
        width: Annotated[int, Field(ge=1)] = 2,
    ):
        super().__init__()
        check_image_size("mobilefacenet", image_size, smallest=16, multiple=16)
        self.dim = dim
        self.image_size = image_size
        channels = STEM * width
        layers: list[nn.Module] = [
            convolution(3, channels, 3, stride=2),
            convolution(channels, channels, 3, groups=STEM),
        ]
        for row in SETTINGS:
            for index in range(row.repeats):
                stride = row.stride if index == 0 else 1
                outputs = row.outputs * width
                layers.append(InvertedResidual(channels, row.hidden, outputs, stride))
                channels = outputs
        layers.append(convolution(channels, LAST, 1))
        self.trunk = nn.Sequential(*layers)
        self.pool = nn.Sequential(
            nn.Conv2d(LAST, LAST, image_size // 16, groups=LAST, bias=False), nn.BatchNorm2d(LAST)
        )
        self.fc = nn.Linear(LAST, dim, bias=False)
        self.features = nn.BatchNorm1d(dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, size, size) in [-1, 1] -> (N, dim), float32 also under autocast."""
        check_input("mobilefacenet", images, self.image_size)
        maps = self.trunk(images)
        with full_precision(maps):
            return self.features(self.fc(self.pool(maps.float()).flatten(1)))
