"""arcface_torch's networks written again, slowly, with its names and order of modules.

From the structure in its backbones/iresnet.py and backbones/mobilefacenet.py; for images of any
size. `give_values` fills in what a training would.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def give_values(network: nn.Module, seed: int = 7) -> nn.Module:
    """Every tensor another than it is built with, so that any two that were swapped would show."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            spread = torch.rand(tensor.shape, generator=generator)
            low = 0.5 if name.endswith(("running_var", "weight")) and tensor.dim() == 1 else -0.05
            tensor.copy_(low + spread * 0.1)
        else:
            tensor.fill_(4)
    return network.eval()


class TheirBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride == 2:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv1(self.bn1(x)))
        out = self.bn3(self.conv2(self.prelu(out)))
        return out + (x if self.downsample is None else self.downsample(x))


class TheirIResNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...], size: int, dim: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), 1):
            made = []
            for at in range(count):
                made.append(TheirBlock(inputs, width, 2 if at == 0 else 1))
                inputs = width
            setattr(self, f"layer{stage}", nn.Sequential(*made))
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * (size // 16) ** 2, dim)
        self.features = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


class Named(nn.Module):
    """What several of its modules are: something with `layers`."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, padding: int = 0,
         groups: int = 1, *, linear: bool = False) -> Named:  # fmt: skip
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return Named(*layers, *([] if linear else [nn.PReLU(outputs)]))


class DepthWise(Named):
    def __init__(self, inputs: int, outputs: int, groups: int, *, residual: bool = False):
        super().__init__(
            conv(inputs, groups),
            conv(groups, groups, 3, 1 if residual else 2, 1, groups),
            conv(groups, outputs, linear=True),
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


def several(width: int, count: int, groups: int) -> Named:
    return Named(*[DepthWise(width, width, groups, residual=True) for _ in range(count)])


class TheirMobileFaceNet(nn.Module):
    def __init__(self, size: int, dim: int, scale: int = 2):
        super().__init__()
        w = 64 * scale
        self.layers = nn.ModuleList([
            conv(3, w, 3, 2, 1), conv(w, w, 3, 1, 1, 64),
            DepthWise(w, w, 128), several(w, 4, 128),
            DepthWise(w, 2 * w, 256), several(2 * w, 6, 256),
            DepthWise(2 * w, 2 * w, 512), several(2 * w, 2, 256),
        ])  # fmt: skip
        self.conv_sep = conv(2 * w, 512)
        self.features = Named(
            conv(512, 512, size // 16, groups=512, linear=True),
            nn.Flatten(),
            nn.Linear(512, dim, bias=False),
            nn.BatchNorm1d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))
