"""The bootstrap over test people, shared by all runs on the same pairs.

Each run is evaluated once under the draws, and every mean over seeds and every difference of two
methods is a combination of its replicates: a table of heads × samplers × seeds costs one pass per
run, and what all runs share cancels in a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from frcore.errors import UserError
from frcore.evaluation.checks import IntArray, as_labels
from frcore.evaluation.draws import NotDrawn, Values, Weights, draw_couples, draw_people
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.resampling import People, people_of_pairs
from frcore.evaluation.verification import Interval, wilson_interval
from frcore.evaluation.weighted import BoundMetric, Metric, Window

MIN_REPLICATES = 100

MAX_OVERLAP = 0.5
"""Above, a handful of people carries the benchmark and no draw of them tells what others do."""


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


class SharedBootstrap:
    """The replicates of each run's metric, all under the same draws of people.

    Args:
        scores: run -> scores (P,), every run on the same pairs.
        same: True for genuine pairs (P,).
        identity_a, identity_b: the person on each side of each pair (P,).
        metrics: run -> metric; one object for all, or one per run (a threshold of its own).
        groups: runs that differ in nothing but the seed, group by group. With them the spread over
            seeds is estimated once from all groups (`SeedSpread`); without, each mean or difference
            has only its own few seeds for it, and two seeds say next to nothing (Student's t with
            one degree of freedom).
        replicates, rng_seed: as in `frcore.evaluation.uncertainty.interval_of_mean`.

    Raises:
        UserError: as `interval_of_mean`.
    """

    def __init__(
        self,
        scores: Mapping[str, ArrayLike | Ranked],
        same: ArrayLike,
        identity_a: ArrayLike,
        identity_b: ArrayLike,
        *,
        metrics: Mapping[str, Metric],
        groups: Sequence[Sequence[str]] = (),
        replicates: int = 1000,
        rng_seed: int = 0,
    ):
        labels = as_labels(same, np.asarray(same).size)
        # Several metrics of one run's scores share what was sorted.
        ranked = {id(values): Ranked.of(values, labels) for values in scores.values()}
        bound = {
            run: metrics[run].bind(ranked[id(values)], labels) for run, values in scores.items()
        }
        self._people = people_of_pairs(labels, identity_a, identity_b)
        self._rng_seed = rng_seed
        self.values = {run: one.value for run, one in bound.items()}
        self.seed_spread = seed_spread([[self.values[run] for run in group] for group in groups])
        self._people_values, self._couple_values = replicates_of(
            bound, self._people, replicates, rng_seed
        )

    def mean(self, runs: Sequence[str], *, level: float = 0.95) -> Estimate:
        """The mean over `runs`, which differ in the seed; see `interval_of_mean`."""
        return self._estimate(
            [self.values[run] for run in runs],
            np.mean([self._people_values[run] for run in runs], axis=0),
            np.mean([self._couple_values[run] for run in runs], axis=0),
            level=level,
            difference=False,
        )

    def difference(
        self, runs_a: Sequence[str], runs_b: Sequence[str], *, level: float = 0.95
    ) -> Estimate:
        """A − B, runs paired in order (the same seeds); see `paired_difference`."""
        pairs = list(zip(runs_a, runs_b, strict=True))
        return self._estimate(
            [self.values[a] - self.values[b] for a, b in pairs],
            np.mean([self._people_values[a] - self._people_values[b] for a, b in pairs], axis=0),
            np.mean([self._couple_values[a] - self._couple_values[b] for a, b in pairs], axis=0),
            level=level,
            difference=True,
        )

    def _seeds(self, per_seed: Sequence[float], difference: bool) -> tuple[float | None, int, str]:
        """Standard error from the choice of seeds, its degrees of freedom, and a word on it."""
        seeds, spread = len(per_seed), self.seed_spread
        if spread is not None:
            sides = 2 if difference else 1
            error = spread.deviation * float(np.sqrt(sides / seeds))
            return error, spread.freedom, f" with the spread of {spread.groups} methods pooled"
        if seeds < 2:
            return None, 0, ""
        return float(np.std(per_seed, ddof=1) / np.sqrt(seeds)), seeds - 1, ""

    def _estimate(
        self,
        per_seed: Sequence[float],
        people_values: Values,
        couple_values: Values,
        *,
        level: float,
        difference: bool,
    ) -> Estimate:
        if not 0 < level < 1:
            raise UserError(f"level {level}; it must be between 0 and 1, e.g. 0.95")
        seeds, value = len(per_seed), float(np.mean(per_seed))
        se_seed, freedom, how = self._seeds(per_seed, difference)
        replicates, se_test = _replicates(value, people_values, couple_values, self._people)
        # Few people also leave their own spread uncertain: Student's quantile for the normal one.
        upper = (1 + level) / 2
        few = special.stdtrit(max(self._people.genuine - 1, 1), upper) / special.ndtri(upper)
        replicates = value + few * (replicates - value)
        if se_seed:
            replicates = replicates + se_seed * _student_deviates(
                replicates.size, freedom, self._rng_seed
            )
        low, high = np.quantile(replicates, [(1 - level) / 2, (1 + level) / 2])
        method = f"bootstrap over {self._people.count} people, {replicates.size} replicates"
        if se_test == 0:
            plain = _interval_of_no_spread(value, self._people.genuine, level, difference)
            low, high = min(low, plain.low), max(high, plain.high)
            method = f"Wilson over {self._people.genuine} people (no replicate differs)"
        if se_seed is not None:
            method += f"; {seeds} seeds, Student t{how}"
        # A percentile interval of a biased statistic can miss its own estimate; a table must not.
        return Estimate(
            value=value,
            low=max(-1.0 if difference else 0.0, min(float(low), value)),
            high=min(1.0, max(float(high), value)),
            level=level,
            method=method,
            per_seed=tuple(per_seed),
            se_test=se_test,
            se_seed=se_seed,
            people=self._people.count,
            pairs=self._people.same.size,
        )


@dataclass(frozen=True)
class SeedSpread:
    """The spread over seeds, one for all groups of runs.

    Attributes:
        deviation: standard deviation of a run about its group's mean.
        freedom: degrees of freedom, Σ (seeds − 1) over groups.
        groups: with two or more seeds.
    """

    deviation: float
    freedom: int
    groups: int


def seed_spread(groups: Sequence[Sequence[float]]) -> SeedSpread | None:
    """The pooled within-group standard deviation, as in an analysis of variance.

    It takes the spread to be the same in all groups. What a seed does alike to all groups counts as
    noise, though it cancels in a difference; that errs on the wide side.

    Args:
        groups: values of the runs of each group; groups of one run tell nothing and are left out.

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


