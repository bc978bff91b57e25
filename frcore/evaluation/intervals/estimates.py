"""From the influences of a metric's trials to its interval: means over seeds, paired differences.

All runs are evaluated on the same trials, so whatever makes a test set easy or hard for all of them
cancels in a difference: its influence is the difference of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from frcore.errors import UserError
from frcore.evaluation.intervals.people import Influence, People, Products
from frcore.evaluation.verification import Interval, score_interval

NO_ERROR = 1e-6
"""A standard error below this is rounding: all trials have the same influence."""


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: the metric (mean over seeds), or the difference A − B.
        low, high: the interval at `level`.
        level: e.g. 0.95.
        method: how the interval was computed, in words, for the notes under the table.
        per_seed: the metric, or the difference, of each seed (S,).
        se_test: standard error due to the choice of test people.
        se_seed: standard error due to the choice of seeds; None with one seed, where the interval
            does not include it.
        people, pairs: how many are in the test set.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    per_seed: tuple[float, ...]
    se_test: float
    se_seed: float | None
    people: int
    pairs: int

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        return Interval(self.low, self.high)

    def excludes(self, value: float = 0.0) -> bool:
        """Whether `value` lies outside the interval: for a difference and 0, "they differ"."""
        return value < self.low or value > self.high


class Sample(NamedTuple):
    """The part of `People` that is kept, since intervals are sent between processes."""

    people: int
    carrying: int
    overlap: float
    trials: int


@dataclass(frozen=True)
class SeedSpread:
    """The spread over seeds, pooled over all groups of runs.

    Attributes:
        deviation: standard deviation of a run about its group's mean.
        freedom: degrees of freedom, Σ (seeds − 1) over groups.
        groups: number of groups with two or more seeds.
    """

    deviation: float
    freedom: int
    groups: int


def seed_spread(groups: Sequence[Sequence[float]]) -> SeedSpread | None:
    """The pooled within-group standard deviation, as in an analysis of variance.

    It assumes the same spread in all groups. An effect of a seed that is common to all groups
    counts as noise, although it cancels in a difference; that errs on the wide side.

    Args:
        groups: values of the runs of each group; groups of one run carry no information and are
            left out.

    Returns:
        None if no group has two runs.

    >>> seed_spread([[1.0, 3.0], [5.0, 5.0], [9.0]])
    SeedSpread(deviation=1.0, freedom=2, groups=2)
    """
    several = [np.asarray(group, dtype=np.float64) for group in groups if len(group) > 1]
    if not several:
        return None
    freedom = sum(group.size - 1 for group in several)
    squares = sum(float(np.square(group - group.mean()).sum()) for group in several)
    return SeedSpread(float(np.sqrt(squares / freedom)), freedom, len(several))


class Intervals:
    """The intervals of any mean or difference of runs that were evaluated on the same trials.

    Args:
        values: run -> the metric.
        influences: run -> its influence; the metric may differ between runs.
        people: who is in the trials.
        groups: groups of runs that differ only in the seed. With them the spread over seeds is
            estimated once from all groups (`SeedSpread`); without, each mean or difference relies
            on its own few seeds, and two seeds say next to nothing (Student's t with one degree of
            freedom).
    """

    def __init__(
        self,
        values: Mapping[str, float],
        influences: Mapping[str, Influence],
        people: People,
        groups: Sequence[Sequence[str]] = (),
    ):
        self.values = dict(values)
        self.seed_spread = seed_spread([[self.values[run] for run in group] for group in groups])
        self._sample = Sample(people.count, people.carrying, people.overlap, people.same.size)
        self._place = {run: place for place, run in enumerate(influences)}
        self._products = Products.of(list(influences.values()))

    def mean(self, runs: Sequence[str], *, level: float = 0.95) -> Estimate:
        """The mean over `runs`, which differ only in the seed; see `interval_of_mean`."""
        values = [self.values[run] for run in runs]
        return self._estimate(values, [(1, runs)], level)

    def difference(
        self, runs_a: Sequence[str], runs_b: Sequence[str], *, level: float = 0.95
    ) -> Estimate:
        """A − B, runs paired in order (the same seeds); see `paired_difference`."""
        pairs = zip(runs_a, runs_b, strict=True)
        values = [self.values[a] - self.values[b] for a, b in pairs]
        return self._estimate(values, [(1, runs_a), (-1, runs_b)], level)

    def _estimate(
        self, per_seed: Sequence[float], sides: list[tuple[int, Sequence[str]]], level: float
    ) -> Estimate:
        if not 0 < level < 1:
            raise UserError(f"level {level}; it must be between 0 and 1, e.g. 0.95")
        value, difference, sample = float(np.mean(per_seed)), len(sides) == 2, self._sample
        contrast = np.zeros(len(self._place))
        for sign, runs in sides:
            for run in runs:
                contrast[self._place[run]] += sign / len(runs)
        se_test = float(np.sqrt(self._products.variance(contrast, sample.overlap)))
        se_test = se_test if se_test > NO_ERROR else 0.0
        upper = (1 + level) / 2
        low, high, method = _of_people(value, se_test, upper, sample, difference)
        se_seed, freedom, how = self._seeds(per_seed, difference)
        if se_seed is not None:
            # Half widths of independent parts add in quadrature (Zou & Donner 2008, MOVER).
            seeds = se_seed * float(special.stdtrit(freedom, upper))
            low, high = value - np.hypot(value - low, seeds), value + np.hypot(high - value, seeds)
            method += f"; {len(per_seed)} seeds, Student t{how}"
        return Estimate(
            value=value,
            # Rounding at 0 and 1 must not push an end past the value itself.
            low=max(-1.0 if difference else 0.0, min(float(low), value)),
            high=min(1.0, max(float(high), value)),
            level=level,
            method=method,
            per_seed=tuple(per_seed),
            se_test=se_test,
            se_seed=se_seed,
            people=sample.people,
            pairs=sample.trials,
        )

    def _seeds(self, per_seed: Sequence[float], difference: bool) -> tuple[float | None, int, str]:
        """Standard error due to the choice of seeds, its degrees of freedom, and a remark on it."""
        seeds, spread = len(per_seed), self.seed_spread
        if spread is not None:
            error = spread.deviation * float(np.sqrt((1 + difference) / seeds))
            return error, spread.freedom, f" with the spread of {spread.groups} methods pooled"
        if seeds < 2:
            return None, 0, ""
        return float(np.std(per_seed, ddof=1) / np.sqrt(seeds)), seeds - 1, ""


def _of_people(
    value: float, se: float, upper: float, sample: Sample, difference: bool
) -> tuple[float, float, str]:
    """The interval for the choice of people alone, and how it was computed.

    For a share it is Wilson's, with the number of trials its standard error corresponds to,
    p (1 − p)/se²: asymmetric near 0 or 1, and within them. Where nothing failed there is no
    standard error: the people with genuine trials are then the trials, and a difference gets the
    largest error rate that this many people could hide.
    """
    people = f"clustered by {sample.people} people"
    normal = float(special.ndtri(upper))
    certain = se == 0 or (not difference and value in (0.0, 1.0))
    # With few people their spread is uncertain too: Student's quantile, not the normal one.
    half = se * float(special.stdtrit(max(sample.carrying - 1, 1), upper))
    if certain:
        never = 1 - score_interval(1.0, normal**2 / sample.carrying).low
        if difference:
            return value - never, value + never, f"Wilson over {sample.carrying} people"
        ends = score_interval(value, normal**2 / sample.carrying)
        return ends.low, ends.high, f"Wilson over {sample.carrying} people (none differs)"
    if difference:
        return value - half, value + half, f"normal, {people}"
    ends = score_interval(value, half**2 / (value * (1 - value)))
    return ends.low, ends.high, f"Wilson, {people}"
