"""From the influences of a metric's trials to its interval: means over seeds, paired differences.

All runs are evaluated on the same trials, so whatever makes a test set easy or hard for all of them
cancels in a difference: its influence is the difference of theirs.

A training has luck of its own with each test person. That part of the variance is in the spread of
the seeds, which were all judged on these people, and also in the sum over people. It is counted
once, with the seeds; the people's part of an interval is what all seeds have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy import special

from frcore.errors import UserError
from frcore.evaluation.intervals.detectable import Errors
from frcore.evaluation.intervals.noise import Noise
from frcore.evaluation.intervals.people import Influence, People, Products, Values
from frcore.evaluation.intervals.seeds import seed_spread
from frcore.evaluation.verification import Interval, score_interval

NO_ERROR = 1e-6
"""A standard error below this is rounding: all trials have the same influence."""


Variance = Callable[[Values], float]
"""From the weights of the runs in a number (R,) to its variance over people."""

SeedWeights = Sequence[Sequence[tuple[str, float]]]
"""Of each seed the runs in its number, and their weights."""


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: the metric (mean over seeds), or the difference A − B.
        low, high: the interval at `level`.
        level: e.g. 0.95.
        method: how the interval was computed, in words, for the notes under the table.
        per_seed: the metric, or the difference, of each seed (S,).
        se_test: standard error due to the choice of test people, for these trainings.
        se_seed: standard error due to the choice of seeds, on these test people; None with one
            seed, where the interval does not include it. What is specific to a training and a
            person is in both.
        people, pairs: how many are in the test set.
        errors: what the interval is made of, each part once.
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
    errors: Errors

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        return Interval(self.low, self.high)

    @property
    def detectable(self) -> float:
        """The true difference that such an interval finds nine times in ten."""
        return self.errors.detectable(self.level)

    def excludes(self, value: float = 0.0) -> bool:
        """Whether `value` lies outside the interval: for a difference and 0, "they differ"."""
        return value < self.low or value > self.high


class Sample(NamedTuple):
    """The part of `People` that is kept, since intervals are sent between processes."""

    people: int
    carrying: int
    overlap: float
    trials: int


class Intervals:
    """The intervals of any mean or difference of runs that were evaluated on the same trials.

    Args:
        values: run -> the metric.
        influences: run -> its influence; the metric may differ between runs.
        people: who is in the trials.
        groups: groups of runs that differ only in the seed. With them the spread over seeds of
            each is moderated by that of all (`SeedSpread`); without, each mean or difference
            relies on its own few seeds.
        elsewhere: values of further groups, which join the spread and nothing else.
    """

    def __init__(
        self,
        values: Mapping[str, float],
        influences: Mapping[str, Influence],
        people: People,
        groups: Sequence[Sequence[str]] = (),
        elsewhere: Sequence[Sequence[float]] = (),
    ):
        self.values = dict(values)
        self.groups = [list(group) for group in groups]
        own = [[self.values[run] for run in group] for group in groups]
        self.seed_spread = seed_spread([*own, *elsewhere]) if own else None
        grouped = {run for group in self.groups for run in group}
        self._grouped = [*self.groups, *([run] for run in self.values if run not in grouped)]
        self.sample = Sample(people.count, people.carrying, people.overlap, people.same.size)
        self._place = {run: place for place, run in enumerate(influences)}
        self._products = Products.of(list(influences.values()))
        self._lucky = self._between_seeds(self._variance) if own else 0.0

    def _variance(self, contrast_R: Values) -> float:
        return self._products.variance(contrast_R, self.sample.overlap)

    def _between_seeds(self, variance: Variance) -> float:
        """The variance over people of one run about its group's mean, pooled over groups."""
        parts = [self._contrasts(_alone(group)) for group in self.groups if len(group) > 1]
        freedom = [len(part) - 1 for part in parts]
        found = [_spread(variance, part) for part in parts]
        return float(np.average(found, weights=freedom)) if parts else 0.0

    def noise(self, alone: Mapping[str, Influence]) -> Noise | None:
        """Where the difference of two groups gets its variance from, on average over all pairs.

        Args:
            alone: run -> its influence by trials that are taken for themselves (`People.alone`).

        Returns:
            None with fewer than two groups.
        """
        trials = Products.of([alone[run] for run in self._place]).of_trials
        both = [(a, b) for a, b in combinations(self.groups, 2) if len(a) == len(b)]
        if not both:
            return None
        lucky, lucky_trials = (2 * self._between_seeds(one) for one in (self._variance, trials))
        contrasts = [self._contrasts(_paired(a, b)).mean(axis=0) for a, b in both]
        seeds = np.array([len(a) for a, _ in both])
        common = np.mean([self._variance(one) for one in contrasts] - lucky / seeds)
        pairs = np.mean([trials(one) for one in contrasts] - lucky_trials / seeds)
        spread, fewest = self.seed_spread, int(np.median(seeds))
        return Noise.of(
            float(common), float(pairs), lucky, lucky_trials, spread, fewest, len(self.groups),
            max(self.sample.carrying - 1, 1),
        )  # fmt: skip

    def _contrasts(self, weights: SeedWeights) -> Values:
        """The weights of the runs in each seed's number (S, R)."""
        contrasts = np.zeros((len(weights), len(self._place)))
        for seed, of_seed in enumerate(weights):
            for run, weight in of_seed:
                contrasts[seed, self._place[run]] += weight
        return contrasts

    def mean(self, runs: Sequence[str], *, level: float = 0.95) -> Estimate:
        """The mean over `runs`, which differ only in the seed; see `interval_of_mean`."""
        return self._estimate(_alone(runs), level)

    def difference(
        self, runs_a: Sequence[str], runs_b: Sequence[str], *, level: float = 0.95
    ) -> Estimate:
        """A − B, runs paired in order (the same seeds); see `paired_difference`."""
        return self._estimate(_paired(runs_a, runs_b), level)

    def contrast(self, weights: Sequence[Mapping[str, float]], *, level: float = 0.95) -> Estimate:
        """A weighted sum of methods, the mean over seeds.

        Args:
            weights: of each seed's runs (S,). They sum to 0, positive ones to 1, as in a difference
                of means or a trend; or all are positive, and sum to 1.
            level: of the interval.
        """
        return self._estimate([[*one.items()] for one in weights], level)

    def _estimate(self, weights: SeedWeights, level: float) -> Estimate:
        if not 0 < level < 1:
            raise UserError(f"level {level}; it must be between 0 and 1, e.g. 0.95")
        per_seed = [sum(weight * self.values[run] for run, weight in one) for one in weights]
        contrasts = self._contrasts(weights)
        value, sample = float(np.mean(per_seed)), self.sample
        difference = bool((contrasts < 0).any())
        variance = self._variance(contrasts.mean(axis=0))
        variance = variance if variance > NO_ERROR**2 else 0.0
        upper = (1 + level) / 2
        seeds = self._seeds(per_seed, contrasts)
        common = max(variance - min(seeds.lucky, seeds.variance), 0.0)
        (low, high), method = _of_people(value, variance, common, upper, sample, difference)
        if difference:
            # Where nothing differs there is no variance; what many people could hide stands for it.
            common = ((high - value) / _student(sample, upper)) ** 2
        if seeds.freedom:
            # Half widths of independent parts add in quadrature (Zou & Donner 2008, MOVER).
            half = np.sqrt(seeds.variance) * special.stdtrit(seeds.freedom, upper)
            low, high = value - np.hypot(value - low, half), value + np.hypot(high - value, half)
            method += f"; {len(per_seed)} seeds, Student t{seeds.how}"
        return Estimate(
            value=value,
            # Rounding at 0 and 1 must not push an end past the value itself.
            low=max(-1.0 if difference else 0.0, min(float(low), value)),
            high=min(1.0, max(float(high), value)),
            level=level,
            method=method,
            per_seed=tuple(per_seed),
            se_test=float(np.sqrt(variance)),
            se_seed=float(np.sqrt(seeds.variance)) if seeds.freedom else None,
            people=sample.people,
            pairs=sample.trials,
            errors=Errors(common, seeds.variance, max(sample.carrying - 1, 1), seeds.freedom),
        )

    def _seeds(self, per_seed: Sequence[float], contrasts_SR: Values) -> _OfSeeds:
        """The variance of the mean over seeds: of each group's moderated spread, or without groups
        of the spread of these few numbers."""
        seeds, spread = len(per_seed), self.seed_spread
        if spread is None:
            if seeds < 2:
                return _NO_SEEDS
            lucky = _spread(self._variance, contrasts_SR)
            return _OfSeeds(float(np.var(per_seed, ddof=1)) / seeds, seeds - 1, lucky / seeds, "")
        weights_R = np.square(contrasts_SR.mean(axis=0))
        parts = []
        for group in self._grouped:
            weight = float(weights_R[[self._place[run] for run in group]].sum())
            if weight:
                parts.append((weight, [self.values[run] for run in group]))
        variance, freedom = spread.combined(parts)
        lucky = self._lucky * float(weights_R.sum())
        how = f" with spreads moderated over {spread.groups} methods" if spread.groups > 1 else ""
        return _OfSeeds(variance, freedom, lucky, how)


