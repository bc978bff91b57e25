"""The images of a simulated IJB: embeddings without a network, or loose crops of faces.

An embedding is a person's direction, shifted by the medium (light, pose, age) and by the image
(blur, noise), times a norm. People come in groups that look alike, and few directions carry most of
the variance; both give impostors the heavy upper tail of real ones. Some media and images are far
worse than others, which gives genuine pairs their lower tail.

A crop is a little larger than the part that alignment uses, rotated, off-centre and not square,
like the released ones; aligned by its landmarks it is the image that `render` draws aligned.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from frcore.data.ijb.protocol import Protocol
from frcore.data.pixels.align import TEMPLATE_112
from frcore.data.synthetic.faces.geometry import Placement, landmarks
from frcore.data.synthetic.faces.nuisance import Nuisance
from frcore.data.synthetic.faces.render import render
from frcore.data.synthetic.faces.streams import stream
from frcore.data.synthetic.rendering import Shots, over_cores
from frcore.errors import UserError
from frcore.machine.faults import reserve

Floats = NDArray[np.float32]

_GROUPS = 60
_LIKENESS = 0.08
"""The group's share of a person's direction, in squared length."""

_DECAY = 0.35
"""The standard deviation of direction n falls as n to this (negative) power."""

_MEDIUM, _MEDIUM_SPREAD = 0.8, 0.75
_IMAGE, _IMAGE_SPREAD = 0.65, 0.35
"""Median length of the shift by medium and image of a unit vector, and its logarithm's spread."""

_NORM = 20.0
_BLOCK = 4096

SPLIT = "ijb"
"""The stream of its people, who are in no training set and no other benchmark."""

_JPEG_QUALITY = 92
_MIDDLE = 56 + 64j
"""The middle of a face in an aligned crop of 112 pixels: between eyes and mouth."""


