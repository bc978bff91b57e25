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

The weights themselves are in `frcore.evaluation.intervals.draws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, IntArray

MIN_IDENTITIES = 10

Codes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class People:
    """Who is in each pair.

    Attributes:
        same: True for genuine pairs (P,).
        a, b: codes of people, 0 … count − 1 (P,).
        couple: code of the couple of an impostor pair, 0 … couples − 1; 0 for genuine pairs (P,).
        count: how many people there are.
        couple_a, couple_b: the two people of each couple (C,), the lower code first, ascending.
        couple_pairs: how many impostor pairs each couple has (C,).
    """

    same: BoolArray
    a: Codes
    b: Codes
    couple: Codes
    count: int
    couple_a: Codes
    couple_b: Codes
    couple_pairs: IntArray

    @property
    def couples(self) -> int:
        """How many couples have an impostor pair."""
        return self.couple_pairs.size

    @cached_property
    def genuine_rows(self) -> IntArray:
        """The genuine pairs (G,)."""
        return np.flatnonzero(self.same)

    @property
    def genuine(self) -> int:
        """How many people have a genuine pair."""
        return np.unique(self.a[self.genuine_rows]).size

    @cached_property
    def overlap(self) -> float:
        """The share f of combinations of two pairs of one kind that have a person in common.

        The larger of those of genuine and of impostor pairs.
        """
        genuine_rows = self.genuine_rows
        impostors = self.same.size - genuine_rows.size
        in_genuine = np.bincount(self.a[genuine_rows], minlength=self.count)
        pairs = self.couple_pairs.astype(np.float64)
        in_impostor = np.bincount(self.couple_a, pairs, self.count)
        in_impostor += np.bincount(self.couple_b, pairs, self.count)
        # A combination that has both people in common was counted for each of them.
        shared = np.square(in_impostor).sum() - np.square(pairs).sum()
        genuine = np.square(in_genuine).sum() / genuine_rows.size**2
        return float(max(genuine, shared / impostors**2))

    def by_person(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of `values` (P,) over the genuine pairs of each person (I,)."""
        rows = self.genuine_rows
        sums = np.bincount(self.a[rows], values[rows], self.count)
        return sums.astype(np.float64)

    def by_couple(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of `values` (P,) over the impostor pairs of each couple (C,)."""
        # Genuine pairs stand with couple 0, so they must weigh nothing.
        weights = np.where(self.same, 0.0, values)
        return np.bincount(self.couple, weights, self.couples).astype(np.float64)

    def matrix(self, of_couples: NDArray[Any]) -> sparse.csr_array:
        """`of_couples` (C,) as people × people, each couple once, above the diagonal."""
        rows = np.flatnonzero(of_couples)
        starts = np.searchsorted(self.couple_a[rows], np.arange(self.count + 1))
        return sparse.csr_array(
            (of_couples[rows], self.couple_b[rows], starts), shape=(self.count, self.count)
        )


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
    a, b, count = _codes(given_a, given_b)
    if count < MIN_IDENTITIES:
        raise UserError(
            f"{count} people are too few for a bootstrap over people, which needs at least "
            f"{MIN_IDENTITIES}; use a larger benchmark"
        )
    couple, keys, pairs = _couples(same, a, b, count)
    return People(
        same, a, b, couple, count,
        couple_a=(keys // count).astype(np.int32),
        couple_b=(keys % count).astype(np.int32),
        couple_pairs=pairs,
    )  # fmt: skip


def _few(largest: int, pairs: int) -> bool:
    """Whether a table with a place for each number up to `largest` is small beside the pairs."""
    return largest <= 4 * pairs + 2**16


def _codes(given_a: NDArray[Any], given_b: NDArray[Any]) -> tuple[Codes, Codes, int]:
    """The rank of each identity among those that occur, on both sides, and how many do."""
    sides = (given_a, given_b)
    integers = all(side.dtype.kind in "iu" for side in sides)
    if integers and min(side.min() for side in sides) >= 0:
        largest = int(max(side.max() for side in sides))
        # Sorting 31 million codes takes seconds, a table of those that occur a tenth of it.
        if _few(largest, given_a.size):
            occurs = np.zeros(largest + 1, dtype=np.bool_)
            for side in sides:
                occurs[side] = True
            rank = (np.cumsum(occurs) - 1).astype(np.int32)
            return rank[given_a], rank[given_b], int(rank[-1]) + 1
    names, places = np.unique(np.concatenate(sides), return_inverse=True)
    codes = places.astype(np.int32)
    return codes[: given_a.size], codes[given_a.size :], names.size


def _couples(same: BoolArray, a: Codes, b: Codes, count: int) -> tuple[Codes, IntArray, IntArray]:
    """The couple of each pair (P,), the keys a · count + b of couples (C,), and their pairs."""
    kind = np.int32 if count * count < 2**31 else np.int64
    keys = np.minimum(a, b, dtype=kind)
    keys *= count
    keys += np.maximum(a, b)
    if _few(count * count, same.size):
        pairs_of = np.bincount(keys[~same], minlength=count * count)
        found = np.flatnonzero(pairs_of)
        place = np.zeros(count * count, dtype=np.int32)
        place[found] = np.arange(found.size, dtype=np.int32)
        return place[keys], found, pairs_of[found]
    couple = np.zeros(same.size, dtype=np.int32)
    found, couple[~same], pairs = np.unique(keys[~same], return_inverse=True, return_counts=True)
    return couple, found.astype(np.int64), pairs
