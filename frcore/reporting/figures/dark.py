"""Colours of the figures for the dark: same hue, other lightness, which the browser computes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from frcore.reporting.figures.canvas import COLOUR

NEUTRAL = 32
"""Difference of the channels up to which a colour counts as grey."""


def dark_variables(svgs: Iterable[str]) -> str:
    """CSS declarations that give each colour of the figures a counterpart for the dark."""
    colours = sorted({match.lower() for svg in svgs for match in re.findall(COLOUR, svg)})
    return "\n".join(f"--c{c[1:]}: light-dark({c}, {dark_of(c)});" for c in colours)


def dark_of(colour: str) -> str:
    """The counterpart of a '#rrggbb' on a dark page, as CSS.

    Ink, grid and background are turned over; other colours keep their hue and are lightened.

    >>> dark_of("#d55e00")
    'oklch(from #d55e00 calc(0.64 + 0.22 * l) calc(0.85 * c) h)'
    """
    if colour == "#ffffff":
        return "#15181c"
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    if max(channels) - min(channels) < NEUTRAL:
        # The power keeps middle greys, which are text, as far from the page as they were.
        return f"oklch(from {colour} calc(0.96 - 0.72 * pow(l, 1.4)) 0 h)"
    return f"oklch(from {colour} calc(0.64 + 0.22 * l) calc(0.85 * c) h)"
