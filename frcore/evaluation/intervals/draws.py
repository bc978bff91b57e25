"""Weights of pairs in the replicates of a bootstrap, computed only where they are asked for.

`frcore.evaluation.intervals.resampling` tells which weights, and why. A list of 15.7 million pairs
has 10¹⁰ of them in a thousand replicates. Nearly all are needed in a few sums alone, over sets of
pairs that are fixed beforehand (all impostor pairs; those of scores far above the threshold), and
sums need no list:

- With people drawn, a set's sum is Σ n_ab · m_a · m_b over couples {a, b}, n_ab the number of their
  pairs in the set: mᵀNm, one sparse product for all replicates.
- With couples drawn, the counts c of C couples are multinomial, C draws among C. Let S be the
  couples that have a pair whose weight is asked for by itself, R the rest. The number of draws in S
  is binomial (C, |S|/C); given it, the counts inside S are multinomial, and so are those inside R,
  independently of them. Of R only the sums Σ n_i · c_i over the sets are needed, for which couples
  with equally many pairs in every set can be counted together: sums of counts over groups of a
  multinomial are multinomial themselves. So |S| couples and a few groups are drawn instead of C
  couples, and all that is asked for has the same joint distribution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from frcore.evaluation.inputs import IntArray
from frcore.evaluation.intervals.resampling import People

Array = NDArray[Any]
Values = NDArray[np.float64]

REPLICATES = (32, 512)
"""Fewest and most replicates that are drawn at once."""

UNITS = 2**20
"""Counts (units × replicates) that are drawn at once, within these bounds."""


@dataclass(frozen=True, eq=False)
class PairSet:
    """Impostor pairs whose weights are only asked for as one sum; None: all of them."""

    pairs: IntArray | None

    def of_couples(self, people: People) -> IntArray:
        """How many of the pairs each couple has (C,)."""
        if self.pairs is None:
            return people.couple_pairs
        return np.bincount(people.couple[self.pairs], minlength=people.couples)


ALL = PairSet(None)


EXACT = 2**12
"""Weights of fewer pairs than this add up exactly in single precision: none is above 2¹²."""

COUPLES = 2**12
"""So many couples' weights are formed at once: 16 MiB of them."""

FEW_COUPLES = 2**15
"""So many couples are all drawn one by one: it is quick, and the draws do not depend on the FAR."""


class NotDrawn(Exception):  # noqa: N818 - not an error: the draws are made again, of all couples
    """A weight was asked for that was not drawn on its own."""


class ThresholdWeights(Protocol):
    """Integer weights of pairs in r replicates, as a search for a threshold asks for them."""

    @property
    def replicates(self) -> int:
        """How many."""

    @property
    def genuine_alike(self) -> bool:
        """Whether every genuine pair weighs 1."""

    def genuine(self, pairs: IntArray) -> Array:
        """Weights of these genuine pairs (n, r); a new array."""

    def impostor(self, pairs: IntArray) -> Array:
        """Weights of these impostor pairs (n, r); a new array."""

    @property
    def genuine_total(self) -> Values:
        """The sum of the weights of all genuine pairs (r,)."""

    def genuine_sum(self, pairs: IntArray) -> Values:
        """The sum of the weights of these genuine pairs (r,)."""

    def impostor_sum(self, pairs: PairSet) -> Values:
        """The sum of the weights of these impostor pairs (r,)."""


class Weights(ThresholdWeights, Protocol):
    """Also sums of given values, as a metric without a threshold of its own asks for."""

    def genuine_sums(self, values_KP: Array) -> Values:
        """Σ values · weight over the genuine pairs (K, r)."""

    def impostor_sums(self, values_KP: Array) -> Values:
        """Σ values · weight over the impostor pairs (K, r)."""


