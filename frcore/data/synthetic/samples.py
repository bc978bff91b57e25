"""Samples of synthetic identities: small vectors of bytes instead of pictures.

A sample is seen through a fixed random map. Identity and nuisance factors are mixed by random
projections, and each is folded (a triangle wave), so that no linear layer undoes it:

    z = quality · code + spread · deviation      what the sample tells of its identity, (CODE,)
    x = fold(A · (z, nuisance) + b)              what the network sees, bytes (3 · size²,)

All numbers are integers, and all sums of products stay below 2²⁴, where float32 is exact in any
order. So the bytes are the same on every machine, with every library and number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from frcore.data.synthetic.faces.streams import stream

CODE = 32
"""Factors of an identity."""
NUISANCE = 16
"""Factors of a sample that have nothing to do with its identity."""

DEVIATION, NUISANCES = 96, 384
"""Spread of a person's samples around their code, and of the nuisances, at difficulty 1, in 256ths
of the spread of codes."""

_ONE = 256
_TO_FACTOR, _TO_WEIGHT = 10, 13
"""Bits that are dropped of a sum of 18: factors have a standard deviation of 37, weights of 4.6."""
_SLOPE = 32
"""Projections per grey level: a fold is 2 · 255 · 8 wide, three standard deviations."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROWS = 2048
"""Samples made at a time: what they need then stays in the processor's cache."""

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Samples:
    """A function from (identity, number) to a sample.

    Attributes:
        seed, split: whose people; those of two splits or seeds are never the same.
        difficulty: multiplies deviations and nuisances.
        quality_spread: the quality of a sample is uniform between 1 - this and 1.
        size: a sample has 3 · size² bytes, in the shape of an image.
    """

    seed: int
    split: str
    difficulty: float
    quality_spread: float
    size: int

    def draw(self, identity: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Samples uint8 (N, size, size, 3).

        Args:
            identity: of each (N,).
            number: which one of that identity (N,), below 2³².
        """
        seen = np.empty((len(identity), 3 * self.size**2), np.uint8)
        weights, shift = _map(seen.shape[1])
        for rows in _parts(len(identity)):
            code, nuisance = self._factors(identity[rows], number[rows])
            projected = np.concatenate([code, nuisance], axis=1) @ weights
            projected += shift
            seen[rows] = _folded(projected)
        return seen.reshape(-1, self.size, self.size, 3)

    def latent(self, identity: NDArray[np.int64], number: NDArray[np.int64]) -> NDArray[np.float32]:
        """What each sample tells of its identity (N, CODE), which no network can know better."""
        return self._factors(identity, number)[0]

    def quality(
        self, identity: NDArray[np.int64], number: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The quality of each sample (N,): 1 is best, and 0 says nothing of the identity."""
        return self._quality(self._sample_words(identity, number)[:, -1])

    def _quality(self, words: Words) -> NDArray[np.float32]:
        loss = (words >> np.uint64(48)) * np.uint64(round(self.quality_spread * _ONE))
        return np.float32(1) - (loss >> np.uint64(16)).astype(np.float32) / np.float32(_ONE)

    def _sample_words(self, identity: NDArray[np.int64], number: NDArray[np.int64]) -> Words:
        counter = (identity.astype(np.uint64) << np.uint64(32)) + number.astype(np.uint64)
        return _words(_key("sample", self.seed, self.split), counter, CODE + NUISANCE + 1)

    def _factors(
        self, identity: NDArray[np.int64], number: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Code as the sample shows it (N, CODE), and nuisances (N, NUISANCE): whole numbers."""
        of_code = _words(_key("code", self.seed, self.split), identity.astype(np.uint64), CODE)
        words = self._sample_words(identity, number)
        own = _normal(words[:, :-1], _TO_FACTOR)
        own[:, :CODE] *= round(DEVIATION * self.difficulty) / _ONE
        own[:, CODE:] *= round(NUISANCES * self.difficulty) / _ONE
        code = _normal(of_code, _TO_FACTOR) * self._quality(words[:, -1])[:, None]
        return np.rint(code + own[:, :CODE]), np.rint(own[:, CODE:])


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, count, _ROWS))


@lru_cache
def _key(*key: int | str) -> np.uint64:
    return stream("synthetic identities", *key).integers(2**64, dtype=np.uint64)


@lru_cache
def _map(outputs: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (CODE + NUISANCE, outputs) and shifts (outputs,), the same for all data sets."""
    words = _words(_key("map"), np.arange(outputs, dtype=np.uint64), CODE + NUISANCE + 1)
    weights = _normal(words[:, :-1], _TO_WEIGHT).T.copy()
    shift = (words[:, -1] % np.uint64(2 * 255 * _SLOPE)).astype(np.float32)
    return weights, shift


def _folded(projected: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A triangle wave of whole numbers, from 0 to 255 and back."""
    half = 255 * _SLOPE
    place = projected.astype(np.int32) % (2 * half)
    return (np.abs(place - half) // _SLOPE).astype(np.uint8)


def _words(key: np.uint64, counter: Words, count: int) -> Words:
    """Random 64-bit words (N, count), each row a function of `key` and its counter alone.

    Each row is the sequence of a SplitMix64 generator (Steele, Lea, Flood, OOPSLA 2014).
    """
    state = _mixed(counter * _GOLDEN + key)
    return _mixed(state[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)


def _mixed(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _normal(words: Words, dropped: int) -> NDArray[np.float32]:
    """The sum of a word's four 16-bit parts, centred, without its lowest bits: almost normal."""
    low = np.uint64(0x0000FFFF0000FFFF)
    pairs = (words & low) + ((words >> np.uint64(16)) & low)
    sums = ((pairs & np.uint64(0xFFFFFFFF)) + (pairs >> np.uint64(32))).astype(np.int32)
    return ((sums - 2 * 0xFFFF) >> dropped).astype(np.float32)
