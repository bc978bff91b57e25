"""Colours of the figures for the dark: same hue, other lightness (in Oklab, Ottosson 2020)."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from frcore.reporting.figures.canvas import COLOUR

_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929],
     [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468],
     [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip

NEUTRAL = 0.045
"""Chroma up to which a colour counts as grey: ink, grid and background are turned over."""


def dark_variables(svgs: Iterable[str]) -> str:
    """CSS declarations that give each colour of the figures a counterpart for the dark."""
    colours = sorted({match.lower() for svg in svgs for match in re.findall(COLOUR, svg)})
    return "\n".join(f"--c{c[1:]}: light-dark({c}, {dark_of(c)});" for c in colours)


def dark_of(colour: str) -> str:
    """The counterpart of a '#rrggbb' on a dark page.

    >>> dark_of("#ffffff"), dark_of("#000000")
    ('#15181c', '#f2f2f2')
    """
    lightness, a, b = _oklab(colour)
    if np.hypot(a, b) < NEUTRAL:
        if lightness > 0.99:
            return "#15181c"
        # The power keeps middle greys, which are text, as far from the page as they were.
        turned = 0.96 - 0.72 * max(lightness, 0.0) ** 1.4
        return _hex(np.array([turned, 0.0, 0.0]))
    raised = np.array([0.64 + 0.22 * lightness, a, b])
    while not _inside(raised):
        raised[1:] *= 0.95
    return _hex(raised)


def luminance(colour: str) -> float:
    """Relative luminance of a '#rrggbb' (WCAG 2)."""
    return float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2)."""
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def _linear(colour: str) -> NDArray[np.float64]:
    encoded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _oklab(colour: str) -> NDArray[np.float64]:
    return _TO_LAB @ np.cbrt(_TO_LMS @ _linear(colour))


def _rgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.linalg.solve(_TO_LMS, np.linalg.solve(_TO_LAB, lab) ** 3)


def _inside(lab: NDArray[np.float64]) -> bool:
    rgb = _rgb(lab)
    return bool((rgb >= -1e-4).all() and (rgb <= 1 + 1e-4).all())


def _hex(lab: NDArray[np.float64]) -> str:
    rgb = np.clip(_rgb(lab), 0, 1)
    encoded = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * part):02x}" for part in encoded)
