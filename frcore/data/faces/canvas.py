"""Drawing with anti-aliased edges at fractions of a pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.faces.geometry import Points, View
from frcore.data.faces.identity import Colour

_SHIFT = 4
_ONE = 1 << _SHIFT


class Canvas:
    """A picture in the making: `image` uint8 (S, S, 3), and `solid` (S, S), where the head is."""

    def __init__(self, size: int, view: View):
        self.image = np.zeros((size, size, 3), np.uint8)
        self.solid = np.zeros((size, size), np.uint8)
        self.view = view

    def fill(self, points: Points, colour: Colour, *, solid: bool = False) -> None:
        """Fill a polygon of pixels (N, 2); `solid` marks it as part of the head."""
        fixed = _fixed(points)
        cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, _SHIFT)
        if solid:
            cv2.fillPoly(self.solid, [fixed], (255,), cv2.LINE_AA, _SHIFT)

    def soft_fill(self, points: Points, colour: Colour, alpha: float, softness: float) -> None:
        """Blend a polygon in, its edge blurred by `softness` head units."""
        mask = np.zeros(self.solid.shape, np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], (255,), cv2.LINE_AA, _SHIFT)
        self.blend(mask, colour, alpha, softness)

    def blend(self, mask: NDArray[np.uint8], colour: Colour, alpha: float, softness: float) -> None:
        """Blend `colour` in where `mask` (S, S) is, its edge blurred by `softness` head units."""
        radius = int(softness * self.view.scale)
        if radius:
            # Two box filters are a fair triangle kernel, and faster than a Gaussian.
            kernel = (2 * radius + 1, 2 * radius + 1)
            mask = np.asarray(cv2.blur(cv2.blur(mask, kernel), kernel), np.uint8)
        weight = mask.astype(np.float32)[:, :, None] * np.float32(alpha / 255)
        mixed = self.image + weight * (np.array(colour, np.float32) - self.image)
        self.image = np.asarray(mixed + np.float32(0.5), np.uint8)

    def line(self, points: Points, colour: Colour, width: float, *, closed: bool = False) -> None:
        """Draw a line `width` head units wide, never thinner than a pixel."""
        pixels = max(1, round(width * self.view.scale))
        cv2.polylines(
            self.image, [_fixed(points)], closed, colour, pixels, cv2.LINE_AA, _SHIFT
        )  # fmt: skip

    def lines(self, curves: list[Points], colour: Colour, width: float) -> None:
        """Draw several open lines."""
        pixels = max(1, round(width * self.view.scale))
        fixed = [_fixed(points) for points in curves]
        cv2.polylines(self.image, fixed, False, colour, pixels, cv2.LINE_AA, _SHIFT)

    def dot(self, point: Points, colour: Colour, radius: float) -> None:
        """Draw a disc of `radius` head units around a pixel (2,)."""
        x, y = (round(float(value) * _ONE) for value in point)
        fixed_radius = max(1, round(radius * self.view.scale * _ONE))
        cv2.circle(self.image, (x, y), fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (factor < 1) or lighter colour."""
    red, green, blue = (min(255.0, max(0.0, value * factor)) for value in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    red, green, blue = (a + share * (b - a) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.rint(points * _ONE).astype(np.int32)
