"""Loose crops of rendered faces, with the landmarks that a detector would find in them.

A crop is a little larger than what alignment cuts from it, turned, off its centre and not square,
as the released ones are; aligned by its landmarks it is the picture that `render` draws aligned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.ijb.simulated.protocol import Protocol
from frcore.data.synthetic.faces.geometry import Placement, landmarks
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.render import render
from frcore.data.synthetic.faces.streams import stream
from frcore.data.synthetic.rendering import Shots, nuisance_of, one_thread, over_cores, person_of

SPLIT = "ijb"
"""The stream of its people, whom no training set and no other benchmark has."""

_CHUNK = 256
_JPEG_QUALITY = 92
_MIDDLE = 56 + 64j
"""Of a face in an aligned crop of 112: between eyes and mouth."""


@dataclass(frozen=True)
class Crop:
    """How a loose crop lies around a face: side of the drawn square, and what is kept of it."""

    placement: Placement
    side: int
    left: int
    width: int


def draw_crop(seed: int, row: int, *, video: bool) -> Crop:
    """The crop of image number `row`: frames of videos are smaller."""
    rng = stream("ijb", seed, "crop", row)
    scale = math.exp(rng.uniform(-0.25, 0.7) - 0.3 * video)
    turn = scale * np.exp(1j * rng.normal(0, 0.12))
    side = max(80, round(112 * scale * rng.uniform(1.05, 1.45)))
    middle = side * (0.5 + 0.5j) + 0.05 * side * complex(*rng.normal(0, 1, 2))
    width = round(side * rng.uniform(0.85, 1))
    left = int(rng.integers(0, side - width + 1))
    return Crop(Placement(complex(turn), complex(middle - turn * _MIDDLE)), side, left, width)


def render_crops(
    protocol: Protocol, seed: int, folder: Path, workers: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write `1.jpg` to `N.jpg` into the new `folder`.

    Returns:
        landmarks (N, 5, 2), pixels of each crop, and the detector's scores (N,).
    """
    folder.mkdir()
    number = np.arange(len(protocol.template))
    shots = Shots(seed, SPLIT, 1.0, protocol.subject[protocol.template].astype(np.int64),
                  protocol.medium.astype(np.int64), number, protocol.video)  # fmt: skip
    tasks = [(shots.part(start, start + _CHUNK), folder)
             for start in range(0, len(shots), _CHUNK)]  # fmt: skip
    parts = over_cores(_render_part, tasks, len(shots), workers)
    points, scores = zip(*parts, strict=True)
    return np.concatenate(points), np.concatenate(scores)


def _render_part(shots: Shots, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = np.empty((len(shots), 5, 2))
    scores = np.empty(len(shots))
    with one_thread():
        for at in range(len(shots)):
            row = int(shots.image[at])
            image, found, taken = loose_crop(shots, at)
            points[at] = found
            scores[at] = _score(taken)
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            (folder / f"{row + 1}.jpg").write_bytes(code.tobytes())
    return points, scores


def loose_crop(shots: Shots, at: int) -> tuple[NDArray[np.uint8], NDArray[np.float64], Nuisance]:
    """Picture number `at` of `shots`: uint8 (H, W, 3), RGB, landmarks (5, 2), how it was taken."""
    person = person_of(shots.seed, shots.split, int(shots.identity[at]))
    taken = nuisance_of(shots, at)
    crop = draw_crop(shots.seed, int(shots.image[at]), video=bool(shots.video[at]))
    image = render(person, taken, crop.side, crop.placement)
    found = crop.placement.points(landmarks(person, taken)) - crop.left
    kept = image[:, crop.left : crop.left + crop.width]
    return np.ascontiguousarray(kept), np.stack([found.real, found.imag], axis=1), taken


def _score(taken: Nuisance) -> float:
    """A detector's confidence: near 1, lower for turned, blurred, dark and covered faces."""
    trouble = (4 * abs(taken.yaw) + 2 * abs(taken.pitch) + 0.7 * (taken.blur + taken.motion)
               + 1.5 * (1 - taken.detail) + 2 * (taken.occluder != "none")
               + 2 * max(0.0, 1 - taken.gain))  # fmt: skip
    return 1 / (1 + math.exp(trouble - 8))
