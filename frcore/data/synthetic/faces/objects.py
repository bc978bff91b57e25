"""Whatever is behind, below and in front of a face: background, clothes, glasses, occluders."""

from __future__ import annotations

import numpy as np

from frcore.data.synthetic.faces.canvas import Canvas, any_colour, mix, shade
from frcore.data.synthetic.faces.geometry import (
    arc,
    front,
    mirrored,
    on_both_sides,
    outline,
    path,
    rim,
    smooth,
)
from frcore.data.synthetic.faces.identity import Colour, Identity
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.streams import stream

_SQUARE = path((-1, -1), (1, -1), (1, 1), (-1, 1))
_SIDE = path((-1, -1), (1, -1), (1, 1), (0, 1))
_ROUND = np.exp(1j * np.linspace(0, 2 * np.pi, 20, endpoint=False))
_SHAFT = path((-0.04, 0), (0.04, 0), (0.05, 0.4), (-0.05, 0.4))
_PALM = outline((-0.3, 0), (0.3, 0), (0.4, 0.5), (0.3, 1.4), (-0.3, 1.4), (-0.4, 0.5))


def draw_background(canvas: Canvas, taken: Nuisance) -> None:
    """A wall with a few large shapes, which belong to the scene."""
    rng = stream("background", taken.scene)
    canvas.image[:] = _wall(rng)
    canvas.fill_screen(_wall(rng), _SIDE + rng.random(4) + 1j * rng.random(4))
    for _ in range(int(rng.integers(0, 4))):
        x, y, width, height = rng.random(4).tolist()
        box = _SQUARE.real * (0.1 + 0.4 * width) + 1j * _SQUARE.imag * (0.1 + 0.4 * height)
        canvas.fill_screen(_wall(rng), complex(x, y) + box)


def _wall(rng: np.random.Generator) -> Colour:
    """A colour of a room or a street: half grey."""
    colour, grey = any_colour(rng, 20, 235), float(rng.uniform(30, 225))
    return mix(colour, (grey, grey, grey), 0.55)


def draw_body(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Shoulders, collar and neck."""
    cloth = any_colour(stream("clothes", taken.scene), 15, 235)
    wide = person.jaw_width * 0.82
    neck = path((-wide, 0.7), (-wide, 1.9), (wide, 1.9), (wide, 0.7))
    shoulders = path((-2.2, 2.3), (-1.4, 1.85), (-wide, 1.62), (wide, 1.62), (1.4, 1.85),
                     (2.2, 2.3), (2.2, 3.5), (-2.2, 3.5))  # fmt: skip
    canvas.fill(shade(person.skin, 0.74), rim(neck), solid=True)
    canvas.fill(cloth, rim(shoulders))


def draw_glasses(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Round, square or dark glasses; the frame's colour and size belong to the image."""
    if taken.glasses == "none":
        return
    rng = stream("glasses", taken.scene)
    frame = any_colour(rng, 10, 120)
    wide, high = float(rng.uniform(0.25, 0.31)), float(rng.uniform(0.16, 0.22))
    power = 0.45 if taken.glasses == "square" else 1.0
    lens = wide * np.sign(_ROUND.real) * np.abs(_ROUND.real) ** power + 1j * (
        high * np.sign(_ROUND.imag) * np.abs(_ROUND.imag) ** power + 0.03
    )
    lens = lens + person.eye_x + 0.01
    arm = path((person.eye_x + wide, -0.03), (person.cheek_width, -0.06))
    for glass, side in zip(on_both_sides(lens, 0.14), (-1, 1), strict=True):
        if taken.glasses == "dark":
            canvas.fill((22, 22, 26), glass)
        else:
            canvas.soft_fill((235, 240, 245), 0.1, 0.0, glass)
        canvas.line(frame, 0.04, glass, closed=True)
        canvas.line(frame, 0.04, front(mirrored(arm, side), 0.03))
    inner = person.eye_x - wide
    canvas.line(frame, 0.04, front(arc((-inner, 0.0), (0, -0.05), (inner, 0.0)), 0.16))


def draw_occluder(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """The object that occludes part of the face in this image, if any."""
    if taken.occluder == "none":
        return
    rng = stream("occluder", taken.occluder_seed)
    if taken.occluder == "hand":
        _draw_hand(canvas, person, rng)
        return
    colour = any_colour(rng, 15, 225)
    if taken.occluder == "bar":
        along = np.exp(1j * rng.uniform(-0.4, 0.4))
        across = 1j * along * rng.uniform(0.05, 0.12)
        middle = complex(0.5, rng.uniform(0.1, 0.9))
        bar = np.array([-along - across, along - across, along + across, -along + across])
        canvas.fill_screen(colour, middle + bar)
    elif taken.occluder == "leaf":
        corner = complex(*rng.choice((0.05, 0.95), 2))
        around = np.exp(1j * np.linspace(0, 2 * np.pi, 9, endpoint=False))
        canvas.fill_screen(colour, smooth(corner + rng.uniform(0.18, 0.42, 9) * around))
    else:
        at = complex(rng.uniform(0.3, 0.7), rng.uniform(0.85, 0.97))
        canvas.fill_screen((40, 40, 44), at + _SHAFT)
        canvas.fill_screen((66, 66, 70), at + 0.1 * _ROUND)


def _draw_hand(canvas: Canvas, person: Identity, rng: np.random.Generator) -> None:
    side = int(rng.choice((-1, 1)))
    base = complex(side * rng.uniform(0.45, 0.85), rng.uniform(0.75, 1.2))
    skin = mix(person.skin, (255, 220, 200), 0.08)
    canvas.fill(shade(skin, 0.92), front(_PALM + base, 0.3))
    for finger in range(4):
        start = base - 0.27 + 0.18 * finger + 0.1j
        end = start - side * 0.12 - 1j * rng.uniform(0.4, 0.62)
        line = front(np.array([start, end]), 0.3)
        canvas.line(shade(skin, 0.7), 0.2, line)
        canvas.line(skin, 0.16, line)
