"""The variance of a metric over test people when pairs share people: dyadic clustering.

A pair of person a with person b is not independent of a pair of a with c, so a variance over pairs
is too small. To first order a metric deviates from its expectation by Σ ψ over trials (pairs or
searches), where ψ is each one's influence: for a share of trials, w · (event − share). With ψ_i the
sum over the trials of person i and ψ_ij the sum over the impostor pairs of two people,

    V = Σ_i ψ_i² − Σ_ij ψ_ij²

is the sum of ψψ' over all combinations of trials with a person in common: those of one dyad (pair
of people) have two and are counted twice in the first sum (Fafchamps & Gubert 2007; Aronow, Samii &
Assenova 2015, "Cluster-robust variance estimation for dyadic data"). The influence on a difference
of two metrics is the difference of their influences, so one matrix of products gives the variance
of every mean and difference of runs.

Trials vary about the sample's own mean, which is closer to them than the true mean. That hides a
share f of the variance, the share of combinations of trials with a person in common: 4/I if all
dyads of I people are compared, next to nothing in LFW. So variances are divided by 1 − f, as the
sample variance is by 1 − 1/n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, IntArray, as_labels

MIN_PEOPLE = 10

MAX_OVERLAP = 0.5
"""Above this, a handful of people dominates the benchmark and says little about anyone else."""

Codes = NDArray[np.int32]
Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Influence:
    """What the trials of each person and each dyad contribute to a metric's deviation.

    Attributes:
        people: Σ ψ over the trials of each person (I,).
        events, share, base: Σ ψ over the impostor pairs of each dyad is `events` − `share` ·
            `base`, sparse (1, C) and (C,): a benchmark has millions of dyads, of which few have a
            false accept.
    """

    people: Values
    events: sparse.csr_array
    share: float
    base: Values

    @classmethod
    def of_people(cls, people: Values) -> Influence:
        """The influence on a metric whose trials involve one person each."""
        return cls(people, sparse.csr_array((1, 0)), 0.0, _NO_DYADS)

    def scaled(self, factor: float, people: Values) -> Influence:
        """The influence on `factor` times this metric plus one of genuine trials (`people`, I)."""
        return Influence(
            factor * self.people + people, factor * self.events, factor * self.share, self.base
        )


_NO_DYADS: Values = np.zeros(0)


class _Weight(NamedTuple):
    """The weights of all trials of a kind, as shares of their sum: by person (I,), by dyad (C,)."""

    sum: float
    people: Values
    dyads: Values


@dataclass(frozen=True, eq=False)
class People:
    """Who is in each trial.

    Attributes:
        same: True for genuine pairs, or mated searches (P,).
        sides: codes of people, 0 … count − 1: of both sides of each pair, or of each search's
            probe, (P,) each.
        count: number of people.
        dyad: code of the two people of an impostor pair, 0 … dyads − 1; 0 for genuine pairs (P,).
        dyads: number of dyads; 0 for searches.
        together: the people as they are, where each trial is taken for itself (`alone`).
    """

    same: BoolArray
    sides: tuple[Codes, ...]
    count: int
    dyad: Codes
    dyads: int
    together: People | None = None

    def alone(self) -> People:
        """The same trials, as if none had a person in common with another.

        Genuine pairs and searches become people of their own, impostor pairs dyads. What the
        variance over these people and dyads lacks of that over `self` is due to shared people.
        """
        kind = self.same if self.dyads else np.ones_like(self.same)
        own, dyad = (np.zeros(self.same.size, np.int32) for _ in range(2))
        own[kind] = np.arange(1, 1 + np.count_nonzero(kind))
        others = int(np.count_nonzero(~kind))
        dyad[~kind] = np.arange(others)
        return People(self.same, (own,), int(own.max(initial=0)) + 1, dyad, others, self)

    @cached_property
    def carrying(self) -> int:
        """How many people have a genuine trial."""
        return int(np.count_nonzero(self._genuine.people))

    @cached_property
    def overlap(self) -> float:
        """The share f of combinations of two trials of one kind that have a person in common.

        The larger of the shares of genuine and impostor pairs; for searches that of mated ones.
        """
        shares = [np.square(self._genuine.people).sum()]
        if self.dyads:
            impostor = self._impostor
            shares.append(np.square(impostor.people).sum() - np.square(impostor.dyads).sum())
        return float(max(shares))

    @cached_property
    def _genuine(self) -> _Weight:
        return self._weight(self.same, self.sides[:1], None)

    @cached_property
    def _impostor(self) -> _Weight:
        return self._weight(~self.same, self.sides, None)

    def _weight(self, kind: BoolArray, sides: tuple[Codes, ...], weights: Values | None) -> _Weight:
        values = None if weights is None else weights[kind]
        total = float(np.count_nonzero(kind) if values is None else values.sum())
        dyads = np.bincount(self.dyad[kind], values, self.dyads) if self.dyads else _NO_DYADS
        return _Weight(total, self._by_person(kind, sides, values) / total, dyads / total)

    def _by_person(
        self, rows: BoolArray | IntArray, sides: tuple[Codes, ...], values: Values | None
    ) -> Values:
        sums = (np.bincount(side[rows], values, self.count) for side in sides)
        return np.asarray(sum(sums), np.float64)

    def genuine(self, happened: IntArray, weights: Values | None = None) -> Values:
        """The influence of each person on the share of genuine trials in `happened` (I,).

        Args:
            happened: the trials of the event (n,).
            weights: of all trials (P,); None: all equal.
        """
        sides = self.sides[:1]
        of = self._genuine if weights is None else self._weight(self.same, sides, weights)
        values = (np.ones(happened.size) if weights is None else weights[happened]) / of.sum
        return self._by_person(happened, sides, values) - values.sum() * of.people

    def impostor(self, happened: IntArray, weights: Values | None = None) -> Influence:
        """The influence on the share of impostor trials in `happened`; arguments as above."""
        of = self._impostor if weights is None else self._weight(~self.same, self.sides, weights)
        values = (np.ones(happened.size) if weights is None else weights[happened]) / of.sum
        share = float(values.sum())
        people = self._by_person(happened, self.sides, values) - share * of.people
        dyad = self.dyad[happened] if self.dyads else np.zeros(0, np.int32)
        places = (np.zeros(dyad.size, np.int32), dyad)
        events = sparse.csr_array((values[: dyad.size], places), shape=(1, self.dyads))
        return Influence(people, events, share, of.dyads)


class Products(NamedTuple):
    """Σ ψψ' over people and over dyads, for every two of R influences: (R, R) each."""

    people: Values
    dyads: Values

    @classmethod
    def of(cls, influences: Sequence[Influence]) -> Products:
        """The products of these."""
        people = np.stack([one.people for one in influences])
        events = sparse.vstack([one.events for one in influences]).tocsr()
        bases = {id(one.base): one.base for one in influences}
        shares = np.array([[one.share * (id(one.base) == key) for key in bases]
                           for one in influences])  # fmt: skip
        cross = np.column_stack([events @ base for base in bases.values()]) @ shares.T
        norm = np.array([[one @ other for other in bases.values()] for one in bases.values()])
        dyads = (events @ events.T).toarray() - cross - cross.T + shares @ norm @ shares.T
        return cls(people @ people.T, dyads)

    def of_trials(self, contrast: Values) -> float:
        """The variance of Σ contrast · metric if the influences are of trials `alone`, (R,)."""
        return float(contrast @ (self.people + self.dyads) @ contrast)

    def variance(self, contrast: Values, overlap: float) -> float:
        """The variance of Σ contrast · metric, (R,)."""
        dyads = float(contrast @ self.dyads @ contrast)
        # The remainder cannot truly be below the dyads' part, but noise in the two sums can.
        variance = max(float(contrast @ self.people @ contrast) - dyads, dyads)
        return max(variance, 0.0) / (1 - overlap)


