"""Things in front of a face: glasses, a hand, a bar, a leaf, a microphone."""

from __future__ import annotations

import numpy as np

from frcore.data.faces.canvas import Canvas, mix, shade
from frcore.data.faces.geometry import smooth
from frcore.data.faces.identity import Identity
from frcore.data.faces.nuisance import Nuisance
from frcore.data.faces.streams import stream


def draw_glasses(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Round, square or dark glasses; the frame's colour and size are the picture's own."""
    if taken.glasses == "none":
        return
    rng = stream("glasses", taken.scene)
    colour = shade(tuple(rng.uniform(10, 150, 3).tolist()), 0.8)
    half = np.array([rng.uniform(0.25, 0.31), rng.uniform(0.16, 0.22)])
    power = 0.45 if taken.glasses == "square" else 1.0
    around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    unit = np.stack([np.cos(around), np.sin(around)], axis=1)
    lens = np.sign(unit) * np.abs(unit) ** power * half + (0, 0.03)
    for side in (-1, 1):
        middle = (side * (person.eye_x + 0.01), 0.0)
        points = canvas.view.surface(lens + middle, 0.14)
        if taken.glasses == "dark":
            canvas.fill(points, (22, 22, 26))
        else:
            canvas.soft_fill(points, (235, 240, 245), 0.10, 0.0)
        canvas.line(points, colour, 0.04, closed=True)
        arm = [(side * (person.eye_x + half[0]), -0.03), (side * person.cheek_width, -0.06)]
        canvas.line(canvas.view.surface(arm, 0.03), colour, 0.04)
    inner = person.eye_x - half[0]
    bridge = smooth([(-inner, 0.0), (0, -0.05), (inner, 0.0)], closed=False)
    canvas.line(canvas.view.surface(bridge, 0.16), colour, 0.04)


def draw_occluder(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """What hides a part of the face in this picture, if anything."""
    if taken.occluder == "none":
        return
    size = len(canvas.image)
    rng = stream("occluder", taken.occluder_seed)
    if taken.occluder == "hand":
        _draw_hand(canvas, person, rng)
        return
    colour = tuple(rng.uniform(15, 225, 3).tolist())
    if taken.occluder == "bar":
        angle, middle = rng.uniform(-0.4, 0.4), rng.uniform(0.1, 0.9)
        along = np.array([np.cos(angle), np.sin(angle)]) * size
        across = np.array([-along[1], along[0]]) * rng.uniform(0.05, 0.12)
        at = np.array([0.5, middle]) * size
        canvas.fill(at + np.array([-along - across, along - across, along + across,
                                   -along + across]), colour)  # fmt: skip
    elif taken.occluder == "leaf":
        at = rng.choice((0.05, 0.95), 2) * size
        around = np.linspace(0, 2 * np.pi, 9, endpoint=False)
        radius = size * rng.uniform(0.18, 0.42, 9)
        blob = at + radius[:, None] * np.stack([np.cos(around), np.sin(around)], axis=1)
        canvas.fill(smooth(blob), colour)
    else:
        at = np.array([rng.uniform(0.3, 0.7), rng.uniform(0.85, 0.97)]) * size
        shaft = at + np.array([(-0.04, 0), (0.04, 0), (0.05, 0.4), (-0.05, 0.4)]) * size
        canvas.fill(shaft, (40, 40, 44))
        canvas.dot(at, (66, 66, 70), 0.26)


def _draw_hand(canvas: Canvas, person: Identity, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1, 1)))
    base = np.array([side * rng.uniform(0.45, 0.85), rng.uniform(0.75, 1.2)])
    skin = mix(person.skin, (255, 220, 200), 0.08)
    palm = smooth(np.array([(-0.3, 0), (0.3, 0), (0.4, 0.5), (0.3, 1.4), (-0.3, 1.4), (-0.4, 0.5)]))
    canvas.fill(canvas.view.surface(palm + base, 0.3), shade(skin, 0.92))
    for finger in range(4):
        start = base + np.array([-0.27 + 0.18 * finger, 0.1])
        end = start + np.array([-side * 0.12, -rng.uniform(0.4, 0.62)])
        ends = canvas.view.surface([start, end], 0.3)
        canvas.line(ends, shade(skin, 0.7), 0.2)
        canvas.line(ends, skin, 0.16)
