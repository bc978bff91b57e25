"""Augmentation of training images, on the device of the batch: AdaFace's, in AdaFace's order.

Kim, Jain, Liu, "AdaFace", CVPR 2022 (arXiv 2204.00964), section 4.1; ranges and details are from
the published code (mk-minchul/AdaFace, `data.py` at commit 0783a24), which trains with a
probability of 0.2 each:

1. crop: everything outside a random box becomes black. The box keeps its position and size:
   despite the name of the torchvision class that samples it, nothing is resized.
2. low_resolution: downsampled to a random side and upsampled again, each with a random
   interpolation.
3. colour: brightness, contrast and saturation by random factors, in a random order.

All random numbers are sampled on the CPU in advance, so that a batch's augmentation is the same on
every device. Between operations, pixel levels are integers, as in images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import log
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frcore.study.parts import Augment

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos4": cv2.INTER_LANCZOS4,
}
"""Those that low_resolution chooses from, as in AdaFace's code."""

AREA = 0.2, 1.0
"""Area of the crop's box, as a fraction of the image."""
ASPECT = 3 / 4, 4 / 3
"""Width by height of the crop's box; log-uniform."""
SIDE = 0.2, 1.0
"""Side of the downsampled image, as a fraction of the image's."""
FACTOR = 0.5, 1.5
"""Factor of brightness, contrast and saturation."""

_ATTEMPTS = 10
"""Attempts to sample a box that fits, as in torchvision; after that the full image is used."""
_LUMA = 19595, 38470, 7471
"""Weights of R, G and B in 1/65536: ITU-R 601-2 as rounded by Pillow."""
_BRIGHTNESS, _CONTRAST, _SATURATION = range(3)


class Choices(NamedTuple):
    """What happens to each of B images."""

    cropped: NDArray[np.bool_]
    box: NDArray[np.int64]
    """(B, 4): top, left, height, width in pixels."""
    lowered: NDArray[np.bool_]
    side: NDArray[np.int64]
    """(B,): side of the downsampled image in pixels."""
    ways: NDArray[np.int64]
    """(B, 2): which of `INTERPOLATIONS` downsamples, and which upsamples."""
    coloured: NDArray[np.bool_]
    factors: NDArray[np.float32]
    """(B, 3): of brightness, contrast, saturation."""
    order: NDArray[np.int64]
    """(B, 3): the order in which these three are applied."""

    def of(self, rows: NDArray[np.int64]) -> Choices:
        """The choices of some of the images."""
        return Choices._make(values[rows] for values in self)


def draw(wanted: Augment, count: int, size: int, generator: np.random.Generator) -> Choices:
    """Sample what happens to `count` images of `size`² pixels.

    The same number of values is sampled for every setting, so that changing one probability does
    not change the other two augmentations.
    """
    chances = generator.random((3, count))
    return Choices(
        cropped=chances[0] < wanted.crop,
        box=_boxes(count, size, generator),
        lowered=chances[1] < wanted.low_resolution,
        side=(generator.uniform(*SIDE, count) * size).astype(np.int64),
        ways=generator.integers(len(INTERPOLATIONS), size=(count, 2)),
        coloured=chances[2] < wanted.colour,
        factors=generator.uniform(*FACTOR, (count, 3)).astype(np.float32),
        order=generator.random((count, 3)).argsort(axis=1),
    )


