"""Drawing with anti-aliased edges at sub-pixel precision.

Shapes are queued and drawn by `Canvas.paint`, because projecting all their points at once costs no
more than projecting those of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces.geometry import Curve, Points, View
from frcore.data.synthetic.faces.identity import Colour

_SHIFT = 4
_ONE = 1 << _SHIFT

Fixed = NDArray[np.int32]


class Canvas:
    """An image being drawn: `image` uint8 (S, S, 3), and `solid` (S, S), the area of the head."""

    def __init__(self, size: int, view: View):
        self.image = np.zeros((size, size, 3), np.uint8)
        self.solid = np.zeros((size, size), np.uint8)
        self.view = view
        self._noted: list[tuple[Sequence[Curve], Callable[[list[Fixed]], object]]] = []

    def fill(self, colour: Colour, *curves: Curve, solid: bool = False) -> None:
        """Fill the polygon along `curves`; `solid` marks it as part of the head."""

        def draw(parts: list[Fixed]) -> None:
            around = [np.concatenate(parts)]
            cv2.fillPoly(self.image, around, colour, cv2.LINE_AA, _SHIFT)
            if solid:
                cv2.fillPoly(self.solid, around, (255,), cv2.LINE_AA, _SHIFT)

        self._noted.append((curves, draw))

    def soft_fill(self, colour: Colour, alpha: float, softness: float, *curves: Curve) -> None:
        """Blend in the polygon along `curves`, its edge blurred by `softness` head units."""

        def draw(parts: list[Fixed]) -> None:
            mask = np.zeros(self.solid.shape, np.uint8)
            cv2.fillPoly(mask, [np.concatenate(parts)], (255,), cv2.LINE_AA, _SHIFT)
            self._blend(mask, colour, alpha, softness)

        self._noted.append((curves, draw))

    def line(self, colour: Colour, width: float, *curves: Curve, closed: bool = False) -> None:
        """Draw each of `curves` as a line `width` head units wide, never thinner than a pixel."""
        how = (closed, colour, max(1, round(width * self.view.scale)), cv2.LINE_AA, _SHIFT)
        self._noted.append((curves, lambda parts: cv2.polylines(self.image, parts, *how)))

    def dots(self, colour: Colour, radius: float, curve: Curve) -> None:
        """Draw a disc of `radius` head units around each point of `curve`."""
        how = (max(1, round(radius * self.view.scale * _ONE)), colour, cv2.FILLED, cv2.LINE_AA,
               _SHIFT)  # fmt: skip

        def draw(parts: list[Fixed]) -> None:
            for place in parts[0].tolist():
                cv2.circle(self.image, place, *how)

        self._noted.append(([curve], draw))

    def fill_screen(self, colour: Colour, points: Points) -> None:
        """Fill a polygon given in fractions of the image's side, immediately."""
        fixed = _fixed(points * len(self.image))
        cv2.fillPoly(self.image, [fixed], colour, cv2.LINE_AA, _SHIFT)

    def paint(self) -> None:
        """Draw the queued shapes, in order."""
        curves = [curve for noted, _ in self._noted for curve in noted]
        if not curves:
            return
        ends = np.cumsum([len(curve.points) for curve in curves]).tolist()
        places = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        depth, is_rim = np.empty(ends[-1]), np.empty(ends[-1], bool)
        for curve, place in zip(curves, places, strict=True):
            depth[place], is_rim[place] = curve.depth, curve.is_rim
        points = np.concatenate([curve.points for curve in curves])
        fixed = _fixed(self.view.pixels(points, depth, is_rim))
        parts = (fixed[place] for place in places)
        for noted, draw in self._noted:
            draw([next(parts) for _ in noted])
        self._noted.clear()

    def _blend(self, mask: NDArray[np.uint8], colour: Colour, alpha: float,
               softness: float) -> None:  # fmt: skip
        left, top, width, height = cv2.boundingRect(mask)
        radius = int(softness * self.view.scale)
        if radius:
            # Two box filters approximate a triangle kernel well, and are faster than a Gaussian.
            kernel = (2 * radius + 1, 2 * radius + 1)
            mask = np.asarray(cv2.blur(cv2.blur(mask, kernel), kernel), np.uint8)
        reach = 2 * radius
        box = (slice(max(0, top - reach), top + height + reach),
               slice(max(0, left - reach), left + width + reach))  # fmt: skip
        weight = mask[box].astype(np.float32)[:, :, None] * np.float32(alpha / 255)
        under = self.image[box]
        mixed = under + weight * (np.array(colour, np.float32) - under)
        self.image[box] = mixed + np.float32(0.5)


def shade(colour: Colour, factor: float) -> Colour:
    """A darker (factor < 1) or lighter colour."""
    red, green, blue = colour
    return min(255.0, red * factor), min(255.0, green * factor), min(255.0, blue * factor)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    (r, g, b), (red, green, blue) = first, second
    return r + share * (red - r), g + share * (green - g), b + share * (blue - b)


def any_colour(rng: np.random.Generator, low: float, high: float) -> Colour:
    """A random colour with channels from `low` to `high`."""
    red, green, blue = rng.uniform(low, high, 3).tolist()
    return red, green, blue


def _fixed(points: Points) -> Fixed:
    pairs = np.ascontiguousarray(points).view(np.float64).reshape(-1, 2)
    return np.rint(pairs * _ONE).astype(np.int32)