@dataclass
class PeopleWeights:
    """People were drawn: m_a for a genuine pair, m_a · m_b for an impostor pair."""

    people: People
    drawn_IR: NDArray[np.float32]
    genuine_alike: ClassVar = False
    _sums: dict[PairSet, Values] = field(default_factory=dict)

    @cached_property
    def _precise(self) -> Values:
        """The draws in double precision: a sum may have more pairs than single can count."""
        return self.drawn_IR.astype(np.float64)

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

    def genuine_sum(self, pairs: IntArray) -> Values:
        """See `Weights`."""
        counts = np.bincount(self.people.a[pairs], minlength=self.people.count)
        if pairs.size < EXACT:
            return (counts.astype(np.float32) @ self.drawn_IR).astype(np.float64)
        return counts @ self._precise

    @cached_property
    def genuine_total(self) -> Values:
        """See `Weights`."""
        return self.genuine_sum(self.people.genuine_rows)

    def impostor_sum(self, pairs: PairSet) -> Values:
        """See `Weights`."""
        if pairs.pairs is not None and pairs.pairs.size < min(self.people.count, EXACT):
            return self.impostor(pairs.pairs).sum(axis=0, dtype=np.float64)
        if pairs not in self._sums:
            matrix = self.people.matrix(pairs.of_couples(self.people).astype(np.float64))
            self._sums[pairs] = np.einsum("ir,ir->r", self._precise, matrix @ self._precise)
        return self._sums[pairs]

    def genuine_sums(self, values_KP: Array) -> Values:
        """See `Weights`."""
        return np.stack([self.people.by_person(row) for row in values_KP]) @ self._precise

    def impostor_sums(self, values_KP: Array) -> Values:
        """See `Weights`."""
        # Weights of couples are formed once for all rows, a few couples at a time.
        values_KC = np.stack([self.people.by_couple(row) for row in values_KP])
        total = np.zeros((len(values_KC), self.replicates))
        for start in range(0, values_KC.shape[1], COUPLES):
            part = slice(start, start + COUPLES)
            weights = self._precise[self.people.couple_a[part]]
            weights *= self._precise[self.people.couple_b[part]]
            # Sparse, as most couples have no wrong pair.
            total += sparse.csr_array(values_KC[:, part]) @ weights
        return total


@dataclass
class CoupleWeights:
    """Couples of impostor pairs were drawn, some of them (S) one by one; genuine pairs weigh 1.

    Attributes:
        people: of the pairs.
        place: the row in `drawn_SR` of each couple (C,), −1 where it was not drawn on its own.
        drawn_SR: how often each couple of S was drawn (S, r).
        sums: the weight of all pairs of each set that was asked for, (r,) each.
    """

    people: People
    place: NDArray[np.int32]
    drawn_SR: Array
    sums: Mapping[PairSet, Values]
    genuine_alike: ClassVar = True

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

    def impostor_sum(self, pairs: PairSet) -> Values:
        """See `Weights`. Raises NotDrawn for a set that was not asked for when drawing."""
        if pairs not in self.sums:
            raise NotDrawn
        return self.sums[pairs]

    @property
    def genuine_total(self) -> Values:
        """See `Weights`."""
        return self.genuine_sum(self.people.genuine_rows)

    def genuine_sum(self, pairs: IntArray) -> Values:
        """See `Weights`."""
        return np.full(self.replicates, float(pairs.size))

    def genuine_sums(self, values_KP: Array) -> Values:
        """See `Weights`."""
        sums = values_KP[:, self.people.same].sum(axis=1, dtype=np.float64)
        return np.repeat(sums[:, None], self.replicates, axis=1)

    def impostor_sums(self, values_KP: Array) -> Values:
        """See `Weights`. Raises NotDrawn unless all couples were drawn on their own."""
        if self.place.size and self.place.min() < 0:
            raise NotDrawn
        return _product(np.stack([self.people.by_couple(row) for row in values_KP]), self.drawn_SR)


def _product(values_KS: Values, counts_SR: Array) -> Values:
    """values @ counts in double precision, without a copy of all counts in it."""
    total = np.zeros((len(values_KS), counts_SR.shape[1]))
    for start in range(0, len(counts_SR), 2**16):
        part = slice(start, start + 2**16)
        # Sparse, as most couples have no pair in most sets.
        total += sparse.csr_array(values_KS[:, part]) @ counts_SR[part].astype(np.float64)
    return total


