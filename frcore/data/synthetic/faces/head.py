"""Head and face: neck, ears, skin, eyes, brows, nose, mouth, lines and marks of the skin."""

from __future__ import annotations

import numpy as np

from frcore.data.synthetic.faces.canvas import Canvas, mix, shade
from frcore.data.synthetic.faces.geometry import (
    Points,
    Reals,
    arc,
    front,
    mirrored,
    on_both_sides,
    path,
    rim,
    smooth,
)
from frcore.data.synthetic.faces.identity import Identity
from frcore.data.synthetic.faces.nuisance import Nuisance, between
from frcore.data.synthetic.faces.streams import stream

_EAR = path((0, -0.9), (0.55, -1), (0.75, -0.3), (0.45, 0.7), (0, 1))
_LID = np.linspace(-1, 1, 9)
_LID_ARCH = 1 - np.abs(_LID) ** 2.2
_ROUND = np.exp(1j * np.linspace(0, 2 * np.pi, 12, endpoint=False))
_BROW = np.linspace(0, 1, 7)
_BROW_ARCH = np.sin(np.pi * _BROW**0.8) * 1.3
_BROW_TAPER = 0.55 + 0.6 * np.sin(np.pi * (0.18 + 0.8 * _BROW))
_LIP = np.linspace(-1, 1, 9)
_LIP_ARCH = 1 - _LIP**2
_LIP_TOP = _LIP_ARCH**0.8 * (1 - 0.22 * np.exp(-((_LIP / 0.16) ** 2)))
_LIP_BOTTOM = _LIP_ARCH**0.7


def draw_head(canvas: Canvas, person: Identity) -> None:
    """Ears and the skin of the head."""
    p = person
    shape = np.asarray(p.ear_size * (_EAR.real + 1.25j * _EAR.imag), np.complex128)
    outer = smooth(shape + p.cheek_width - 0.06 + 0.12j)
    inner: Points = 0.5 * shape + p.cheek_width + 0.02 + 0.12j
    for side in (-1, 1):
        canvas.fill(shade(p.skin, 0.88), rim(mirrored(outer, side), -0.12), solid=True)
    canvas.line(shade(p.skin, 0.66), 0.025,
                *(rim(mirrored(inner, side), -0.12) for side in (-1, 1)))  # fmt: skip
    half = path((0.5 * p.forehead_width, -1.14), (p.forehead_width, -0.66), (p.cheek_width, 0.0),
                (p.cheek_width * 0.97, 0.42), (p.jaw_width, 0.93),
                (p.chin_width, p.chin_y - 0.06))  # fmt: skip
    axis = path((0, -1.22), (0, p.chin_y))
    around = np.concatenate([axis[:1], half, axis[1:], mirrored(half, -1)[::-1]])
    deep = np.array([0, 0, 0, 0, 0.04, 0.14, 0.5, 0.55, 0.5, 0.14, 0.04, 0, 0, 0])
    # The same spline for the depth: it rides along as a second curve.
    depth = smooth(deep.astype(np.complex128)).real
    canvas.fill(p.skin, rim(smooth(around), depth), solid=True)


