"""How sure a number is: intervals over test people and training seeds, and paired differences.

Two things would come out differently in a repetition. Other people could have been in the test
set: estimated by a bootstrap over people (`frcore.evaluation.intervals.resampling`), with the same
draws for every score vector, so that what all runs share cancels in a difference. And training
could have started from another seed: estimated from the spread of the seeds that were run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from frcore.errors import UserError
from frcore.evaluation.inputs import FloatArray, as_scores
from frcore.evaluation.intervals.bootstrap import SharedBootstrap
from frcore.evaluation.intervals.estimates import Estimate
from frcore.evaluation.intervals.weighted import Accuracy, Metric, TarAt

__all__ = ["Accuracy", "Estimate", "TarAt", "interval_of_mean", "paired_difference"]


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
    as told in `frcore.evaluation.intervals.resampling` and widened by Student's quantile over the
    normal one for the number of people with genuine pairs (3 % at 40 people).

    With S ≥ 2 seeds each replicate also gets a Student-t deviate of S − 1 degrees of freedom times
    s/√S, s the standard deviation over seeds: drawing a few seeds with replacement would understate
    their spread by a factor (S − 1)/S. A part of the variance that is specific to a seed and a test
    pair is counted on both sides, which errs on the wide side.

    Where no replicate differs (all decisions are right), Wilson's interval with
    the number of people with genuine pairs as trials stands in for a width of zero.

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
    bootstrap = SharedBootstrap(
        runs,
        same,
        identity_a,
        identity_b,
        metrics=dict.fromkeys(runs, metric),
        replicates=replicates,
        rng_seed=rng_seed,
    )
    return bootstrap.mean(list(runs), level=level)


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
    runs_a = {f"A {seed}": scores for seed, scores in enumerate(sets_a)}
    runs_b = {f"B {seed}": scores for seed, scores in enumerate(sets_b)}
    bootstrap = SharedBootstrap(
        {**runs_a, **runs_b},
        same,
        identity_a,
        identity_b,
        metrics=dict.fromkeys([*runs_a, *runs_b], metric),
        replicates=replicates,
        rng_seed=rng_seed,
    )
    return bootstrap.difference(list(runs_a), list(runs_b), level=level)


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
