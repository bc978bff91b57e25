"""From light to file: exposure, colour, blur, detail, noise and JPEG compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.streams import stream

_GREY = np.array([0.299, 0.587, 0.114])


def photograph(
    scene: NDArray[np.uint8], taken: Nuisance, size: int, ratio: float
) -> NDArray[np.uint8]:
    """Turn a scene (S, S, 3) at normal exposure into an image (size, size, 3).

    `ratio` is the size of the face, 1 as in a crop of 112 pixels: blur is in parts of the face.
    """
    if scene.shape[0] != size:
        reduced = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
        scene = np.asarray(reduced, np.uint8)
    light = _blurred(scene, taken, size, ratio)
    # 8 bits are all a table of the gamma curve needs, and far cheaper than powers.
    curve = 255 * np.linspace(0, 1, 256) ** taken.gamma + 0.5
    image = cv2.LUT(cv2.transform(light, _colours(taken)), curve.astype(np.uint8))
    if taken.noise > 0.3:
        # Grey noise: after demosaicing and compression little colour is left of a sensor's.
        rng = stream("grain", taken.grain)
        grain = rng.standard_normal((size, size), np.float32) * np.float32(taken.noise)
        noisy = image + cv2.cvtColor(grain, cv2.COLOR_GRAY2RGB)
        image = np.clip(noisy + np.float32(0.5), 0, 255).astype(np.uint8)
    return _compressed(np.asarray(image, np.uint8), taken.jpeg)


def _colours(taken: Nuisance) -> NDArray[np.float64]:
    """Saturation, white balance and gain as one matrix on RGB (3, 3)."""
    saturated = taken.saturation * np.eye(3) + (1 - taken.saturation) * _GREY
    return saturated * taken.gain * np.array([[1 + taken.warmth], [1], [1 - taken.warmth]])


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


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR_RGB), np.uint8)