def _boxes(count: int, size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    area = generator.uniform(*AREA, (count, _ATTEMPTS)) * size**2
    aspect = np.exp(generator.uniform(log(ASPECT[0]), log(ASPECT[1]), (count, _ATTEMPTS)))
    width, height = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (width > 0) & (width <= size) & (height > 0) & (height <= size)
    first = np.arange(count), fits.argmax(axis=1)
    extent = np.stack([height[first], width[first]], axis=1).astype(np.int64)
    extent[~fits.any(axis=1)] = size
    corner = generator.integers(size - extent + 1)
    return np.concatenate([corner, extent], axis=1)


Changes = dict[str, tuple[Tensor, ...]]
"""Of each augmentation that any image gets: which images (K,), and its values for them (K, ...)."""


def planned(choices: Choices, size: int) -> Changes:
    """What `augmented` needs of the choices, as tensors on the CPU.

    Made apart from it so that a loader's thread can make them, and pin them for the way to a GPU:
    the resizes of 50 images of 112 pixels are 5 MB of matrices.

    Args:
        choices: one for each image.
        size: side of the images.
    """
    changes: Changes = {}
    for name, rows in (
        ("crop", choices.cropped),
        ("low_resolution", choices.lowered),
        ("colour", choices.coloured),
    ):
        which = np.flatnonzero(rows)
        if len(which):
            values = _VALUES[name](choices.of(which), size)
            changes[name] = tuple(map(torch.from_numpy, (which, *values)))
    return changes


def augmented(images_NHWC: Tensor, choices: Choices | Changes) -> Tensor:
    """The images after `choices`, uint8 (N, H, W, 3) on the same device; the input is unchanged.

    Args:
        images_NHWC: uint8 RGB, square.
        choices: one for each image; or what `planned` made of them, on the same device already.
    """
    out = images_NHWC.clone(memory_format=torch.contiguous_format)
    if isinstance(choices, Choices):
        changes = {
            name: tuple(value.to(out.device) for value in values)
            for name, values in planned(choices, out.shape[1]).items()
        }
    else:
        changes = choices
    for name, (index, *values) in changes.items():
        out.index_copy_(0, index, _CHANGES[name](out[index], *values))
    return out


def _crop(images: Tensor, box_K4: Tensor) -> Tensor:
    top, left, height, width = box_K4.T[..., None, None, None]
    place = torch.arange(images.shape[1], device=images.device)
    row, column = place[:, None, None], place[None, :, None]
    inside = (row >= top) & (row < top + height) & (column >= left) & (column < left + width)
    return images * inside


# A study needs interpolations × sides of them, 1,000 for 112 pixels: 100 MB in the worst case.
@lru_cache(maxsize=1024)
def resize_matrix(interpolation: str, source: int, target: int) -> NDArray[np.float64]:
    """The matrix (target, source) by which `cv2.resize` turns `source` pixels into `target`.

    A resize is linear and separable, with borders replicated: rows and columns are each multiplied
    by one matrix. So images with different sides and interpolations are resized by two batched
    products.
    """
    matrix = cv2.resize(
        np.eye(source), (source, target), interpolation=INTERPOLATIONS[interpolation]
    )
    matrix.setflags(write=False)
    return np.asarray(matrix)


def _matrices(choices: Choices, size: int) -> tuple[NDArray[np.float32]]:
    """Of each image the two matrices of its resizes, (K, 2, size, size)."""
    names = list(INTERPOLATIONS)
    matrices = np.zeros((len(choices.side), 2, size, size), np.float32)
    for both, side, (down, up) in zip(matrices, choices.side, choices.ways, strict=True):
        both[0, :side] = resize_matrix(names[down], size, int(side))
        both[1, :, :side] = resize_matrix(names[up], int(side), size)
    return (matrices,)


def _lower(images: Tensor, matrix_K2SS: Tensor) -> Tensor:
    # In 64 bits, which TF32 and autocast do not affect: the same levels on every device.
    planes = images.permute(0, 3, 1, 2).to(torch.float64)
    for matrix in matrix_K2SS.to(torch.float64).unbind(1):
        planes = matrix[:, None] @ planes @ matrix[:, None].mT
        planes = planes.round_().clamp_(0, 255)
    return planes.permute(0, 2, 3, 1).to(torch.uint8)


def _colour(images: Tensor, factor_K3: Tensor, order_K3: Tensor) -> Tensor:
    """As Pillow's ImageEnhance: towards or away from black, the mean grey, or each pixel's grey."""
    levels = images.to(torch.float32)
    for kind in order_K3.unbind(1):
        wanted = kind[:, None, None, None]
        grey = _grey(levels)
        mean = grey.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).add_(0.5).floor_()
        towards = torch.where(wanted == _SATURATION, grey, mean.to(torch.float32))
        towards = torch.where(wanted == _BRIGHTNESS, torch.zeros_like(grey), towards)
        factor = factor_K3.gather(1, kind[:, None])[..., None, None]
        levels = (towards + factor * (levels - towards)).clamp_(0, 255).floor_()
    return levels.to(torch.uint8)


_VALUES: dict[str, Callable[[Choices, int], tuple[NDArray[Any], ...]]] = {
    "crop": lambda choices, _: (choices.box,),
    "low_resolution": _matrices,
    "colour": lambda choices, _: (choices.factors, choices.order),
}
_CHANGES: dict[str, Callable[..., Tensor]] = {
    "crop": _crop,
    "low_resolution": _lower,
    "colour": _colour,
}


def _grey(levels: Tensor) -> Tensor:
    """The luma (N, H, W, 1) of integer levels (N, H, W, 3), as integer levels."""
    # Sums stay below 2**24, so 32-bit floats hold them exactly.
    red, green, blue = (
        level * weight for level, weight in zip(levels.split(1, 3), _LUMA, strict=True)
    )
    return ((red + green + blue + 32768) / 65536).floor_()
