"""The large shapes: background, clothes, neck, ears, head."""

from __future__ import annotations

import numpy as np

from frcore.data.synthetic.faces.canvas import Canvas, any_colour, mix, shade
from frcore.data.synthetic.faces.geometry import Points, Reals, mirrored, path, rim, smooth
from frcore.data.synthetic.faces.identity import Colour, Identity
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.streams import stream

_SQUARE = path((-1, -1), (1, -1), (1, 1), (-1, 1))
_SIDE = path((-1, -1), (1, -1), (1, 1), (0, 1))
_EAR = path((0, -0.9), (0.55, -1), (0.75, -0.3), (0.45, 0.7), (0, 1))


def draw_background(canvas: Canvas, taken: Nuisance) -> None:
    """A wall with a few large shapes; the scene's own."""
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


def face_outline(person: Identity) -> tuple[Points, Reals]:
    """The head's silhouette (N,) and the depth of its points (N,)."""
    p = person
    half = path((0.5 * p.forehead_width, -1.14), (p.forehead_width, -0.66), (p.cheek_width, 0.0),
                (p.cheek_width * 0.97, 0.42), (p.jaw_width, 0.93),
                (p.chin_width, p.chin_y - 0.06))  # fmt: skip
    axis = path((0, -1.22), (0, p.chin_y))
    points = np.concatenate([axis[:1], half, axis[1:], mirrored(half, -1)[::-1]])
    deep = np.array([0, 0, 0, 0, 0.04, 0.14, 0.5, 0.55, 0.5, 0.14, 0.04, 0, 0, 0])
    # The same spline for the depth: it rides along as a second curve.
    return smooth(points), smooth(deep.astype(np.complex128)).real


def draw_head(canvas: Canvas, person: Identity) -> None:
    """Ears and the skin of the head."""
    shape = np.asarray(person.ear_size * (_EAR.real + 1.25j * _EAR.imag), np.complex128)
    outer = smooth(shape + person.cheek_width - 0.06 + 0.12j)
    inner: Points = 0.5 * shape + person.cheek_width + 0.02 + 0.12j
    for side in (-1, 1):
        canvas.fill(shade(person.skin, 0.88), rim(mirrored(outer, side), -0.12), solid=True)
    canvas.line(shade(person.skin, 0.66), 0.025,
                *(rim(mirrored(inner, side), -0.12) for side in (-1, 1)))  # fmt: skip
    points, depth = face_outline(person)
    canvas.fill(person.skin, rim(points, depth), solid=True)
