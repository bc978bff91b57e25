"""How certain a number is: intervals over test people and training seeds, paired differences.

Two things would differ in a repetition. The test set could have had other people: that variance is
a sum over the influence of each person's trials, in closed form
(`frcore.evaluation.intervals.people`). And training could have started from another seed: that
variance is estimated from the spread of the seeds that were run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.identification import Searches
from frcore.evaluation.inputs import FloatArray, as_scores
from frcore.evaluation.intervals.estimates import Estimate, Intervals
from frcore.evaluation.intervals.influences import (
    Accuracy,
    Metric,
    RankShare,
    SearchMetric,
    TarAt,
    TpirAt,
)
from frcore.evaluation.intervals.people import (
    Influence,
    People,
    people_of_pairs,
    people_of_searches,
)
from frcore.evaluation.ranked import Ranked

__all__ = [
    "Accuracy",
    "Estimate",
    "Intervals",
    "RankShare",
    "TarAt",
    "TpirAt",
    "few_false_positives",
    "interval_of_mean",
    "intervals_of_pairs",
    "intervals_of_searches",
    "paired_difference",
    "trials_of_pairs",
    "trials_of_searches",
]


def interval_of_mean(
    score_sets: ArrayLike | Sequence[ArrayLike],
    same: ArrayLike,
    identity_a: ArrayLike,
    identity_b: ArrayLike,
    *,
    metric: Metric,
    level: float = 0.95,
) -> Estimate:
    """A metric with its interval, of one run or as the mean of runs that differ in the seed.

    Args:
        score_sets: the scores (P,) of one run, or one such vector per seed (S, P).
        same: True for genuine pairs (P,).
        identity_a, identity_b: the person on each side of each pair (P,), any codes or names.
        metric: `Accuracy(...)` or `TarAt(far)`.
        level: of the interval, in (0, 1).

    The interval is Wilson's, with the number of trials that the standard error over people
    corresponds to, and with Student's quantile for the number of people with genuine pairs. With
    S ≥ 2 seeds its half widths are combined with those of the mean over seeds, Student's t with
    S − 1 degrees of freedom times s/√S, s the standard deviation over seeds. Variance specific to
    a seed and a test person is in s, and left out of the part over people.

    Where all decisions are correct, the trials are the people with genuine pairs.

    Raises:
        UserError: unusable scores, labels, identities (see `people_of_pairs`) or settings, or a FAR
            that allows too few false accepts for an interval (`frcore.evaluation.false_accepts`).
        UnresolvableFAR: from `TarAt`.

    >>> rng = np.random.default_rng(0)
    >>> a, b = np.repeat(np.arange(40), 2), np.tile([0, 1], 40) + np.repeat(np.arange(40), 2)
    >>> same = a == b
    >>> estimate = interval_of_mean(rng.normal(2 * same), same, a, b, metric=Accuracy())
    >>> estimate.low < estimate.value < estimate.high
    True
    """
    runs = {f"run {seed}": scores for seed, scores in enumerate(_score_sets(score_sets))}
    metrics = dict.fromkeys(runs, metric)
    people = people_of_pairs(same, identity_a, identity_b)
    return intervals_of_pairs(runs, people, metrics=metrics).mean(list(runs), level=level)


def paired_difference(
    scores_a: ArrayLike | Sequence[ArrayLike],
    scores_b: ArrayLike | Sequence[ArrayLike],
    same: ArrayLike,
    identity_a: ArrayLike,
    identity_b: ArrayLike,
    *,
    metric: Metric,
    level: float = 0.95,
) -> Estimate:
    """The difference metric(A) − metric(B) on the same pairs, with its interval.

    Each person's influence is that on the difference, so whatever makes a test set easy or hard for
    both cancels. This is how to compare two heads; checking whether their separate intervals
    overlap is not. `estimate.excludes(0)` says whether they differ.

    Args:
        scores_a, scores_b: (P,) each, or (S, P) with the seeds in the same order, so that seed s of
            A is paired with seed s of B.
        same, identity_a, identity_b, metric, level: as in `interval_of_mean`, which also says how
            seeds enter.

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
    runs_a = {f"A {seed}": scores for seed, scores in enumerate(sets_a)}
    runs_b = {f"B {seed}": scores for seed, scores in enumerate(sets_b)}
    metrics = dict.fromkeys([*runs_a, *runs_b], metric)
    people = people_of_pairs(same, identity_a, identity_b)
    found = intervals_of_pairs({**runs_a, **runs_b}, people, metrics=metrics)
    return found.difference(list(runs_a), list(runs_b), level=level)


def _score_sets(score_sets: ArrayLike | Sequence[ArrayLike]) -> list[FloatArray]:
    """One checked vector per seed; a single vector is one seed."""
    try:
        array = np.asarray(score_sets)
    except ValueError as error:  # ragged
        raise UserError(
            f"the score vectors of the seeds differ in length ({error}); use the same pairs for all"
        ) from error
    if array.ndim not in (1, 2) or array.size == 0:
        raise UserError(f"scores have shape {array.shape}; give (P,) for one run or (S, P)")
    return [as_scores(scores, f"run {row}") for row, scores in enumerate(np.atleast_2d(array))]