def _alone(runs: Sequence[str]) -> SeedWeights:
    return [[(run, 1.0)] for run in runs]


def _paired(runs_a: Sequence[str], runs_b: Sequence[str]) -> SeedWeights:
    return [[(a, 1.0), (b, -1.0)] for a, b in zip(runs_a, runs_b, strict=True)]


class _OfSeeds(NamedTuple):
    """The variance of a mean over seeds by their spread, its degrees of freedom, the part of the
    variance over people that is in it, and how it was estimated."""

    variance: float
    freedom: float
    lucky: float
    how: str


_NO_SEEDS = _OfSeeds(0.0, 0, 0.0, "")
"""One seed, and no others to learn from: the interval leaves seeds out."""


def _spread(variance: Variance, contrasts_SR: Values) -> float:
    """The variance over people of one of S numbers about their mean."""
    about = contrasts_SR - contrasts_SR.mean(axis=0)
    return sum(map(variance, about)) / (len(about) - 1)


def _student(sample: Sample, upper: float) -> float:
    """With few people their spread is uncertain too: Student's quantile, not the normal one."""
    return float(special.stdtrit(max(sample.carrying - 1, 1), upper))


def _of_people(
    value: float, variance: float, common: float, upper: float, sample: Sample, difference: bool
) -> tuple[Interval, str]:
    """The interval for the choice of people alone, and how it was computed.

    For a share it is Wilson's, with the number of trials its standard error corresponds to,
    p (1 − p)/se²: asymmetric near 0 or 1, and within them. Where nothing failed there is no
    standard error: the people with genuine trials are then the trials, and a difference gets the
    largest error rate that this many people could hide.

    Args:
        value: the number.
        variance: over people; 0 where all trials have the same influence.
        common: as much of it as is not in the spread over seeds.
        upper: the upper end's quantile.
        sample: how many people.
        difference: of two methods, not a share.
    """
    people = f"clustered by {sample.people} people"
    normal = float(special.ndtri(upper))
    certain = variance == 0 or (not difference and value in (0.0, 1.0))
    half = float(np.sqrt(common)) * _student(sample, upper)
    if certain:
        never = 1 - score_interval(1.0, normal**2 / sample.carrying).low
        if difference:
            ends = Interval(value - never, value + never)
            return ends, f"Wilson over {sample.carrying} people"
        ends = score_interval(value, normal**2 / sample.carrying)
        return ends, f"Wilson over {sample.carrying} people (none differs)"
    if difference:
        return Interval(value - half, value + half), f"normal, {people}"
    return score_interval(value, half**2 / (value * (1 - value))), f"Wilson, {people}"
