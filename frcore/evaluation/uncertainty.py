"""How sure a number is: intervals over test people and training seeds, and paired differences.

Two things would come out differently in a repetition. Other people could have been in the test
set: estimated by a bootstrap over people (`frcore.evaluation.resampling`), with the same draws for
every score vector, so that what all runs share cancels in a difference. And training could have
started from another seed: estimated from the spread of the seeds that were run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from frcore.errors import UserError
from frcore.evaluation.checks import FloatArray, as_labels, as_scores
from frcore.evaluation.resampling import (
    People,
    couple_weights,
    people_of_pairs,
    people_weights,
)
from frcore.evaluation.verification import Interval, wilson_interval
from frcore.evaluation.weighted import Accuracy, Metric, TarAt, Weights

__all__ = ["Accuracy", "Estimate", "TarAt", "interval_of_mean", "paired_difference"]

Values = NDArray[np.float64]
Statistic = Callable[[Weights], Values]

MIN_REPLICATES = 100


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: the metric (mean over seeds), or the difference A − B.
        low, high: the interval at `level`.
        level: e.g. 0.95.
        method: how the interval was made, in words, for under the table.
        per_seed: the metric, or the difference, of each seed (S,).
        se_test: standard error from the choice of test people.
        se_seed: standard error from the choice of seeds; None with one seed, where the interval
            does not cover it.
        people, pairs: in the test set.
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
        """Whether `value` lies outside the interval: for a difference and 0, "told apart"."""
        return value < self.low or value > self.high


def interval_of_mean(
    score_sets: ArrayLike | Sequence[ArrayLike],
    same: ArrayLike,
    identity_a: ArrayLike,
    identity_b: ArrayLike,
    *,
    metric: Metric,
    replicates: int = 1000,
    level: float = 0.95,
    rng_seed: int = 0,
) -> Estimate:
    """A metric with its interval, over one run or as the mean of runs that differ in the seed.

    Args:
        score_sets: the scores (P,) of one run, or one such vector per seed (S, P).
        same: True for genuine pairs (P,).
        identity_a, identity_b: the person on each side of each pair (P,), any codes or names.
        metric: `Accuracy(...)` or `TarAt(far)`.
        replicates: bootstrap replicates, at least 100.
        level: of the interval, in (0, 1).
        rng_seed: of the draws; equal arguments give equal intervals.

    The interval is the percentile interval of the bootstrap over people, with its spread corrected
    as told in `frcore.evaluation.resampling`. With S ≥ 2 seeds each replicate also gets a
    Student-t deviate of S − 1 degrees of freedom times s/√S, s the standard deviation over seeds:
    drawing a few seeds with replacement would understate their spread by a factor (S − 1)/S. A part
    of the variance that is specific to a seed and a test pair is counted on both sides, which errs
    on the wide side. Where no replicate differs (all decisions are right), Wilson's interval with
    the number of people as trials stands in for a width of zero.

    Raises:
        UserError: unusable scores, labels, identities (see `people_of_pairs`) or settings.
        UnresolvableFAR: from `TarAt`.

    >>> rng = np.random.default_rng(0)
    >>> a, b = np.repeat(np.arange(40), 2), np.tile([0, 1], 40) + np.repeat(np.arange(40), 2)
    >>> same = a == b
    >>> estimate = interval_of_mean(rng.normal(2 * same), same, a, b, metric=Accuracy())
    >>> estimate.low < estimate.value < estimate.high
    True
    """
    sets = _score_sets(score_sets)
    labels = as_labels(same, sets[0].size)
    bound = [metric.bind(scores, labels) for scores in sets]

    def statistic(weights_PR: Weights) -> Values:
        return np.mean([one(weights_PR) for one in bound], axis=0)

    people = people_of_pairs(labels, identity_a, identity_b)
    per_seed = [one.value for one in bound]
    sampling = _sample(statistic, people, replicates, rng_seed)
    return _estimate(per_seed, sampling, people, level, rng_seed, bounds=(0.0, 1.0))


def paired_difference(
    scores_a: ArrayLike | Sequence[ArrayLike],
    scores_b: ArrayLike | Sequence[ArrayLike],
    same: ArrayLike,
    identity_a: ArrayLike,
    identity_b: ArrayLike,
    *,
    metric: Metric,
    replicates: int = 1000,
    level: float = 0.95,
    rng_seed: int = 0,
) -> Estimate:
    """The difference metric(A) − metric(B) on the same pairs, with its interval.

    Both sides see the same draws of people in every replicate, so what makes a test set easy or
    hard for both cancels. This is the comparison of two heads; whether their separate intervals
    overlap is not. `estimate.excludes(0)` says whether they are told apart.

    Args:
        scores_a, scores_b: scores (P,) of one run each, or (S, P) with one row per seed; the same
            number of seeds on both sides, paired in order (give the same seeds in the same order).
        same, identity_a, identity_b, metric, replicates, level, rng_seed: as in
            `interval_of_mean`, which also tells how seeds enter.

    Raises:
        UserError: as `interval_of_mean`; or the sides differ in their number of seeds or pairs.

    >>> rng = np.random.default_rng(0)
    >>> a, b = np.repeat(np.arange(40), 2), np.tile([0, 1], 40) + np.repeat(np.arange(40), 2)
    >>> good = rng.normal(2.0 * (a == b))
    >>> difference = paired_difference(good, -good, a == b, a, b, metric=Accuracy(None, 1.0))
    >>> difference.value > 0, difference.excludes(0)
    (True, True)
    """
    sets_a, sets_b = _score_sets(scores_a), _score_sets(scores_b)
    if len(sets_a) != len(sets_b) or sets_a[0].size != sets_b[0].size:
        raise UserError(
            f"A has {len(sets_a)} seeds of {sets_a[0].size} pairs and B has {len(sets_b)} of "
            f"{sets_b[0].size}; a paired difference needs the same pairs and seeds on both sides"
        )
    labels = as_labels(same, sets_a[0].size)
    bound_a = [metric.bind(scores, labels) for scores in sets_a]
    bound_b = [metric.bind(scores, labels) for scores in sets_b]

    def statistic(weights_PR: Weights) -> Values:
        pairs = zip(bound_a, bound_b, strict=True)
        return np.mean([one(weights_PR) - other(weights_PR) for one, other in pairs], axis=0)

    people = people_of_pairs(labels, identity_a, identity_b)
    per_seed = [one.value - other.value for one, other in zip(bound_a, bound_b, strict=True)]
    sampling = _sample(statistic, people, replicates, rng_seed)
    return _estimate(per_seed, sampling, people, level, rng_seed, bounds=(-1.0, 1.0))


def _score_sets(score_sets: ArrayLike | Sequence[ArrayLike]) -> list[FloatArray]:
    """One checked vector per seed; a single vector is one seed."""
    try:
        array = np.asarray(score_sets)
    except ValueError as error:  # ragged
        raise UserError(
            f"the score vectors of the seeds differ in length ({error}); give each the same pairs"
        ) from error
    if array.ndim not in (1, 2) or array.size == 0:
        raise UserError(f"scores have shape {array.shape}; give (P,) for one run or (S, P)")
    return [as_scores(scores, f"run {row}") for row, scores in enumerate(np.atleast_2d(array))]


@dataclass(frozen=True)
class _Sampling:
    """Replicates of a statistic over people, and its corrected variance (see `resampling`)."""

    replicates: Values
    raw_variance: float
    variance: float


def _usable(values: Values) -> Values:
    """The replicates that have weight on both kinds of pair."""
    usable = values[np.isfinite(values)]
    if 2 * usable.size < values.size:
        raise UserError(
            f"only {usable.size} of {values.size} draws of people contain genuine and impostor "
            "pairs; the benchmark has too few people for an interval, use a larger one"
        )
    return usable


def draw(
    people: People, replicates: int, rng_seed: int
) -> tuple[Iterator[Weights], Iterator[Weights]]:
    """Chunks of weights (P, r): of drawn people, and of drawn couples of impostor pairs."""
    if replicates < MIN_REPLICATES:
        raise UserError(
            f"{replicates} bootstrap replicates; the ends of an interval need at least "
            f"{MIN_REPLICATES}, and 1000 are usual"
        )
    over_people, over_couples = (
        np.random.default_rng(child) for child in np.random.SeedSequence(rng_seed).spawn(2)
    )
    return (
        people_weights(people, replicates, over_people),
        couple_weights(people, replicates, over_couples),
    )


def _sample(statistic: Statistic, people: People, replicates: int, rng_seed: int) -> _Sampling:
    over_people, over_couples = draw(people, replicates, rng_seed)
    return _sampling(
        np.concatenate([statistic(weights_PR) for weights_PR in over_people]),
        np.concatenate([statistic(weights_PR) for weights_PR in over_couples]),
    )


def _sampling(people_values: Values, couple_values: Values) -> _Sampling:
    values, couples = _usable(people_values), _usable(couple_values)
    raw, tripled = float(values.var(ddof=1)), float(couples.var(ddof=1))
    # What is left can never be less than the couples' own part; noise of the two estimates could.
    return _Sampling(values, raw, min(raw, max(raw - 2 * tripled, tripled)))


def _student_deviates(count: int, freedom: int, rng_seed: int) -> Values:
    """Quantiles of Student's t at `count` even probabilities, shuffled: no draw is far off."""
    rng = np.random.default_rng(np.random.SeedSequence(rng_seed).spawn(3)[2])
    return stats.t.ppf((rng.permutation(count) + 0.5) / count, freedom)


