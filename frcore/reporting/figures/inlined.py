"""A figure as part of a page: its ids, its description, and its colours in dark mode."""

from __future__ import annotations

import re
from collections.abc import Iterable

from markupsafe import Markup, escape

COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")

NEUTRAL = 32
"""Difference of the channels up to which a colour counts as grey."""


def dark_variables(svgs: Iterable[str]) -> str:
    """CSS declarations that give each colour of the figures a dark-mode counterpart."""
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
        # The power preserves the contrast of middle greys, which are text.
        return f"oklch(from {colour} calc(0.96 - 0.72 * pow(l, 1.4)) 0 h)"
    return f"oklch(from {colour} calc(0.64 + 0.22 * l) calc(0.85 * c) h)"


def inline(svg: str, name: str, description: str) -> Markup:
    """An SVG file's text made part of an HTML page.

    Ids get the figure's name as a prefix, as figures share ids; colours become CSS variables that
    fall back to themselves, so that the page can change them in dark mode; the image gets a
    description for screen readers.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(
        r'style="([^"]*)"',
        lambda match: f'style="{re.sub(COLOUR, _variable, match.group(1))}"',
        body,
    )
    head, _, rest = body.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return Markup(f'{head} role="img" aria-label="{escape(description)}">{rest}')


def _variable(match: re.Match[str]) -> str:
    colour = match.group(0).lower()
    return f"var(--c{colour[1:]}, {colour})"