def replicates_of(
    bound: Mapping[str, BoundMetric], people: People, replicates: int, rng_seed: int
) -> tuple[dict[str, Values], dict[str, Values]]:
    """Replicates of each metric with people drawn, and with couples of impostor pairs drawn.

    Raises:
        UserError: too few replicates, or too few people carry the benchmark.
    """
    if replicates < MIN_REPLICATES:
        raise UserError(
            f"{replicates} bootstrap replicates; the ends of an interval need at least "
            f"{MIN_REPLICATES}, and 1000 are usual"
        )
    if people.overlap > MAX_OVERLAP:
        raise UserError(
            f"{people.overlap:.0%} of the combinations of two pairs have a person in common, more "
            f"than {MAX_OVERLAP:.0%}: too few people carry this benchmark for an interval, use one "
            "with more"
        )
    over_people, over_couples = np.random.SeedSequence(rng_seed).spawn(2)
    windows = {run: one.windows(people) for run, one in bound.items()}
    of_people = {run: both[0] if both else None for run, both in windows.items()}
    of_couples = {run: both[1] if both else None for run, both in windows.items()}
    people_values = _evaluate(bound, of_people, draw_people(people, replicates, _rng(over_people)))
    try:
        draws = draw_couples(
            people,
            replicates,
            _rng(over_couples),
            _pairs_alone(bound, of_couples),
            [window.above for window in of_couples.values() if window],
        )
        couple_values = _evaluate(bound, of_couples, draws)
    except NotDrawn:
        # A threshold lies outside its window: nothing is left out then.
        draws = draw_couples(people, replicates, _rng(over_couples))
        couple_values = _evaluate(bound, dict.fromkeys(bound), draws)
    return people_values, couple_values


def _rng(seed: np.random.SeedSequence) -> np.random.Generator:
    return np.random.default_rng(seed)


def _evaluate(
    bound: Mapping[str, BoundMetric],
    windows: Mapping[str, Window | None],
    draws: Iterable[Weights],
) -> dict[str, Values]:
    """All replicates of each metric; draws outside, metrics inside, so that they share them."""
    parts: dict[str, list[Values]] = {run: [] for run in bound}
    for weights in draws:
        for run, one in bound.items():
            parts[run].append(one(weights, windows[run]))
    return {run: np.concatenate(part) for run, part in parts.items()}


def _pairs_alone(
    bound: Mapping[str, BoundMetric], windows: Mapping[str, Window | None]
) -> IntArray | None:
    """The pairs whose own weights some metric asks for; None: sums of all."""
    found = []
    for run, window in windows.items():
        if window is None:
            return None
        found.append(bound[run].pairs(window))
    return np.concatenate(found)


def _usable(values: Values) -> Values:
    """The replicates that have weight on both kinds of pair."""
    usable = values[np.isfinite(values)]
    if 2 * usable.size < values.size:
        raise UserError(
            f"only {usable.size} of {values.size} draws of people contain genuine and impostor "
            "pairs; the benchmark has too few people for an interval, use a larger one"
        )
    return usable


def _replicates(
    value: float, people_values: Values, couple_values: Values, people: People
) -> tuple[Values, float]:
    """Replicates about `value` with their spread corrected (see `resampling`), and that spread."""
    values, couples = _usable(people_values), _usable(couple_values)
    # Sums in single precision differ in the seventh digit where the replicates do not.
    if np.ptp(values) < 1e-6:
        return np.full(values.size, value), 0.0
    raw, tripled = float(values.var(ddof=1)), float(couples.var(ddof=1))
    # What is left can never be less than the couples' own part; noise of the two estimates could.
    variance = min(raw, max(raw - 2 * tripled, tripled)) / (1 - people.overlap)
    return value + np.sqrt(variance / raw) * (values - value), float(np.sqrt(variance))


def _interval_of_no_spread(value: float, trials: int, level: float, difference: bool) -> Interval:
    """Where no replicate differs (all is right): what so many people cannot rule out."""
    if not difference:
        return wilson_interval(value * trials, trials, level)
    never = 1 - wilson_interval(trials, trials, level).low
    return Interval(value - never, value + never)


def _student_deviates(count: int, freedom: int, rng_seed: int) -> Values:
    """Quantiles of Student's t at `count` even probabilities, shuffled: no draw is far off."""
    rng = np.random.default_rng(np.random.SeedSequence(rng_seed).spawn(3)[2])
    return special.stdtrit(freedom, (rng.permutation(count) + 0.5) / count)
