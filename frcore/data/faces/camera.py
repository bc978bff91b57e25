"""From light to file: exposure, colour, blur, detail, noise and JPEG compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.faces.nuisance import Nuisance
from frcore.data.faces.streams import stream

_REFERENCE_SIZE = 112
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def photograph(light: NDArray[np.float32], taken: Nuisance, size: int) -> NDArray[np.uint8]:
    """Turn light (S, S, 3), 0..255 at normal exposure, into an image (size, size, 3)."""
    light = _coloured(light, taken)
    if light.shape[0] != size:
        light = np.asarray(cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA))
    light = _blurred(light, taken, size)
    if taken.noise > 0.3:
        # One grey and one fainter colour component, as a sensor's noise after demosaicing.
        rng = stream("grain", taken.grain)
        grain = rng.standard_normal((size, size, 1), np.float32)
        light = np.asarray(light + np.float32(taken.noise) * grain, np.float32)
    image = np.clip(light + np.float32(0.5), 0, 255).astype(np.uint8)
    return _compressed(image, taken.jpeg)


def _coloured(light: NDArray[np.float32], taken: Nuisance) -> NDArray[np.float32]:
    if taken.saturation != 1.0:
        grey = (light @ _GREY)[:, :, None]
        light = grey + np.float32(taken.saturation) * (light - grey)
    gain = taken.gain * np.array([1 + taken.warmth, 1, 1 - taken.warmth])
    light = np.clip(light * gain.astype(np.float32), 0, 255)
    if taken.gamma == 1.0:
        return light
    # A table is as exact as 8 bits need and far cheaper than a power for every pixel.
    table = (255 * np.linspace(0, 1, 1024) ** taken.gamma).astype(np.float32)
    return np.asarray(table[(light * np.float32(1023 / 255)).astype(np.int16)])


def _blurred(light: NDArray[np.float32], taken: Nuisance, size: int) -> NDArray[np.float32]:
    ratio = size / _REFERENCE_SIZE
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
    # Encoder and decoder agree on the order of the channels, so RGB needs no swap; only which
    # channel is compressed as colour differs, and so we do swap.
    _, code = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[:, :, ::-1], np.uint8)