def draw_skin_lines(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Folds beside the mouth, wrinkles, a cleft chin."""
    p = person
    depth = between(p.fold + 0.35 * max(0.0, taken.smile), 0, 1)
    if depth > 0.15:
        fold = arc((p.nose_width * 1.2, p.nose_y + 0.06), (p.mouth_width * 1.12, 0.78),
                   (p.mouth_width * 1.24, p.mouth_y + 0.02))  # fmt: skip
        canvas.line(shade(p.skin, 1 - 0.3 * depth), 0.022, *on_both_sides(fold, 0.02))
    if p.wrinkles > 0.1:
        wrinkle = path((-0.5, 0.0), (-0.2, 0.02), (0.25, -0.015), (0.5, 0.01))
        lines = (front(wrinkle + 1j * y) for y in (-0.46, -0.56, -0.66))
        canvas.line(shade(p.skin, 1 - 0.28 * p.wrinkles), 0.016, *lines)
    if p.chin_cleft > 0.15:
        cleft = path((0, p.chin_y - 0.24), (0.01, p.chin_y - 0.12))
        canvas.line(shade(p.skin, 0.72), 0.03, front(cleft, 0.05))


def draw_marks(canvas: Canvas, person: Identity) -> None:
    """Freckles, moles and scars."""
    if person.freckles > 0:
        rng = stream("freckles", person.texture)
        count = int(30 * person.freckles)
        places = rng.normal(0, 0.4, count) + 1j * rng.normal(0.3, 0.14, count)
        canvas.dots(shade(person.skin, 0.76), 0.013, front(places[np.abs(places.real) < 0.8]))
    for mark in person.marks:
        place = path((mark.x, mark.y))
        if mark.kind == "mole":
            canvas.dots(shade(person.skin, 0.34), mark.size, front(place))
        else:
            way = 0.5 * mark.size * np.exp(1j * mark.angle)
            ends = np.concatenate([place - way, place + way])
            canvas.line(mix(person.skin, (214, 140, 130), 0.8), 0.025, front(ends))


def draw_nose(canvas: Canvas, person: Identity) -> None:
    """Nostrils, wings and the shadow under the tip; the rest is relief."""
    wide, depth, base = person.nose_width, person.nose_depth, person.nose_y + 0.095
    dark, line = shade(person.skin, 0.38), shade(person.skin, 0.64)
    under = arc((-wide * 0.7, base), (0, base + 0.035), (wide * 0.7, base))
    nostril = wide * 0.48 + 1j * (base - 0.012) + _ROUND.real * wide * 0.21 + 0.026j * _ROUND.imag
    wing = arc((wide * 0.86, base - 0.13), (wide * 1.02, base - 0.05), (wide * 0.8, base + 0.02))
    bridge = path((person.nose_bridge * 1.2, -0.12), (person.nose_bridge, 0.12))
    canvas.line(line, 0.03, front(under, depth * 0.6))
    for curve in on_both_sides(nostril, depth * 0.6):
        canvas.fill(dark, curve)
    canvas.line(line, 0.025, *on_both_sides(wing, depth * 0.3))
    canvas.line(shade(person.skin, 0.86), 0.02, *on_both_sides(bridge, depth * 0.25))


def draw_mouth(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Lips, the line between them, and teeth when the mouth is open."""
    smile = between(taken.smile, -0.8, 1.3)
    wide = person.mouth_width * (1 + 0.16 * smile)
    gap = 0.085 * between(taken.jaw, 0, 1.6)
    seam = person.mouth_y - 0.075 * smile * _LIP**2 + 0.01
    seam = seam + person.mouth_bow * np.cos(np.pi * _LIP) * _LIP_ARCH
    seam_top, seam_low = seam - gap * 0.35 * _LIP_ARCH, seam + gap * _LIP_ARCH
    top = seam_top - person.upper_lip * (1.2 - 0.2 * smile) * _LIP_TOP
    bottom = seam_low + person.lower_lip * (1 - 0.12 * smile) * _LIP_BOTTOM
    lip = mix(person.lip, (172, 34, 52), 0.55 * between(taken.make_up, 0, 1))

    def band(above: Reals, below: Reals) -> Points:
        return np.concatenate([_LIP * wide + 1j * above, (_LIP * wide + 1j * below)[::-1]])

    canvas.fill(shade(lip, 0.86), front(band(top, seam_top), 0.05))
    canvas.fill(lip, front(band(seam_low, bottom), 0.05))
    if gap > 0.012:
        canvas.fill((58, 22, 24), front(band(seam_top, seam_low), 0.05))
        teeth = np.minimum(seam_low, seam_top + 0.045 * _LIP_ARCH)
        canvas.fill((232, 226, 214), front(band(seam_top, teeth), 0.05))
    else:
        canvas.line(shade(lip, 0.45), 0.018, front(_LIP * wide + 1j * seam, 0.05))
    low = float(bottom[len(bottom) // 2])
    shadow = arc((-0.14, low + 0.06), (0, low + 0.085), (0.14, low + 0.06))
    canvas.line(shade(person.skin, 0.8), 0.03, front(shadow, 0.04))


def draw_eyes(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Both eyes: white, iris cut by the lids, pupil, highlight, lid lines."""
    p, width = person, person.eye_width
    open_up = p.eye_open * between(taken.lids, 0.08, 1.35)
    open_low = p.eye_open * 0.55 * between(taken.lids, 0.3, 1.1)
    upper = _LID * width - 1j * open_up * _LID_ARCH
    lower = _LID * width + 1j * open_low * _LID_ARCH
    crease = _LID * width * 1.05 - 1j * (open_up * _LID_ARCH + 0.035 + 0.05 * p.lid_crease)
    lash = mix(shade(p.skin, 0.32), (30, 16, 14), between(taken.make_up, 0, 1))

    for side in (-1, 1):

        def placed(local: Points, side: int = side) -> Points:
            # The outer corner is on the outside of each eye, so one of them is mirrored.
            return mirrored(p.eye_x + local - 1j * p.eye_tilt * local.real, side)

        canvas.fill((232, 226, 222), front(placed(np.concatenate([upper, lower[::-1]]))))
        look = between(taken.gaze, -1.4, 1.4) * 0.045 * side
        for radius, colour in (
            (p.iris_size, shade(p.iris, 0.6)),
            (p.iris_size * 0.84, p.iris),
            (p.iris_size * 0.42, (14.0, 12.0, 12.0)),
        ):
            disc = _ROUND * radius + look - 0.012j
            inside = np.maximum(0, 1 - np.abs(disc.real / width) ** 2.2)
            height = np.clip(disc.imag, -open_up * inside, open_low * inside)
            canvas.fill(colour, front(placed(disc.real + 1j * height)))
        if open_up > 0.03:
            glint = path((look + 0.02 * side, -min(0.035, 0.6 * open_up)))
            canvas.dots((250, 250, 250), 0.016, front(placed(glint)))
        canvas.line(lash, 0.03, front(placed(upper)))
        canvas.line(shade(p.skin, 0.66), 0.012, front(placed(lower)))
        canvas.line(shade(p.skin, 0.62), 0.016, front(placed(crease[1:-1])))


def draw_brows(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    """Both brows: thick inside, thin outside."""
    p = person
    along = p.brow_length * (2 * _BROW - 1) * 0.98
    middle = p.brow_y - 0.05 * taken.brows - p.brow_arch * _BROW_ARCH - p.brow_tilt * along
    thick = 0.5 * p.brow_thickness * _BROW_TAPER
    # Brows pulled down also come together.
    x = p.eye_x + 0.02 + along + 0.015 * min(0.0, taken.brows)
    around = np.concatenate([x + 1j * (middle - thick), (x + 1j * (middle + thick))[::-1]])
    for curve in on_both_sides(around, 0.03):
        canvas.soft_fill(p.brow, 0.92, 0.02, curve)
