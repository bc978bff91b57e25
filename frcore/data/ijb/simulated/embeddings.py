"""Embeddings that score as real ones do, without a network or a picture.

An embedding is the direction of a person, moved by the medium (light, pose, age) and by the image
(blur, noise), times a norm. People come in groups that look alike, and few directions carry most of
the variance; both give impostors the heavy upper tail that real ones have. Some media and images
are far worse than others, which gives genuine pairs theirs below.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from frcore.data.ijb.simulated.protocol import Protocol
from frcore.data.synthetic.faces.streams import stream
from frcore.errors import UserError
from frcore.machine.faults import reserve

Floats = NDArray[np.float32]

_GROUPS = 60
_LIKENESS = 0.08
"""Share of a person's direction, in squared length, that is the group's."""

_DECAY = 0.35
"""Directions' standard deviations fall as their number to this power."""

_MEDIUM, _MEDIUM_SPREAD = 0.8, 0.75
_IMAGE, _IMAGE_SPREAD = 0.65, 0.35
"""Median length of what medium and image add to a unit vector, and the spread of its logarithm."""

_NORM = 20.0
_BLOCK = 4096


def write_embeddings(
    path: Path, protocol: Protocol, score: NDArray[np.float64], seed: int, dim: int, dtype: str
) -> None:
    """Write one embedding per image of `protocol`, in its order, to `path` as .npy (N, dim).

    Args:
        path: the file; memory beyond it does not grow with N.
        protocol: images and people.
        score: the detector's for each image (N,): a low one makes the embedding worse and shorter.
        seed: of all that is drawn.
        dim: of the embeddings, at least 8.
        dtype: "float16" or "float32".
    """
    if not 8 <= dim <= 65_536:
        raise UserError(f"--dim {dim}; embeddings have 8 to 65,536 dimensions, usually 512")
    count = len(protocol.template)
    array = open_memmap(path, mode="w+", dtype=dtype, shape=(count, dim))
    reserve(path, path.stat().st_size)
    scale = _direction_scale(dim)
    people = _people(protocol.sizes.subjects, scale, seed)
    person = protocol.subject[protocol.template]
    # Blocks of whole media, each with a stream of its own.
    begins = np.flatnonzero(np.diff(protocol.medium, prepend=-1))
    for first in range(0, len(begins), _BLOCK):
        own = begins[first : first + _BLOCK]
        stop = begins[first + _BLOCK] if first + _BLOCK < len(begins) else count
        rng = stream("ijb", seed, "embeddings", first)
        medium = np.repeat(np.arange(len(own)), np.diff(np.append(own, stop)))
        part = slice(int(own[0]), int(stop))
        array[part] = _block(rng, people[person[part]], medium, score[part], scale)
    array.flush()


def _direction_scale(dim: int) -> Floats:
    """Standard deviation of each direction (dim,); the squares sum to 1."""
    scale = np.arange(1, dim + 1, dtype=np.float64) ** -_DECAY
    return np.asarray(scale / np.linalg.norm(scale), np.float32)


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
    # A face that the detector hardly found: up to three times the noise, half the norm.
    doubt = (1 - score).astype(np.float32)[:, None]
    noise *= _lengths(rng, len(medium), _IMAGE, _IMAGE_SPREAD) * (1 + 2 * doubt)
    norm = _NORM * np.exp(0.15 * rng.standard_normal((len(medium), 1), np.float32))
    return np.asarray(_unit(people + moved[medium] + noise) * norm * (1 - 0.5 * doubt), np.float32)


def _lengths(rng: np.random.Generator, count: int, median: float, spread: float) -> Floats:
    logarithm = np.float32(spread) * rng.standard_normal((count, 1), np.float32)
    return np.asarray(median * np.exp(logarithm), np.float32)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
