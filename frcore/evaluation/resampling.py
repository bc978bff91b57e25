"""Weights of a bootstrap over people, for pairs that share them.

A pair of person a with person b is not independent of a pair of a with c, so resampling pairs gives
intervals that are too narrow. Here people are drawn with replacement; person i comes up m_i times
(multinomial), and a pair weighs m_a if it is genuine, m_a · m_b if it is an impostor pair (the
number of such pairs among the drawn people).

Two pairs that share one person then co-vary by 1, as they should. But an impostor pair co-varies
with itself (and with other pairs of the same two people) by (1 + 1)² − 1 = 3 where the variance of
the data has 1 (Owen, "The pigeonhole bootstrap", 2007): where people take part in few pairs, as in
LFW's list, the plain product doubles variances or worse. So its variance V₁ is corrected to
V₁ − 2·V₂, with V₂ that of resampling the impostor pairs' couples {a, b} as independent units, which
is just the part counted three times instead of once.

Replicates vary about the sample's own mean, which is nearer to the sample than the truth is. That
hides a share of the variance, the share f of (pair, pair) combinations with a person in common:
4/I if all couples of I people are compared, next to nothing in LFW. So variances are divided by
1 − f, as the sample variance is by 1 − 1/n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError
from frcore.evaluation.checks import BoolArray, IntArray

CHUNK_ELEMENTS = 4_000_000
"""Weights held at once; 16 MB in float32."""

MIN_IDENTITIES = 10


@dataclass(frozen=True)
class People:
    """Who is in each pair: codes 0 … count − 1 (P,), couples of impostor pairs, and the labels."""

    same: BoolArray
    a: IntArray
    b: IntArray
    couple: IntArray
    count: int
    couples: int

    @property
    def genuine(self) -> int:
        """How many people have a genuine pair."""
        return np.unique(self.a[self.same]).size

    @property
    def overlap(self) -> float:
        """The share f of combinations of two pairs of one kind that have a person in common.

        The larger of those of genuine and of impostor pairs.
        """
        impostor = ~self.same
        in_genuine = np.bincount(self.a[self.same], minlength=self.count)
        in_impostor = np.bincount(np.concatenate([self.a[impostor], self.b[impostor]]))
        of_couple = np.bincount(self.couple[impostor])
        # A combination that has both people in common was counted for each of them.
        shared = np.square(in_impostor).sum() - np.square(of_couple).sum()
        genuine = np.square(in_genuine).sum() / self.same.sum() ** 2
        return float(max(genuine, shared / impostor.sum() ** 2))


def people_of_pairs(same: BoolArray, identity_a: ArrayLike, identity_b: ArrayLike) -> People:
    """Check and recode the identities of pairs (P,), which can be any integers or strings.

    Raises:
        UserError: other lengths, a genuine pair of two people or an impostor pair of one, or fewer
            than `MIN_IDENTITIES` people, too few to resample.
    """
    given_a, given_b = np.asarray(identity_a), np.asarray(identity_b)
    if given_a.shape != same.shape or given_b.shape != same.shape:
        raise UserError(
            f"identities have shapes {given_a.shape} and {given_b.shape}, but there are "
            f"{same.size} pairs; give the person on each side of each pair"
        )
    wrong = np.flatnonzero((given_a == given_b) != same)
    if wrong.size:
        row = wrong[0]
        kind = "genuine" if same[row] else "impostor"
        raise UserError(
            f"pair {row} is labelled {kind}, but its people are {given_a[row]} and {given_b[row]}; "
            "labels and identities must come from the same protocol"
        )
    names, codes = np.unique(np.concatenate([given_a, given_b]), return_inverse=True)
    if names.size < MIN_IDENTITIES:
        raise UserError(
            f"{names.size} people are too few for a bootstrap over people, which needs at least "
            f"{MIN_IDENTITIES}; use a larger benchmark"
        )
    a, b = codes[: same.size].astype(np.int64), codes[same.size :].astype(np.int64)
    couple = np.zeros(same.size, dtype=np.int64)
    keys = np.minimum(a, b)[~same] * names.size + np.maximum(a, b)[~same]
    found, couple[~same] = np.unique(keys, return_inverse=True)
    return People(same, a, b, couple, names.size, found.size)


def _multiplicities(
    rng: np.random.Generator, units: int, replicates: int, dtype: type
) -> NDArray[Any]:
    """How often each of `units` is drawn in `units` draws with replacement: (units, replicates)."""
    draws = rng.integers(units, size=(replicates, units))
    draws += np.arange(replicates)[:, None] * units
    counts = np.bincount(draws.ravel(), minlength=replicates * units)
    return np.ascontiguousarray(counts.reshape(replicates, units).T.astype(dtype))


def _chunks(total: int, pairs: int) -> Iterator[int]:
    size = max(1, min(total, CHUNK_ELEMENTS // pairs))
    for start in range(0, total, size):
        yield min(size, total - start)


def _dtype(pairs: int) -> type:
    # float32 counts exactly to 2^24; weights are 1 on average, and sums of them must stay exact.
    return np.float32 if pairs < 2**22 else np.float64


def people_weights(
    people: People, replicates: int, rng: np.random.Generator
) -> Iterator[NDArray[Any]]:
    """Weights of the pairs when people are drawn with replacement, in chunks (P, r)."""
    for count in _chunks(replicates, people.same.size):
        drawn = _multiplicities(rng, people.count, count, _dtype(people.same.size))
        weights = drawn[people.a]
        weights[~people.same] *= drawn[people.b[~people.same]]
        yield weights


def couple_weights(
    people: People, replicates: int, rng: np.random.Generator
) -> Iterator[NDArray[Any]]:
    """Weights when only the couples of impostor pairs are drawn, as if independent: (P, r)."""
    for count in _chunks(replicates, people.same.size):
        drawn = _multiplicities(rng, people.couples, count, _dtype(people.same.size))
        weights = drawn[people.couple]
        weights[people.same] = 1
        yield weights
