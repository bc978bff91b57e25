"""Independent random streams, each a function of its key alone."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(*key: int | str) -> np.random.Generator:
    """A generator that depends on every part of `key`, on their order, and on nothing else.

    The key is hashed whole, because `SeedSequence` takes [1] and [1, 0] for the same.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
