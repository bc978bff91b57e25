"""The large shapes: background, clothes, neck, ears, head, hair, beard."""

from __future__ import annotations

import numpy as np

from frcore.data.faces.canvas import Canvas, mix, shade
from frcore.data.faces.geometry import Points, smooth
from frcore.data.faces.identity import Colour, Identity
from frcore.data.faces.nuisance import Nuisance
from frcore.data.faces.streams import stream


def draw_background(canvas: Canvas, taken: Nuisance) -> None:
    """A wall with a few large shapes; the scene's own."""
    size = len(canvas.image)
    rng = stream("background", taken.scene)
    first, second = (tuple(c) for c in rng.uniform(30, 225, (2, 3)))
    canvas.image[:] = first
    corners = np.array([(-size, -size), (size, -size), (size, size), (0, size)])
    side = corners + rng.uniform(0, size, (4, 2))
    canvas.fill(side, second)
    for _ in range(int(rng.integers(0, 4))):
        colour = tuple(rng.uniform(20, 235, 3).tolist())
        corner, extent = rng.uniform(0, size, 2), rng.uniform(0.1, 0.5, 2) * size
        box = corner + extent * [[-1, -1], [1, -1], [1, 1], [-1, 1]]
        canvas.fill(box, colour)


def draw_body(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Shoulders, collar and neck."""
    rng = stream("clothes", taken.scene)
    cloth = tuple(rng.uniform(15, 235, 3).tolist())
    neck = person.jaw_width * 0.82
    shoulders = [(-2.2, 2.3), (-1.4, 1.85), (-neck, 1.62), (neck, 1.62), (1.4, 1.85), (2.2, 2.3)]
    canvas.fill(canvas.view.outline([(-neck, 0.7), (-neck, 1.9), (neck, 1.9), (neck, 0.7)]),
                shade(person.skin, 0.74), solid=True)  # fmt: skip
    canvas.fill(canvas.view.outline([*shoulders, (2.2, 3.5), (-2.2, 3.5)]), cloth)


def face_outline(person: Identity) -> tuple[Points, Points]:
    """The head's silhouette (N, 2) and the depth of its points (N,)."""
    p = person
    half = np.array(
        [
            (0.5 * p.forehead_width, -1.14, 0.0),
            (p.forehead_width, -0.66, 0.0),
            (p.cheek_width, 0.0, 0.0),
            (p.cheek_width * 0.97, 0.42, 0.04),
            (p.jaw_width, 0.93, 0.14),
            (p.chin_width, p.chin_y - 0.06, 0.5),
        ]
    )
    chin, top = (0.0, p.chin_y, 0.55), (0.0, -1.22, 0.0)
    curve = smooth([top, *half, chin, *(half[::-1] * (-1, 1, 1))])
    return curve[:, :2], curve[:, 2]


def draw_head(canvas: Canvas, person: Identity) -> None:
    """Ears and the skin of the head."""
    ear = person.ear_size
    shape = np.array([(0, -0.9), (0.55, -1), (0.75, -0.3), (0.45, 0.7), (0, 1)]) * (ear, ear * 1.25)
    for side in (-1, 1):
        place = (shape + np.array([person.cheek_width - 0.06, 0.12])) * (side, 1)
        canvas.fill(canvas.view.outline(smooth(place), -0.12), shade(person.skin, 0.88), solid=True)
        inner = (shape * 0.5 + np.array([person.cheek_width + 0.02, 0.12])) * (side, 1)
        canvas.line(canvas.view.outline(inner, -0.12), shade(person.skin, 0.66), 0.025)
    xy, depth = face_outline(person)
    canvas.fill(canvas.view.outline(xy, depth), person.skin, solid=True)


def draw_hair_behind(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Hair that hangs or stands behind the head."""
    volume = max(0.05, person.hair_volume * (1 + 0.35 * taken.hair_change))
    if person.style in ("long", "middle"):
        wide = person.cheek_width + volume + 0.06
        length = 1.75 + 0.3 * taken.hair_change
        half = [(0.65, -1.1 - volume), (wide, -0.5), (wide + 0.06, 0.5), (wide + 0.12, length)]
    elif person.style == "afro":
        wide = person.cheek_width + 2.2 * volume
        half = [(0.7, -1.3 - volume), (wide, -0.75), (wide + 0.05, -0.15), (wide - 0.12, 0.3)]
    else:
        return
    shape = np.array([*half, *(np.array(half)[::-1] * (-1, 1))])
    canvas.fill(canvas.view.outline(smooth(shape), -0.25), shade(person.hair, 0.72), solid=True)


def _hairline(person: Identity) -> Points:
    """The edge of the hair on the forehead from the image's left to right, (N, 2)."""
    line, part, wide = person.hairline, person.parting, person.cheek_width
    side = person.forehead_width
    if person.style == "bald":
        return np.array([(-wide, 0.1), (-side * 0.98, -0.5), (-side * 0.9, -0.95), (0, -1.2),
                         (side * 0.9, -0.95), (side * 0.98, -0.5), (wide, 0.1)])  # fmt: skip
    if person.style == "fringe":
        low = line + 0.28
        return np.array([(-wide, 0.2), (-side * 0.9, -0.22), (-0.5, low - 0.03), (part, low - 0.08),
                         (0.5, low), (side * 0.9, -0.22), (wide, 0.2)])  # fmt: skip
    if person.style == "side":
        near = -1.0 if part < 0 else 1.0
        swept = [
            (-side, -0.05),
            (-side * 0.82, line + 0.22),
            (-0.35, line + 0.16),
            (0.25, line - 0.02),
            (0.52, line - 0.22),
            (side * 0.85, line),
            (side, 0.0),
        ]
        points = np.array(swept)
        return points if near > 0 else points[::-1] * (-1, 1)
    if person.style in ("middle", "long"):
        return np.array([(-wide, 0.75), (-side * 0.88, 0.0), (-side * 0.66, line + 0.2),
                         (part, line - 0.2), (side * 0.66, line + 0.2), (side * 0.88, 0.0),
                         (wide, 0.75)])  # fmt: skip
    dip = {"short": 0.04, "afro": 0.0}.get(person.style, -0.05)
    temple = 0.12 if person.style == "crop" else 0.2
    return np.array([(-wide, 0.12), (-side * 0.95, -0.35), (-side * 0.74, line - temple + 0.1),
                     (part, line + dip), (side * 0.74, line - temple + 0.1), (side * 0.95, -0.35),
                     (wide, 0.12)])  # fmt: skip


def draw_hair(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Hair over the head: between the hairline and the outside, with strands."""
    if taken.hat:
        _draw_hat(canvas, person, taken)
        return
    thick = {"bald": 0.02, "crop": 0.05}.get(
        person.style, max(0.04, person.hair_volume * (1 + 0.35 * taken.hair_change))
    )
    line = smooth(_hairline(person) + np.array([0, 0.05 * taken.hair_change]), closed=False)
    wide = person.cheek_width + thick * 0.5
    outside = smooth(
        [(wide, line[-1, 1]), (wide + 0.4 * thick, -0.5), (0.62, -1.14 - thick), (0, -1.25 - thick),
         (-0.62, -1.14 - thick), (-wide - 0.4 * thick, -0.5), (-wide, line[0, 1])],
        closed=False,
    )  # fmt: skip
    # The hairline lies on the forehead, in front; the outer edge is the silhouette.
    inner = canvas.view.surface(line)
    outer = canvas.view.outline(outside)
    canvas.fill(np.vstack([inner, outer]), person.hair, solid=True)
    _draw_strands(canvas, person, line, outside)


def _draw_strands(canvas: Canvas, person: Identity, line: Points, outside: Points) -> None:
    rng = stream("strands", person.texture)
    count = 26 if person.style != "bald" else 8
    at = rng.integers(0, len(line), count)
    lower = line[at]
    upper = outside[::-1][(at * len(outside)) // len(line)]
    tone = rng.uniform(-1, 1, count)
    curl = rng.normal(0, 0.09 if person.style == "afro" else 0.03, (count, 2))
    middle = 0.5 * (lower + upper) + curl
    for dark in (True, False):
        chosen = np.flatnonzero((tone < 0) == dark)
        curves = np.stack(
            [canvas.view.surface(part[chosen]) for part in (lower, middle, upper)], axis=1
        )
        colour = shade(person.hair, 0.7) if dark else mix(person.hair, (255, 240, 220), 0.16)
        canvas.lines(list(curves), colour, 0.022)


def _draw_hat(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    rng = stream("hat", taken.scene)
    colour = tuple(rng.uniform(20, 220, 3).tolist())
    brim = person.hairline + 0.16
    wide = person.cheek_width + 0.05
    dome = smooth([(-wide, brim + 0.1), (-wide, -0.9), (-0.5, -1.5), (0.5, -1.5), (wide, -0.9),
                   (wide, brim + 0.1)], closed=False)  # fmt: skip
    edge = smooth([(wide, brim + 0.1), (0.5, brim - 0.04), (-0.5, brim - 0.04),
                   (-wide, brim + 0.1)], closed=False)  # fmt: skip
    points = np.vstack([canvas.view.outline(dome), canvas.view.surface(edge)])
    canvas.fill(points, colour, solid=True)
    canvas.line(canvas.view.surface(edge), shade(colour, 0.6), 0.09)


def draw_beard(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Stubble, moustache, goatee or full beard, more or less dense in this picture."""
    density = float(np.clip(person.beard_density + taken.beard_change, 0.0, 0.95))
    if person.beard == "none" or density < 0.05:
        return
    p, colour = person, shade(person.hair, 0.85)
    lip = p.mouth_y - p.upper_lip
    moustache = [(-p.mouth_width * 1.1, p.mouth_y + 0.05), (-0.12, lip - 0.16), (0.12, lip - 0.16),
                 (p.mouth_width * 1.1, p.mouth_y + 0.05), (0.0, lip + 0.01)]  # fmt: skip
    if person.beard in ("moustache", "full", "goatee"):
        points = canvas.view.surface(smooth(moustache), 0.06)
        canvas.soft_fill(points, colour, density, 0.025)
    if person.beard in ("full", "stubble"):
        alpha = density * (0.45 if person.beard == "stubble" else 1.0)
        _draw_full_beard(canvas, person, colour, alpha)
    elif person.beard == "goatee":
        low = p.mouth_y + p.lower_lip
        chin = [(-0.2, low + 0.05), (0.2, low + 0.05), (0.24, p.chin_y - 0.08), (0, p.chin_y),
                (-0.24, p.chin_y - 0.08)]  # fmt: skip
        canvas.soft_fill(canvas.view.surface(smooth(chin), 0.05), colour, density, 0.04)


def _draw_full_beard(canvas: Canvas, person: Identity, colour: Colour, alpha: float) -> None:
    p = person
    half = np.array([(p.cheek_width * 0.98, 0.25), (p.jaw_width * 1.02, 0.93),
                     (p.chin_width, p.chin_y - 0.03)])  # fmt: skip
    outer = smooth([*half, (0, p.chin_y + 0.05), *(half[::-1] * (-1, 1))], closed=False)
    inner = smooth([(-p.cheek_width * 0.82, 0.35), (-p.jaw_width * 0.72, 0.82),
                    (-p.mouth_width * 1.12, p.mouth_y), (0, p.mouth_y + p.lower_lip + 0.1),
                    (p.mouth_width * 1.12, p.mouth_y), (p.jaw_width * 0.72, 0.82),
                    (p.cheek_width * 0.82, 0.35)], closed=False)  # fmt: skip
    depth = np.interp(outer[:, 1], (0.2, 0.9, p.chin_y), (0.0, 0.14, 0.55))
    points = np.vstack([canvas.view.outline(outer, depth), canvas.view.surface(inner)])
    canvas.soft_fill(points, colour, alpha, 0.05)
