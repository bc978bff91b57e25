"""Hair, hats and beards."""

from __future__ import annotations

import numpy as np

from frcore.data.synthetic.faces.canvas import Canvas, any_colour, mix, shade
from frcore.data.synthetic.faces.geometry import (
    Points,
    arc,
    front,
    mirrored,
    outline,
    path,
    rim,
    smooth,
)
from frcore.data.synthetic.faces.identity import Colour, Identity
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.streams import stream


def _volume(person: Identity, taken: Nuisance) -> float:
    return max(0.04, person.hair_volume * (1 + 0.35 * taken.hair_change))


def _both_sides(half: Points, *middle: complex) -> Points:
    """A right half from top to bottom, some points on the axis, and the half's mirror image."""
    return np.concatenate([half, np.array(middle, np.complex128), mirrored(half, -1)[::-1]])


def draw_hair_behind(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Hair hanging or standing up behind the head."""
    volume = _volume(person, taken)
    if person.style in ("long", "middle"):
        wide = person.cheek_width + volume + 0.06
        length = 1.75 + 0.3 * taken.hair_change
        half = path((0.65, -1.1 - volume), (wide, -0.5), (wide + 0.06, 0.5), (wide + 0.12, length))
    elif person.style == "afro":
        wide = person.cheek_width + 2.2 * volume
        half = path((0.7, -1.3 - volume), (wide, -0.75), (wide + 0.05, -0.15), (wide - 0.12, 0.3))
    else:
        return
    canvas.fill(shade(person.hair, 0.72), rim(smooth(_both_sides(half)), -0.25), solid=True)


def _hairline(person: Identity) -> Points:
    """The edge of the hair on the forehead from the image's left to right."""
    line, part, wide = person.hairline, person.parting, person.cheek_width
    side, style = person.forehead_width, person.style
    if style == "bald":
        return path((-wide, 0.1), (-side * 0.98, -0.5), (-side * 0.9, -0.95), (0, -1.2),
                    (side * 0.9, -0.95), (side * 0.98, -0.5), (wide, 0.1))  # fmt: skip
    if style == "fringe":
        low = line + 0.28
        return path((-wide, 0.2), (-side * 0.9, -0.22), (-0.5, low - 0.03), (part, low - 0.08),
                    (0.5, low), (side * 0.9, -0.22), (wide, 0.2))  # fmt: skip
    if style == "side":
        swept = path((-side, -0.05), (-side * 0.82, line + 0.22), (-0.35, line + 0.16),
                     (0.25, line - 0.02), (0.52, line - 0.22), (side * 0.85, line),
                     (side, 0.0))  # fmt: skip
        return swept if part > 0 else mirrored(swept, -1)[::-1]
    if style in ("middle", "long"):
        return path((-wide, 0.75), (-side * 0.88, 0.0), (-side * 0.66, line + 0.2),
                    (part, line - 0.2), (side * 0.66, line + 0.2), (side * 0.88, 0.0),
                    (wide, 0.75))  # fmt: skip
    dip = {"short": 0.04, "afro": 0.0}.get(style, -0.05)
    temple = line + (-0.02 if style == "crop" else -0.1)
    return path((-wide, 0.12), (-side * 0.95, -0.35), (-side * 0.74, temple), (part, line + dip),
                (side * 0.74, temple), (side * 0.95, -0.35), (wide, 0.12))  # fmt: skip


def draw_hair(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Hair over the head, between the hairline and the outside, with strands; or a hat."""
    if taken.hat:
        _draw_hat(canvas, person, taken)
        return
    thick = {"bald": 0.02, "crop": 0.05}.get(person.style, _volume(person, taken))
    line = smooth(_hairline(person) + 0.05j * taken.hair_change, closed=False)
    wide = person.cheek_width + thick * 0.5
    outside = arc((wide, line[-1].imag), (wide + 0.4 * thick, -0.5), (0.62, -1.14 - thick),
                  (0, -1.25 - thick), (-0.62, -1.14 - thick), (-wide - 0.4 * thick, -0.5),
                  (-wide, line[0].imag))  # fmt: skip
    # The hairline lies on the forehead, in front; the outer edge is the silhouette.
    canvas.fill(person.hair, front(line), rim(outside), solid=True)
    _draw_strands(canvas, person, line, outside)


def _draw_strands(canvas: Canvas, person: Identity, line: Points, outside: Points) -> None:
    rng = stream("strands", person.texture)
    count = 22 if person.style != "bald" else 8
    at = rng.integers(0, len(line), count)
    lower, upper = line[at], outside[::-1][(at * len(outside)) // len(line)]
    curl = rng.normal(0, 0.09 if person.style == "afro" else 0.03, (count, 2))
    middle = 0.5 * (lower + upper) + curl[:, 0] + 1j * curl[:, 1]
    strands = np.stack([lower, middle, upper], axis=1)
    dark, light = shade(person.hair, 0.7), mix(person.hair, (255, 240, 220), 0.16)
    canvas.line(dark, 0.022, *(front(strand) for strand in strands[::2]))
    canvas.line(light, 0.022, *(front(strand) for strand in strands[1::2]))


def _draw_hat(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    colour = any_colour(stream("hat", taken.scene), 20, 220)
    brim, wide = person.hairline + 0.16, person.cheek_width + 0.05
    dome = arc((-wide, brim + 0.1), (-wide, -0.9), (-0.5, -1.5), (0.5, -1.5), (wide, -0.9),
               (wide, brim + 0.1))  # fmt: skip
    edge = arc((wide, brim + 0.1), (0.5, brim - 0.04), (-0.5, brim - 0.04), (-wide, brim + 0.1))
    canvas.fill(colour, rim(dome), front(edge), solid=True)
    canvas.line(shade(colour, 0.6), 0.09, front(edge))


def draw_beard(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Stubble, moustache, goatee or full beard, more or less dense in this picture."""
    density = min(max(person.beard_density + taken.beard_change, 0.0), 0.95)
    if person.beard == "none" or density < 0.05:
        return
    p, colour = person, shade(person.hair, 0.85)
    lip = p.mouth_y - p.upper_lip
    if person.beard in ("moustache", "full", "goatee"):
        end = p.mouth_width * 1.1
        moustache = outline((-end, p.mouth_y + 0.05), (-0.12, lip - 0.16), (0.12, lip - 0.16),
                            (end, p.mouth_y + 0.05), (0.0, lip + 0.01))  # fmt: skip
        canvas.soft_fill(colour, density, 0.025, front(moustache, 0.06))
    if person.beard in ("full", "stubble"):
        alpha = density * (0.45 if person.beard == "stubble" else 1.0)
        _draw_full_beard(canvas, person, colour, alpha)
    elif person.beard == "goatee":
        low = p.mouth_y + p.lower_lip
        chin = outline((-0.2, low + 0.05), (0.2, low + 0.05), (0.24, p.chin_y - 0.08),
                       (0, p.chin_y), (-0.24, p.chin_y - 0.08))  # fmt: skip
        canvas.soft_fill(colour, density, 0.04, front(chin, 0.05))


def _draw_full_beard(canvas: Canvas, person: Identity, colour: Colour, alpha: float) -> None:
    p = person
    half = path((p.cheek_width * 0.98, 0.25), (p.jaw_width * 1.02, 0.93),
                (p.chin_width, p.chin_y - 0.03))  # fmt: skip
    outer = smooth(_both_sides(half, 1j * (p.chin_y + 0.05)), closed=False)
    depth = np.interp(outer.imag, (0.2, 0.9, p.chin_y), (0.0, 0.14, 0.55))
    half = path((p.cheek_width * 0.82, 0.35), (p.jaw_width * 0.72, 0.82),
                (p.mouth_width * 1.12, p.mouth_y))  # fmt: skip
    inner = smooth(_both_sides(half, 1j * (p.mouth_y + p.lower_lip + 0.1)), closed=False)
    canvas.soft_fill(colour, alpha, 0.05, rim(outer, depth), front(inner[::-1]))