def draw_people(
    people: People, replicates: int, rng: np.random.Generator
) -> Iterator[PeopleWeights]:
    """People drawn with replacement, a few replicates at a time."""
    for count in _portions(replicates, people.count):
        drawn = draw_counts(rng, people.count, np.full(count, people.count))
        yield PeopleWeights(people, drawn.astype(np.float32))


def draw_couples(
    people: People,
    replicates: int,
    rng: np.random.Generator,
    pairs: IntArray | None = None,
    sets: Sequence[PairSet] = (),
) -> Iterator[CoupleWeights]:
    """Couples of impostor pairs drawn with replacement, a few replicates at a time.

    Args:
        people: of the pairs.
        replicates: how many in all.
        rng: draws them.
        pairs: impostor pairs whose couples are drawn one by one; None: all couples are. Where it
            would save little, all are too, and the draws are those with None.
        sets: whose sums will be asked for; that of all impostor pairs always can be.
    """
    couples = people.couples
    if couples <= FEW_COUPLES:
        pairs = None
    sets = (ALL, *sets)
    of_couples = {one: one.of_couples(people) for one in sets}
    alone = np.ones(couples, dtype=np.bool_)
    if pairs is not None:
        alone[:] = False
        alone[people.couple[pairs]] = True
    groups = _Groups.of(~alone, list(of_couples.values()))
    if groups is None:
        alone[:] = True
    place = np.full(couples, -1, dtype=np.int32)
    needed = np.flatnonzero(alone)
    place[needed] = np.arange(needed.size, dtype=np.int32)
    values_KS = np.stack([counts[needed] for counts in of_couples.values()]).astype(np.float64)
    for count in _portions(replicates, needed.size):
        inside = np.full(count, couples)
        if groups is not None:
            inside = rng.binomial(couples, needed.size / couples, size=count)
        drawn = draw_counts(rng, needed.size, inside)
        sums = _product(values_KS, drawn)
        if groups is not None:
            sums += groups.sums(rng, couples - inside)
        yield CoupleWeights(people, place, drawn, dict(zip(sets, sums, strict=True)))


@dataclass(frozen=True)
class _Groups:
    """Couples with equally many pairs in every set.

    Attributes:
        share: of all couples outside S that are in each group (K,).
        pairs: how many pairs each of them has in each set (M, K).
    """

    share: Values
    pairs: Values

    @classmethod
    def of(cls, rest: NDArray[np.bool_], of_sets: Sequence[IntArray]) -> _Groups | None:
        """The groups of the couples in `rest`; None where drawing them saves nothing."""
        members = np.flatnonzero(rest)
        if 2 * members.size < rest.size:
            return None
        code = np.zeros(members.size, dtype=np.int64)
        for pairs in of_sets:
            if not pairs.any():
                continue
            code = code * (int(pairs.max(initial=0)) + 1) + pairs[members]
            _, first, code, sizes = np.unique(
                code, return_index=True, return_inverse=True, return_counts=True
            )
            # A group's count costs some ten times as much as one couple's.
            if 10 * first.size > members.size:
                return None
        kept = members[first]
        share = sizes / members.size
        return cls(share, np.stack([pairs[kept] for pairs in of_sets]).astype(np.float64))

    def sums(self, rng: np.random.Generator, draws: IntArray) -> Values:
        """Σ pairs · count in each set where `draws` (r,) fall on these couples: (M, r)."""
        return self.pairs @ rng.multinomial(draws, self.share).T.astype(np.float64)


def _portions(total: int, units: int) -> Iterator[int]:
    size = int(np.clip(UNITS // max(units, 1), *REPLICATES))
    for start in range(0, total, size):
        yield min(size, total - start)


def draw_counts(rng: np.random.Generator, units: int, draws: IntArray) -> Array:
    """How often each of `units` comes up in so many draws, with replacement: (units, r)."""
    counts = np.empty((draws.size, units), dtype=np.uint8)
    for row, number in enumerate(draws):
        found = np.bincount(rng.integers(units, size=number), minlength=units)
        if found.max(initial=0) > np.iinfo(counts.dtype).max:
            counts = counts.astype(np.uint32)
        counts[row] = found
    return np.ascontiguousarray(counts.T)
