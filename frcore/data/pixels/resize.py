"""Resizing as matrices: OpenCV's five interpolations, for images with different target sizes.

A resize is linear and separable: rows and columns are each multiplied by one matrix (target side,
source side). With the matrices of a batch stacked, resizing images to different sides with
different interpolations is two batched products. Borders are replicated, as in `cv2.resize`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

INTERPOLATIONS = ("nearest", "linear", "area", "cubic", "lanczos4")
"""Names of `cv2.INTER_NEAREST`, `INTER_LINEAR`, `INTER_AREA`, `INTER_CUBIC`, `INTER_LANCZOS4`."""

_CUBIC_A = -0.75
"""The free coefficient of the cubic kernel; OpenCV's, where Pillow and Keys take -0.5."""

Taps = tuple[NDArray[np.int64], NDArray[np.float64]]


# A study needs interpolations × sides of them, 1,000 for 112 pixels: 100 MB in the worst case.
@lru_cache(maxsize=1024)
def resize_matrix(interpolation: str, source: int, target: int) -> NDArray[np.float64]:
    """The matrix (target, source) that resizes a line of `source` pixels to `target` pixels.

    Each row sums to 1. Equal to `cv2.resize` up to its rounding to integer levels.

    Args:
        interpolation: one of `INTERPOLATIONS`.
        source: pixels before.
        target: pixels after.
    """
    if interpolation == "area" and source > target:
        matrix = _area(source, target)
    else:
        index, weight = _TAPS[interpolation](source, target)
        matrix = np.zeros((target, source))
        rows = np.broadcast_to(np.arange(target)[:, None], index.shape)
        np.add.at(matrix, (rows, index.clip(0, source - 1)), weight)
    matrix.setflags(write=False)
    return matrix


def _area(source: int, target: int) -> NDArray[np.float64]:
    """Mean over the part of the source that each target pixel covers."""
    scale = source / target
    low = np.arange(target)[:, None] * scale
    pixel = np.arange(source)
    covered = np.minimum(low + scale, pixel + 1) - np.maximum(low, pixel)
    covered = covered.clip(0)
    return np.asarray(covered / covered.sum(axis=1, keepdims=True))


def _centres(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The centre of each target pixel in the source: the pixel before it, and the remainder."""
    place = (np.arange(target) + 0.5) * (source / target) - 0.5
    before = np.floor(place).astype(np.int64)
    return before, place - before


def _nearest(source: int, target: int) -> Taps:
    # From the corners, not the centres of the pixels, as in OpenCV's INTER_NEAREST. Its scale is
    # rounded twice, which matters where the product is an integer.
    index = np.floor(np.arange(target) * (1 / (target / source))).astype(np.int64)
    return index[:, None], np.ones((target, 1))


def _linear(source: int, target: int) -> Taps:
    before, part = _centres(source, target)
    return before[:, None] + np.arange(2), np.stack([1 - part, part], axis=1)


def _area_enlarged(source: int, target: int) -> Taps:
    """INTER_AREA when upsampling: steps with a linear ramp of one target pixel."""
    step, inverse = np.arange(target), target / source
    before = np.floor(step * (1 / inverse)).astype(np.int64)
    part = ((step + 1) - (before + 1) * inverse).astype(np.float32)
    part = np.where(part <= 0, 0.0, part - np.floor(part)).astype(np.float64)
    return before[:, None] + np.arange(2), np.stack([1 - part, part], axis=1)


def _cubic(source: int, target: int) -> Taps:
    """Keys' kernel over four pixels: Keys, IEEE Trans. ASSP 29 (1981) 1153, eq. 15."""
    before, part = _centres(source, target)
    offset = np.arange(-1, 3)
    far = np.abs(part[:, None] - offset)
    a = _CUBIC_A
    inner = (a + 2) * far**3 - (a + 3) * far**2 + 1
    outer = a * (far**3 - 5 * far**2 + 8 * far - 4)
    return before[:, None] + offset, np.where(far <= 1, inner, outer)


def _lanczos4(source: int, target: int) -> Taps:
    """sinc(d) sinc(d / 4) over eight pixels, normalised to sum to 1."""
    before, part = _centres(source, target)
    offset = np.arange(-3, 5)
    far = part[:, None] - offset
    weight = np.sinc(far) * np.sinc(far / 4)
    return before[:, None] + offset, weight / weight.sum(axis=1, keepdims=True)


_TAPS = {
    "nearest": _nearest,
    "linear": _linear,
    "area": _area_enlarged,
    "cubic": _cubic,
    "lanczos4": _lanczos4,
}