def detections(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Landmarks (N, 5, 2) and scores (N,) like a detector's, for images that do not exist.

    98 % of scores are above 0.9, as in the released list of IJB-B (histogram in ijb_evals.py).
    """
    rng = stream("ijb", seed, "detections")
    size = rng.uniform(0.5, 3, (count, 1, 1))
    points = TEMPLATE_112 * size + rng.normal(0, 2, (count, 5, 2)) * size
    sharp = 1 - 0.02 * np.abs(rng.standard_normal(count))
    blurred = rng.random(count) < 0.02
    return points, np.where(blurred, rng.uniform(0.1, 0.9, count), sharp)


def write_embeddings(
    path: Path, protocol: Protocol, score: NDArray[np.float64], seed: int, dim: int, dtype: str
) -> None:
    """Write one embedding per image of `protocol`, in its order, to `path` as .npy (N, dim).

    Args:
        path: the file; memory use does not grow with N.
        protocol: images and people.
        score: the detector's for each image (N,): a low one makes the embedding worse and shorter.
        seed: of all randomness.
        dim: of the embeddings, at least 8.
        dtype: "float16" or "float32".
    """
    if not 8 <= dim <= 65_536:
        raise UserError(f"--dim {dim}; embeddings have 8 to 65,536 dimensions, usually 512")
    count = len(protocol.template)
    array = open_memmap(path, mode="w+", dtype=dtype, shape=(count, dim))
    reserve(path, path.stat().st_size)
    deviation = np.arange(1, dim + 1, dtype=np.float64) ** -_DECAY
    scale = (deviation / np.linalg.norm(deviation)).astype(np.float32)
    people = _people(protocol.sizes.subjects, scale, seed)
    person = protocol.subject[protocol.template]
    # Blocks of whole media, each with its own stream.
    begins = np.flatnonzero(np.diff(protocol.medium, prepend=-1))
    for first in range(0, len(begins), _BLOCK):
        ends = np.append(begins, count)[first : first + _BLOCK + 1]
        rng = stream("ijb", seed, "embeddings", first)
        medium = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        part = slice(int(ends[0]), int(ends[-1]))
        array[part] = _block(rng, people[person[part]], medium, score[part], scale)
    array.flush()


def _people(count: int, scale: Floats, seed: int) -> Floats:
    """A unit vector for each person (count, dim)."""
    rng = stream("ijb", seed, "people")
    groups = _unit(rng.standard_normal((_GROUPS, len(scale)), np.float32) * scale)
    own = _unit(rng.standard_normal((count, len(scale)), np.float32) * scale)
    group = groups[rng.integers(_GROUPS, size=count)]
    return _unit(np.float32(np.sqrt(_LIKENESS)) * group + np.float32(np.sqrt(1 - _LIKENESS)) * own)


def _block(
    rng: np.random.Generator,
    people: Floats,
    medium: NDArray[np.int64],
    score: NDArray[np.float64],
    scale: Floats,
) -> Floats:
    """Embeddings (B, dim) of images of `people` (B, dim) in the media `medium` (B,)."""
    media = int(medium[-1]) + 1
    moved = rng.standard_normal((media, len(scale)), np.float32) * scale
    moved *= _lengths(rng, media, _MEDIUM, _MEDIUM_SPREAD)
    noise = rng.standard_normal((len(medium), len(scale)), np.float32) * scale
    # A face that was barely detected: up to three times the noise, half the norm.
    doubt = (1 - score).astype(np.float32)[:, None]
    noise *= _lengths(rng, len(medium), _IMAGE, _IMAGE_SPREAD) * (1 + 2 * doubt)
    norm = _NORM * np.exp(0.15 * rng.standard_normal((len(medium), 1), np.float32))
    return np.asarray(_unit(people + moved[medium] + noise) * norm * (1 - 0.5 * doubt), np.float32)


def _lengths(rng: np.random.Generator, count: int, median: float, spread: float) -> Floats:
    logarithm = np.float32(spread) * rng.standard_normal((count, 1), np.float32)
    return np.asarray(median * np.exp(logarithm), np.float32)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def render_crops(
    protocol: Protocol, seed: int, folder: Path, workers: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write `1.jpg` to `N.jpg` into the new `folder`.

    Returns:
        landmarks (N, 5, 2), pixels of each crop, and the detector's scores (N,).
    """
    folder.mkdir()
    shots = Shots(seed, SPLIT, 1.0, protocol.subject[protocol.template].astype(np.int64),
                  protocol.medium.astype(np.int64), np.arange(len(protocol.template)),
                  protocol.video)  # fmt: skip
    tasks = [(part, folder) for _, part in shots.parts()]
    points, scores = zip(*over_cores(_write_crops, tasks, len(shots), workers), strict=True)
    return np.concatenate(points), np.concatenate(scores)


def _write_crops(shots: Shots, folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points, scores = np.empty((len(shots), 5, 2)), np.empty(len(shots))
    for at, number in enumerate(shots.image):
        image, points[at], taken = loose_crop(shots, at)
        scores[at] = _score(taken)
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        (folder / f"{number + 1}.jpg").write_bytes(code.tobytes())
    return points, scores


def loose_crop(shots: Shots, at: int) -> tuple[NDArray[np.uint8], NDArray[np.float64], Nuisance]:
    """Image `at` of `shots`: uint8 (H, W, 3), RGB; landmarks (5, 2); its nuisance parameters."""
    person, taken = shots.person(at), shots.nuisance(at)
    rng = stream("ijb", shots.seed, "crop", int(shots.image[at]))
    # Frames of videos are smaller.
    scale = math.exp(rng.uniform(-0.25, 0.7) - 0.3 * bool(shots.video[at]))
    turn = complex(scale * np.exp(1j * rng.normal(0, 0.12)))
    side = max(80, round(112 * scale * rng.uniform(1.05, 1.45)))
    middle = side * (0.5 + 0.5j) + 0.05 * side * complex(*rng.normal(0, 1, 2))
    width = round(side * rng.uniform(0.85, 1))
    left = int(rng.integers(0, side - width + 1))
    placement = Placement(turn, complex(middle - turn * _MIDDLE))
    kept = render(person, taken, side, placement)[:, left : left + width]
    found = placement.points(landmarks(person, taken)) - left
    return np.ascontiguousarray(kept), np.stack([found.real, found.imag], axis=1), taken


def _score(taken: Nuisance) -> float:
    """A detector's confidence: near 1, lower for turned, blurred, dark and occluded faces."""
    trouble = (4 * abs(taken.yaw) + 2 * abs(taken.pitch) + 0.7 * (taken.blur + taken.motion)
               + 1.5 * (1 - taken.detail) + 2 * (taken.occluder != "none")
               + 2 * max(0.0, 1 - taken.gain))  # fmt: skip
    return 1 / (1 + math.exp(trouble - 8))