def people_of_pairs(same: ArrayLike, identity_a: ArrayLike, identity_b: ArrayLike) -> People:
    """Check and recode the identities of pairs (P,), which can be any integers or strings.

    Raises:
        UserError: unusable labels, mismatched lengths, a genuine pair of two people or an impostor
            pair of one, fewer than `MIN_PEOPLE` people, or too few of them dominate the benchmark.
    """
    same = as_labels(same, np.asarray(same).size)
    sides = np.asarray(identity_a), np.asarray(identity_b)
    if any(side.shape != same.shape for side in sides):
        raise UserError(
            f"identities have shapes {sides[0].shape} and {sides[1].shape}, but there are "
            f"{same.size} pairs; give the person on each side of each pair"
        )
    wrong = np.flatnonzero((sides[0] == sides[1]) != same)
    if wrong.size:
        row = wrong[0]
        kind = "genuine" if same[row] else "impostor"
        raise UserError(
            f"pair {row} is labelled {kind}, but its people are {sides[0][row]} and "
            f"{sides[1][row]}; labels and identities must come from the same protocol"
        )
    codes, names = _codes(np.concatenate(sides))
    _refuse_few(len(names))
    a, b = codes[: same.size], codes[same.size :]
    keys = np.minimum(a, b, dtype=np.int64) * len(names) + np.maximum(a, b)
    dyad = np.zeros(same.size, np.int32)
    # In order of appearance: sorting millions takes seconds.
    dyad[~same], dyads = _codes(keys[~same], sort=False)
    people = People(same, (a, b), len(names), dyad, len(dyads))
    if people.overlap > MAX_OVERLAP:
        raise UserError(
            f"{people.overlap:.0%} of the combinations of two pairs have a person in common, more "
            f"than {MAX_OVERLAP:.0%}: too few people dominate this benchmark for an interval; use "
            "one with more people"
        )
    return people


def people_of_searches(mated: Sequence[BoolArray], person: Sequence[ArrayLike]) -> list[People]:
    """The people of all searches together, then of each gallery's, with the same codes.

    Raises:
        UserError: fewer than `MIN_PEOPLE` people.
    """
    codes, names = _codes(np.concatenate([np.asarray(one) for one in person]))
    _refuse_few(len(names))
    ends = np.cumsum([one.size for one in mated])
    none = np.zeros(0, np.int32)
    return [
        People(one, (part,), len(names), none, 0)
        for one, part in zip(
            [np.concatenate(mated), *mated], [codes, *np.split(codes, ends[:-1])], strict=True
        )
    ]


def _codes(given: NDArray[Any], *, sort: bool = True) -> tuple[Codes, NDArray[Any]]:
    codes, names = pd.factorize(given, sort=sort)
    return codes.astype(np.int32), np.asarray(names)


def _refuse_few(people: int) -> None:
    if people < MIN_PEOPLE:
        raise UserError(
            f"{people} people are too few for an interval, which needs at least {MIN_PEOPLE}; "
            "use a larger benchmark"
        )