def _estimate(
    per_seed: Sequence[float],
    sampling: _Sampling,
    people: People,
    level: float,
    rng_seed: int,
    *,
    bounds: tuple[float, float],
) -> Estimate:
    if not 0 < level < 1:
        raise UserError(f"level {level}; it must be between 0 and 1, e.g. 0.95")
    seeds, value = len(per_seed), float(np.mean(per_seed))
    se_seed = float(np.std(per_seed, ddof=1) / np.sqrt(seeds)) if seeds > 1 else None
    method = f"bootstrap over {people.count} people, {sampling.replicates.size} replicates"
    if sampling.raw_variance > 0:
        shrink = np.sqrt(sampling.variance / sampling.raw_variance)
        draws = value + shrink * (sampling.replicates - value)
    else:
        draws = np.full(sampling.replicates.size, value)
    if se_seed:
        draws = draws + se_seed * _student_deviates(draws.size, seeds - 1, rng_seed)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    if sampling.raw_variance == 0:
        # For a difference: how often the two could disagree and never do among so many people.
        wilson = wilson_interval(max(value, 0.0) * people.count, people.count, level)
        never = 1 - wilson_interval(people.count, people.count, level).low
        plain = wilson if bounds[0] == 0 else Interval(value - never, value + never)
        low, high = min(low, plain.low), max(high, plain.high)
        method = f"Wilson over {people.count} people (no replicate differs)"
    if se_seed is not None:
        method += f"; {seeds} seeds, Student t"
    # A percentile interval of a biased statistic can miss its own estimate; a table must not.
    low = max(bounds[0], min(float(low), value))
    high = min(bounds[1], max(float(high), value))
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=level,
        method=method,
        per_seed=tuple(per_seed),
        se_test=float(np.sqrt(sampling.variance)),
        se_seed=se_seed,
        people=people.count,
        pairs=people.same.size,
    )
