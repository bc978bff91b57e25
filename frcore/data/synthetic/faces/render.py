"""One picture of one person."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces import features, hair, head, objects
from frcore.data.synthetic.faces.camera import photograph
from frcore.data.synthetic.faces.canvas import Canvas
from frcore.data.synthetic.faces.geometry import Placement, view
from frcore.data.synthetic.faces.identity import Identity
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.relief import light_on_head

_SMALLEST_CANVAS = 80
"""Below this side eyelids and lips are thinner than a pixel: draw larger, then reduce."""


def render(
    person: Identity, taken: Nuisance, size: int, placement: Placement | None = None
) -> NDArray[np.uint8]:
    """Draw `person` as `taken`: uint8 (size, size, 3), RGB, aligned as ArcFace's 112-pixel crops.

    With a `placement` the picture is the one that the aligned crop is cut from. The same arguments
    give the same pixels on the same machine and library versions.

    Raises:
        ValueError: a placement in a picture of less than 80 pixels.
    """
    if placement is not None and size < _SMALLEST_CANVAS:
        raise ValueError(f"a loose picture needs {_SMALLEST_CANVAS} pixels, got {size}")
    # A whole multiple, so that the reduction weighs all pixels alike.
    drawn = size * -(-_SMALLEST_CANVAS // size)
    canvas = Canvas(drawn, view(person, taken, drawn, placement))
    head.draw_background(canvas, taken)
    hair.draw_hair_behind(canvas, person, taken)
    head.draw_body(canvas, person, taken)
    head.draw_head(canvas, person)
    features.draw_skin_lines(canvas, person, taken)
    features.draw_marks(canvas, person)
    features.draw_nose(canvas, person)
    hair.draw_beard(canvas, person, taken)
    features.draw_mouth(canvas, person, taken)
    features.draw_eyes(canvas, person, taken)
    features.draw_brows(canvas, person, taken)
    hair.draw_hair(canvas, person, taken)
    canvas.paint()
    _light(canvas, person, taken)
    # Glasses and hands are not part of the relief: they are drawn over the shaded face.
    objects.draw_glasses(canvas, person, taken)
    canvas.paint()
    objects.draw_occluder(canvas, person, taken)
    canvas.paint()
    ratio = size / 112 if placement is None else abs(placement.turn)
    return photograph(canvas.image, taken, size, ratio)


def _light(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    added, gloss = light_on_head(person, taken, canvas.view, len(canvas.image))
    change = cv2.add(cv2.multiply(canvas.image, added, dtype=cv2.CV_32F), gloss)
    inside = cv2.cvtColor(canvas.solid, cv2.COLOR_GRAY2RGB)
    change = cv2.multiply(change, inside, scale=1 / 255, dtype=cv2.CV_32F)
    canvas.image = np.asarray(cv2.add(canvas.image, change, dtype=cv2.CV_8U), np.uint8)
