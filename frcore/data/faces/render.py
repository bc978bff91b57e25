"""One picture of one person."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frcore.data.faces import features, head, objects
from frcore.data.faces.camera import photograph
from frcore.data.faces.canvas import Canvas
from frcore.data.faces.geometry import view
from frcore.data.faces.identity import Identity
from frcore.data.faces.nuisance import Nuisance
from frcore.data.faces.relief import light_on_head

_SMALLEST_CANVAS = 80
"""Below this side eyelids and lips are thinner than a pixel: draw larger, then reduce."""


def render(person: Identity, taken: Nuisance, size: int) -> NDArray[np.uint8]:
    """Draw `person` as `taken`: uint8 (size, size, 3), RGB, aligned as ArcFace's 112-pixel crops.

    The same arguments give the same pixels on the same machine and library versions.
    """
    # A whole multiple, so that the reduction weighs all pixels alike.
    drawn = size * -(-_SMALLEST_CANVAS // size)
    pose = view(person, taken, drawn)
    canvas = Canvas(drawn, pose)
    head.draw_background(canvas, taken)
    head.draw_hair_behind(canvas, person, taken)
    head.draw_body(canvas, person, taken)
    head.draw_head(canvas, person)
    features.draw_skin_lines(canvas, person, taken)
    features.draw_nose(canvas, person)
    head.draw_beard(canvas, person, taken)
    features.draw_mouth(canvas, person, taken)
    features.draw_eyes(canvas, person, taken)
    features.draw_brows(canvas, person, taken)
    head.draw_hair(canvas, person, taken)
    lit = _lit(canvas, person, taken)
    return photograph(lit, taken, size)


def _lit(canvas: Canvas, person: Identity, taken: Nuisance) -> NDArray[np.float32]:
    size = len(canvas.image)
    factor, gloss = light_on_head(person, taken, canvas.view, size)
    inside = canvas.solid.astype(np.float32)[:, :, None] * np.float32(1 / 255)
    before = canvas.image
    # Glasses and hands are flat: they are drawn over the shaded face, under the same lamp.
    shaded = before * (1 + inside * (factor - 1)) + inside * gloss[:, :, None] * 255
    canvas.image = np.clip(shaded, 0, 255).astype(np.uint8)
    objects.draw_glasses(canvas, person, taken)
    objects.draw_occluder(canvas, person, taken)
    return canvas.image.astype(np.float32)
