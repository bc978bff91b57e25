"""Independent random streams, each a function of its key alone."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import DTypeLike, NDArray


class _Digest(ISeedSequence):
    """The sha256 of a key as the seed: already mixed, and much cheaper than `SeedSequence`."""

    def __init__(self, digest: bytes):
        self._digest = digest

    def generate_state(self, n_words: int, dtype: DTypeLike = np.uint32) -> NDArray[Any]:
        words = np.frombuffer(self._digest, dtype)
        if n_words > len(words):
            raise ValueError(f"a digest has {len(words)} words of {dtype}, not {n_words}")
        return words[:n_words]


def stream(*key: int | str) -> np.random.Generator:
    """A generator that depends on the parts of `key` and their order, and on nothing else."""
    digest = _Digest(hashlib.sha256(repr(key).encode()).digest())
    # numpy's annotations allow only SeedSequence, its constructors any ISeedSequence.
    return np.random.Generator(np.random.PCG64(digest))  # type: ignore[arg-type]
