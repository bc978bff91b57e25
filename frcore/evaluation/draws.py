"""Weights of pairs in the replicates of a bootstrap, computed only where they are asked for.

`frcore.evaluation.resampling` tells which weights, and why. A list of 15.7 million pairs has 10¹⁰
of them in a thousand replicates, and nearly all are needed in one sum alone, the total weight of
the impostor pairs, which needs no list:

- With people drawn, it is Σ n_ab · m_a · m_b over the couples {a, b}, n_ab the number of their
  pairs: mᵀNm, one sparse product for all replicates.
- With couples drawn, the counts c of C couples are multinomial, C draws among C. Let S be the
  couples whose weights are asked for one by one (those of the highest scores) and R the rest. Then
  the number of draws that fall in S is binomial (C, |S|/C); given it, the counts inside S are
  multinomial, and those inside R too, independently. Of R only Σ n_i · c_i is needed, for which
  couples of equally many pairs n can be counted together: the sums of counts over groups of a
  multinomial are multinomial themselves. So one draws |S| couples and a few groups instead of C
  couples, and the weights of S together with the total have the same joint distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from frcore.evaluation.checks import IntArray
from frcore.evaluation.resampling import People

Array = NDArray[Any]
Values = NDArray[np.float64]

REPLICATES = (32, 512)
"""Fewest and most replicates that are drawn at once."""

UNITS = 2**20
"""Counts (units × replicates) to draw at once, where they are fewer than the fewest."""


class NotDrawn(Exception):  # noqa: N818 - not an error: the draws are made again, of all couples
    """A weight was asked for that was not drawn on its own."""


class Weights(Protocol):
    """Integer weights of pairs in r replicates."""

    @property
    def replicates(self) -> int:
        """How many."""
        ...

    def genuine(self, pairs: IntArray) -> Array:
        """Weights of these genuine pairs (n, r); a new array."""
        ...

    def impostor(self, pairs: IntArray) -> Array:
        """Weights of these impostor pairs (n, r); a new array."""
        ...

    def impostor_total(self) -> Values:
        """The sum of the weights of all impostor pairs (r,)."""
        ...

    def genuine_sums(self, values_KP: Array) -> Values:
        """Σ values · weight over the genuine pairs (K, r)."""
        ...

    def impostor_sums(self, values_KP: Array) -> Values:
        """Σ values · weight over the impostor pairs (K, r)."""
        ...


@dataclass
class PeopleWeights:
    """People were drawn: m_a for a genuine pair, m_a · m_b for an impostor pair."""

    people: People
    drawn_IR: NDArray[np.float32]
    _total: Values | None = None

    @property
    def replicates(self) -> int:
        """How many."""
        return self.drawn_IR.shape[1]

    def genuine(self, pairs: IntArray) -> Array:
        """See `Weights`."""
        return np.take(self.drawn_IR, self.people.a[pairs], axis=0)

    def impostor(self, pairs: IntArray) -> Array:
        """See `Weights`."""
        weights = np.take(self.drawn_IR, self.people.a[pairs], axis=0)
        weights *= np.take(self.drawn_IR, self.people.b[pairs], axis=0)
        return weights

    def impostor_total(self) -> Values:
        """See `Weights`."""
        if self._total is None:
            self._total = self._form(self.people.couple_pairs)
        return self._total

    def genuine_sums(self, values_KP: Array) -> Values:
        """See `Weights`."""
        return np.stack([self.people.by_person(row) for row in values_KP]) @ self.drawn_IR

    def impostor_sums(self, values_KP: Array) -> Values:
        """See `Weights`."""
        return np.stack([self._form(self.people.by_couple(row)) for row in values_KP])

    def _form(self, of_couples: Array) -> Values:
        """Σ of_couples · m_a · m_b over couples (r,)."""
        drawn = self.drawn_IR.astype(np.float64)
        matrix = self.people.matrix(of_couples.astype(np.float64))
        return np.einsum("ir,ir->r", drawn, matrix @ drawn)


@dataclass
class CoupleWeights:
    """Couples of impostor pairs were drawn, some of them (S) one by one; genuine pairs weigh 1.

    Attributes:
        people: of the pairs.
        place: the row in `drawn_SR` of each couple (C,), −1 where it was not drawn on its own.
        drawn_SR: how often each couple of S was drawn (S, r).
        rest: the total weight of the pairs of all other couples (r,).
    """

    people: People
    place: NDArray[np.int32]
    drawn_SR: Array
    rest: Values

    @property
    def replicates(self) -> int:
        """How many."""
        return self.drawn_SR.shape[1]

    def genuine(self, pairs: IntArray) -> Array:
        """See `Weights`."""
        return np.ones((pairs.size, self.replicates), dtype=np.float32)

    def impostor(self, pairs: IntArray) -> Array:
        """See `Weights`. Raises NotDrawn for a pair of another couple."""
        rows = self.place[self.people.couple[pairs]]
        if rows.size and rows.min() < 0:
            raise NotDrawn
        return np.take(self.drawn_SR, rows, axis=0).astype(np.float32)

    def impostor_total(self) -> Values:
        """See `Weights`."""
        pairs = self.people.couple_pairs[self.place >= 0].astype(np.float64)
        return self.rest + _product(pairs[None], self.drawn_SR)[0]

    def genuine_sums(self, values_KP: Array) -> Values:
        """See `Weights`."""
        sums = values_KP[:, self.people.same].sum(axis=1, dtype=np.float64)
        return np.repeat(sums[:, None], self.replicates, axis=1)

    def impostor_sums(self, values_KP: Array) -> Values:
        """See `Weights`. Raises NotDrawn unless all couples were drawn on their own."""
        if self.place.size and self.place.min() < 0:
            raise NotDrawn
        return _product(np.stack([self.people.by_couple(row) for row in values_KP]), self.drawn_SR)


def _product(values_KS: Values, counts_SR: Array, block: int = 2**16) -> Values:
    """values @ counts in double precision, without a copy of all counts in it."""
    total = np.zeros((len(values_KS), counts_SR.shape[1]))
    for start in range(0, len(counts_SR), block):
        part = slice(start, start + block)
        total += values_KS[:, part] @ counts_SR[part].astype(np.float64)
    return total


def draw_people(
    people: People, replicates: int, rng: np.random.Generator
) -> Iterator[PeopleWeights]:
    """People drawn with replacement, a few replicates at a time."""
    for count in _portions(replicates, people.count):
        drawn = _counts(rng, people.count, np.full(count, people.count))
        yield PeopleWeights(people, drawn.astype(np.float32))


def draw_couples(
    people: People, replicates: int, rng: np.random.Generator, needed: IntArray | None = None
) -> Iterator[CoupleWeights]:
    """Couples of impostor pairs drawn with replacement, a few replicates at a time.

    Args:
        people: of the pairs.
        replicates: how many in all.
        rng: draws them.
        needed: the couples to draw one by one; None: all. More than half of them is all too, in
            which case the draws are the same as those of all.
    """
    couples = people.couples
    if needed is None or 2 * needed.size > couples:
        needed = np.arange(couples)
    place = np.full(couples, -1, dtype=np.int32)
    place[needed] = np.arange(needed.size, dtype=np.int32)
    for count in _portions(replicates, needed.size):
        inside, rest = np.full(count, couples), np.zeros(count)
        if needed.size < couples:
            inside = rng.binomial(couples, needed.size / couples, size=count)
            rest = _rest(rng, people.couple_pairs[place < 0], couples - inside)
        yield CoupleWeights(people, place, _counts(rng, needed.size, inside), rest)


def _rest(rng: np.random.Generator, pairs: IntArray, draws: IntArray) -> Values:
    """Σ pairs · count when `draws` (r,) fall on couples with so many `pairs`: (r,)."""
    sizes, couples = np.unique(pairs, return_counts=True)
    counts = rng.multinomial(draws, couples / couples.sum()).astype(np.float64)
    return counts @ sizes.astype(np.float64)


def _portions(total: int, units: int) -> Iterator[int]:
    size = int(np.clip(UNITS // max(units, 1), *REPLICATES))
    for start in range(0, total, size):
        yield min(size, total - start)


def _counts(rng: np.random.Generator, units: int, draws: IntArray) -> Array:
    """How often each of `units` comes up in so many draws, with replacement: (units, r)."""
    counts = np.empty((draws.size, units), dtype=np.uint8)
    for row, number in enumerate(draws):
        found = np.bincount(rng.integers(units, size=number), minlength=units)
        if found.max(initial=0) > np.iinfo(counts.dtype).max:
            counts = counts.astype(np.uint32)
        counts[row] = found
    return np.ascontiguousarray(counts.T)
