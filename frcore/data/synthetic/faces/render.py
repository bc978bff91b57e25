"""One image of one person: drawn, lit, and captured by a camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces import hair, head, objects
from frcore.data.synthetic.faces.canvas import Canvas
from frcore.data.synthetic.faces.geometry import Placement, view
from frcore.data.synthetic.faces.identity import Identity
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.relief import light_on_head
from frcore.data.synthetic.faces.streams import stream

_GREY = np.array([0.299, 0.587, 0.114])
_SMALLEST_CANVAS = 80
"""Below this side eyelids and lips are thinner than a pixel: draw larger, then downsample."""


def render(
    person: Identity, taken: Nuisance, size: int, placement: Placement | None = None
) -> NDArray[np.uint8]:
    """Draw `person` as `taken`: uint8 (size, size, 3), RGB, aligned like ArcFace's 112-pixel crops.

    With a `placement` it is the image that the aligned crop is cut from. The same arguments give
    the same pixels on the same machine and library versions.

    Raises:
        ValueError: a placement in an image of less than 80 pixels.
    """
    if placement is not None and size < _SMALLEST_CANVAS:
        raise ValueError(f"an unaligned image needs at least {_SMALLEST_CANVAS} pixels, got {size}")
    # A whole multiple, so that downsampling weights all pixels equally.
    drawn = size * -(-_SMALLEST_CANVAS // size)
    canvas = Canvas(drawn, view(person, taken, drawn, placement))
    objects.draw_background(canvas, taken)
    hair.draw_hair_behind(canvas, person, taken)
    objects.draw_body(canvas, person, taken)
    head.draw_head(canvas, person)
    head.draw_skin_lines(canvas, person, taken)
    head.draw_marks(canvas, person)
    head.draw_nose(canvas, person)
    hair.draw_beard(canvas, person, taken)
    head.draw_mouth(canvas, person, taken)
    head.draw_eyes(canvas, person, taken)
    head.draw_brows(canvas, person, taken)
    hair.draw_hair(canvas, person, taken)
    canvas.paint()
    _light(canvas, person, taken)
    # Glasses and hands are not part of the relief: they are drawn over the shaded face.
    objects.draw_glasses(canvas, person, taken)
    canvas.paint()
    objects.draw_occluder(canvas, person, taken)
    canvas.paint()
    ratio = size / 112 if placement is None else abs(placement.turn)
    return _photograph(canvas.image, taken, size, ratio)


def _light(canvas: Canvas, person: Identity, taken: Nuisance) -> None:
    added, gloss = light_on_head(person, taken, canvas.view, len(canvas.image))
    change = cv2.add(cv2.multiply(canvas.image, added, dtype=cv2.CV_32F), gloss)
    inside = cv2.cvtColor(canvas.solid, cv2.COLOR_GRAY2RGB)
    change = cv2.multiply(change, inside, scale=1 / 255, dtype=cv2.CV_32F)
    canvas.image = np.asarray(cv2.add(canvas.image, change, dtype=cv2.CV_8U), np.uint8)


def _photograph(
    scene: NDArray[np.uint8], taken: Nuisance, size: int, ratio: float
) -> NDArray[np.uint8]:
    """Turn a scene (S, S, 3) at normal exposure into an image (size, size, 3).

    `ratio` is the size of the face, 1 in a crop of 112 pixels: blur is relative to the face.
    """
    if scene.shape[0] != size:
        reduced = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
        scene = np.asarray(reduced, np.uint8)
    light = _blurred(scene, taken, size, ratio)
    # Saturation, white balance and gain are one matrix on RGB.
    saturated = taken.saturation * np.eye(3) + (1 - taken.saturation) * _GREY
    warm = np.array([[1 + taken.warmth], [1], [1 - taken.warmth]])
    colours = saturated * taken.gain * warm
    # An 8-bit lookup table of the gamma curve suffices, and is far cheaper than powers.
    curve = 255 * np.linspace(0, 1, 256) ** taken.gamma + 0.5
    image = cv2.LUT(cv2.transform(light, colours), curve.astype(np.uint8))
    if taken.noise > 0.3:
        # Grey noise: demosaicing and compression remove most of the colour of sensor noise.
        rng = stream("grain", taken.grain)
        grain = rng.standard_normal((size, size), np.float32) * np.float32(taken.noise)
        noisy = image + cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB)
        image = np.clip(noisy + np.float32(0.5), 0, 255).astype(np.uint8)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, taken.jpeg])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR_RGB), np.uint8)


def _blurred(
    light: NDArray[np.uint8], taken: Nuisance, size: int, ratio: float
) -> NDArray[np.uint8]:
    small = max(8, round(size * taken.detail))
    if small < size:
        reduced = cv2.resize(light, (small, small), interpolation=cv2.INTER_AREA)
        light = np.asarray(cv2.resize(reduced, (size, size), interpolation=cv2.INTER_LINEAR))
    sigma = taken.blur * ratio
    if sigma > 0.25:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma))
    length = taken.motion * 3 * ratio
    if length > 0.8:
        light = np.asarray(cv2.filter2D(light, -1, _streak(length, taken.motion_angle)))
    return light


def _streak(length: float, angle: float) -> NDArray[np.float32]:
    """A kernel that spreads each point along a line of `length` pixels."""
    radius = int(np.ceil(length / 2))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    way = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    ends = np.rint((radius + np.array([-way, way])) * 16).astype(np.int32)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, 4)
    return kernel / kernel.sum()
