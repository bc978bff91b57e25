"""The small shapes: eyes, brows, nose, mouth, lines and marks of the skin."""

from __future__ import annotations

import numpy as np

from frcore.data.faces.canvas import Canvas, mix, shade
from frcore.data.faces.geometry import Points, smooth
from frcore.data.faces.identity import Colour, Identity
from frcore.data.faces.nuisance import Nuisance
from frcore.data.faces.streams import stream

_LID = np.linspace(-1, 1, 11)
_ROUND = np.exp(1j * np.linspace(0, 2 * np.pi, 14, endpoint=False))


def draw_eyes(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Both eyes: white, iris cut by the lids, pupil, highlight, lid lines."""
    for side in (-1, 1):
        _draw_eye(canvas, person, taken, side)


def _draw_eye(canvas: Canvas, person: Identity, taken: Nuisance, side: int) -> None:
    width, crease = person.eye_width, person.lid_crease
    open_up = person.eye_open * float(np.clip(taken.lids, 0.08, 1.35))
    open_low = person.eye_open * 0.55 * float(np.clip(taken.lids, 0.3, 1.1))
    arch = 1 - np.abs(_LID) ** 2.2

    def placed(xy: Points) -> Points:
        # The outer corner is on the outside of each eye, so one of them is mirrored.
        tilted = xy[:, 1] - person.eye_tilt * xy[:, 0]
        return canvas.view.surface(np.column_stack([side * (person.eye_x + xy[:, 0]), tilted]))

    upper = np.column_stack([_LID * width, -open_up * arch])
    lower = np.column_stack([_LID * width, open_low * arch])
    canvas.fill(placed(np.vstack([upper, lower[::-1]])), (232, 226, 222))
    look = float(np.clip(taken.gaze, -1.4, 1.4)) * 0.045 * side
    for radius, colour in (
        (person.iris_size, shade(person.iris, 0.6)),
        (person.iris_size * 0.84, person.iris),
        (person.iris_size * 0.42, (14.0, 12.0, 12.0)),
    ):
        disc = np.column_stack([_ROUND.real * radius + look, _ROUND.imag * radius - 0.012])
        inside = np.clip(1 - np.abs(disc[:, 0] / width) ** 2.2, 0, 1)
        disc[:, 1] = np.clip(disc[:, 1], -open_up * inside, open_low * inside)
        canvas.fill(placed(disc), colour)
    if open_up > 0.03:
        light = placed(np.array([(look + 0.02 * side, -min(0.035, 0.6 * open_up))]))
        canvas.dot(light[0], (250, 250, 250), 0.016)
    dark = shade(person.skin, 0.32)
    canvas.line(placed(upper), mix(dark, (30, 16, 14), min(1.0, max(0.0, taken.make_up))), 0.03)
    canvas.line(placed(lower), shade(person.skin, 0.66), 0.012)
    fold = np.column_stack([_LID * width * 1.05, -open_up * arch - 0.035 - 0.05 * crease])
    canvas.line(placed(fold[1:-1]), shade(person.skin, 0.62), 0.016)


def draw_brows(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Both brows: thick inside, thin outside."""
    t = np.linspace(0, 1, 7)
    height = person.brow_y - 0.05 * taken.brows
    along = np.array(person.brow_length) * (2 * t - 1) * 0.98
    arch = height - person.brow_arch * np.sin(np.pi * t**0.8) * 1.3 - person.brow_tilt * along
    thick = 0.5 * person.brow_thickness * (0.55 + 0.6 * np.sin(np.pi * (0.18 + 0.8 * t)))
    # Brows pulled down also come together.
    x = person.eye_x + 0.02 + along + 0.015 * min(0.0, taken.brows)
    for side in (-1, 1):
        top = np.column_stack([side * x, arch - thick])
        bottom = np.column_stack([side * x, arch + thick])
        points = canvas.view.surface(np.vstack([top, bottom[::-1]]), 0.03)
        canvas.soft_fill(points, person.brow, 0.92, 0.02)


def draw_nose(canvas: Canvas, person: Identity) -> None:
    """Nostrils, wings and the shadow under the tip; the rest is relief."""
    y, wide, depth = person.nose_y, person.nose_width, person.nose_depth
    dark, line = shade(person.skin, 0.38), shade(person.skin, 0.64)
    base = y + 0.095
    under = np.array([(-wide * 0.7, base), (0, base + 0.035), (wide * 0.7, base)])
    canvas.line(canvas.view.surface(smooth(under, closed=False), depth * 0.6), line, 0.03)
    for side in (-1, 1):
        nostril = np.column_stack(
            [side * (wide * 0.48 + _ROUND.real * wide * 0.21), base - 0.012 + _ROUND.imag * 0.026]
        )
        canvas.fill(canvas.view.surface(nostril, depth * 0.6), dark)
        wing = np.array(
            [(wide * 0.86, base - 0.13), (wide * 1.02, base - 0.05), (wide * 0.8, base + 0.02)]
        )
        curve = smooth(wing * (side, 1), closed=False)
        canvas.line(canvas.view.surface(curve, depth * 0.3), line, 0.025)
        bridge = np.array([(person.nose_bridge * 1.2, -0.12), (person.nose_bridge, 0.12)])
        canvas.line(
            canvas.view.surface(bridge * (side, 1), depth * 0.25), shade(person.skin, 0.86), 0.02
        )


def draw_mouth(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Lips, the line between them, and teeth when the mouth is open."""
    smile = float(np.clip(taken.smile, -0.8, 1.3))
    wide = person.mouth_width * (1 + 0.16 * smile)
    gap = 0.085 * float(np.clip(taken.jaw, 0, 1.6))
    t = np.linspace(-1, 1, 9)
    arch = 1 - t**2
    corner = person.mouth_y - 0.075 * smile * t**2 + 0.01
    bow = person.mouth_bow * np.cos(np.pi * t) * arch
    seam_top = corner + bow - gap * 0.35 * arch
    seam_low = corner + bow + gap * arch
    notch = 0.22 * np.exp(-((t / 0.16) ** 2))
    top = seam_top - person.upper_lip * (1.2 - 0.2 * smile) * arch**0.8 * (1 - notch)
    bottom = seam_low + person.lower_lip * (1 - 0.12 * smile) * arch**0.7

    def placed(y: Points) -> Points:
        return canvas.view.surface(np.column_stack([t * wide, y]), 0.05)

    lip = _lip_colour(person, taken)
    canvas.fill(np.vstack([placed(top), placed(seam_top)[::-1]]), shade(lip, 0.86))
    canvas.fill(np.vstack([placed(seam_low), placed(bottom)[::-1]]), lip)
    if gap > 0.012:
        canvas.fill(np.vstack([placed(seam_top), placed(seam_low)[::-1]]), (58, 22, 24))
        teeth = np.minimum(seam_low, seam_top + 0.045 * arch)
        canvas.fill(np.vstack([placed(seam_top), placed(teeth)[::-1]]), (232, 226, 214))
    else:
        canvas.line(placed(0.5 * (seam_top + seam_low)), shade(lip, 0.45), 0.018)
    shadow = np.array([(-0.14, 0.06), (0, 0.085), (0.14, 0.06)])
    shadow[:, 1] += bottom[4]
    canvas.line(canvas.view.surface(smooth(shadow, closed=False), 0.04),
                shade(person.skin, 0.8), 0.03)  # fmt: skip


def _lip_colour(person: Identity, taken: Nuisance) -> Colour:
    return mix(person.lip, (172, 34, 52), 0.55 * float(np.clip(taken.make_up, 0, 1)))


def draw_skin_lines(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Folds beside the mouth, wrinkles, a cleft chin, freckles, moles and scars."""
    p = person
    depth = float(np.clip(p.fold + 0.35 * max(0.0, taken.smile), 0, 1))
    if depth > 0.15:
        fold = np.array([(p.nose_width * 1.2, p.nose_y + 0.06), (p.mouth_width * 1.12, 0.78),
                         (p.mouth_width * 1.24, p.mouth_y + 0.02)])  # fmt: skip
        for side in (-1, 1):
            curve = canvas.view.surface(smooth(fold * (side, 1), closed=False), 0.02)
            canvas.line(curve, shade(p.skin, 1 - 0.3 * depth), 0.022)
    if p.wrinkles > 0.1:
        lines = [
            canvas.view.surface([(-0.5, y), (-0.2, y + 0.02), (0.25, y - 0.015), (0.5, y + 0.01)])
            for y in (-0.46, -0.56, -0.66)
        ]
        canvas.lines(lines, shade(p.skin, 1 - 0.28 * p.wrinkles), 0.016)
    if p.chin_cleft > 0.15:
        cleft = canvas.view.surface([(0, p.chin_y - 0.24), (0.01, p.chin_y - 0.12)], 0.05)
        canvas.line(cleft, shade(p.skin, 0.72), 0.03)
    if p.freckles > 0:
        _draw_freckles(canvas, person)
    for mark in p.marks:
        place = np.array([(mark.x, mark.y)])
        if mark.kind == "mole":
            canvas.dot(canvas.view.surface(place)[0], shade(p.skin, 0.34), mark.size)
        else:
            way = 0.5 * mark.size * np.array([(np.cos(mark.angle), np.sin(mark.angle))])
            ends = canvas.view.surface(np.vstack([place - way, place + way]))
            canvas.line(ends, mix(p.skin, (214, 140, 130), 0.8), 0.025)


def _draw_freckles(canvas: Canvas, person: Identity) -> None:
    rng = stream("freckles", person.texture)
    count = int(30 * person.freckles)
    place = np.column_stack([rng.normal(0, 0.4, count), rng.normal(0.3, 0.14, count)])
    for point in canvas.view.surface(np.clip(place, -0.8, 0.8)):
        canvas.dot(point, shade(person.skin, 0.76), 0.013)