def intervals_of_pairs(
    scores: Mapping[str, ArrayLike | Ranked],
    people: People,
    *,
    metrics: Mapping[str, Metric],
    groups: Sequence[Sequence[str]] = (),
    elsewhere: Sequence[Sequence[float]] = (),
    refuse_few: bool = True,
) -> Intervals:
    """The intervals of many runs on the same pairs: of each run, of means, and of differences.

    Args:
        scores: run -> scores (P,), every run on the same pairs.
        people: of these pairs, from `people_of_pairs`.
        metrics: run -> metric; the same object for all, or one per run (with its own threshold).
        groups, elsewhere: as in `Intervals`.
        refuse_few: refuse thresholds that allow too few false accepts for an interval. False only
            to show how good their intervals would be (`benchmarks.coverage`).

    Raises:
        UserError: as `interval_of_mean`.
    """
    # Several metrics of one run's scores share one sort.
    shared = {id(one): Ranked.of(one, people.same) for one in scores.values()}
    ranked = {run: shared[id(one)] for run, one in scores.items()}
    values = {run: metrics[run].value(one) for run, one in ranked.items()}
    impostors = int(np.count_nonzero(~people.same))
    for far in {metric.far for metric in metrics.values() if isinstance(metric, TarAt)}:
        if refuse_few and (why := why_no_interval(far, impostors)):
            raise UserError(why)
    influences = {run: metrics[run].influence(one, people) for run, one in ranked.items()}
    return Intervals(values, influences, people, groups, elsewhere)


def few_false_positives(galleries: Sequence[Searches], metric: SearchMetric) -> str:
    """Why a metric has no interval (some gallery allows too few false positives); "" if it has."""
    if not isinstance(metric, TpirAt):
        return ""
    fewest = min(int((~one.mated).sum()) for one in galleries)
    return why_no_interval(metric.fpir, fewest, rate="FPIR", unit="non-mated searches")


def intervals_of_searches(
    searches: Mapping[str, Sequence[Searches]],
    *,
    metrics: Mapping[str, SearchMetric],
    groups: Sequence[Sequence[str]] = (),
    elsewhere: Sequence[Sequence[float]] = (),
) -> Intervals:
    """The same for 1:N search, each metric a mean over galleries.

    Trials are clustered by the person of the probe, with all searches in all galleries: a probe is
    a mated search of one gallery and a non-mated one of the other. The galleries are held fixed, so
    the interval covers the choice of people searched for, not of people enrolled.

    Args:
        searches: run -> the searches of each gallery; the same probes, in the same order, in all.
        metrics: run -> `RankShare(k)` or `TpirAt(fpir)`.
        groups, elsewhere: as in `Intervals`.

    Raises:
        UserError: runs whose searches have different people, too few people, a metric that is
            refused or that allows too few false positives (`few_false_positives`).
    """
    first = next(iter(searches.values()))
    for metric in dict.fromkeys(metrics.values()):
        if why := few_false_positives(first, metric):
            raise UserError(why)
    if not all(_same_searches(first, other) for other in searches.values()):
        raise UserError("runs were evaluated on different searches; evaluate them again")
    every, *people = people_of_searches([one.mated for one in first], [one.person for one in first])
    values, influences = {}, {}
    for run, galleries in searches.items():
        metric = metrics[run]
        values[run] = float(np.mean([metric.value(one) for one in galleries]))
        parts = [metric.influence(*both) for both in zip(galleries, people, strict=True)]
        influences[run] = Influence.of_people(np.mean([part.people for part in parts], axis=0))
    return Intervals(values, influences, every, groups, elsewhere)


def trials_of_pairs(
    scores: Mapping[str, ArrayLike | Ranked], people: People, *, metrics: Mapping[str, Metric]
) -> dict[str, Influence]:
    """The influences of pairs taken for themselves, for `Intervals.noise`."""
    alone = people.alone()
    ranked = {run: Ranked.of(one, people.same) for run, one in scores.items()}
    return {run: metrics[run].influence(one, alone) for run, one in ranked.items()}


def trials_of_searches(
    searches: Mapping[str, Sequence[Searches]], *, metrics: Mapping[str, SearchMetric]
) -> dict[str, Influence]:
    """The same of searches."""
    first = next(iter(searches.values()))
    _, *people = people_of_searches([one.mated for one in first], [one.person for one in first])
    alone = [one.alone() for one in people]
    found = {}
    for run, galleries in searches.items():
        parts = [metrics[run].influence(*both) for both in zip(galleries, alone, strict=True)]
        own = np.concatenate([part.people for part in parts]) / len(parts)
        found[run] = Influence.of_people(own)
    return found


def _same_searches(one: Sequence[Searches], other: Sequence[Searches]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.person, b.person) and np.array_equal(a.mated, b.mated)
        for a, b in zip(one, other, strict=True)
    )
