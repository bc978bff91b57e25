"""The bootstrap over test people, shared by all runs on the same pairs.

Each run is evaluated once under the draws, and every mean over seeds and every difference of two
methods is a combination of its replicates: a table of heads × samplers × seeds costs one pass per
run, and what all runs share cancels in a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.inputs import IntArray, as_labels
from frcore.evaluation.intervals.draws import NotDrawn, Values, Weights, draw_couples, draw_people
from frcore.evaluation.intervals.estimates import SharedReplicates, Units, refuse_few_replicates
from frcore.evaluation.intervals.ranked import Ranked
from frcore.evaluation.intervals.resampling import People, people_of_pairs
from frcore.evaluation.intervals.weighted import BoundMetric, Metric, TarAt, Window, values_of

MAX_OVERLAP = 0.5
"""Above, a handful of people carries the benchmark and no draw of them tells what others do."""


class SharedBootstrap(SharedReplicates):
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
        replicates, rng_seed: as in `frcore.evaluation.intervals.uncertainty.interval_of_mean`.
        refuse_few: refuse thresholds that allow too few false accepts for an interval. False is for
            showing what their intervals would be worth (`benchmarks.coverage`).

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
        refuse_few: bool = True,
    ):
        labels = as_labels(same, np.asarray(same).size)
        # Several metrics of one run's scores share what was sorted.
        ranked = {id(values): Ranked.of(values, labels) for values in scores.values()}
        bound = {
            run: metrics[run].bind(ranked[id(values)], labels) for run, values in scores.items()
        }
        if refuse_few:
            _refuse_few_false_accepts(metrics.values(), int(np.count_nonzero(~labels)))
        people = people_of_pairs(labels, identity_a, identity_b)
        people_values, couple_values = replicates_of(bound, people, replicates, rng_seed)
        super().__init__(
            {run: one.value for run, one in bound.items()},
            people_values,
            couple_values,
            Units(people.count, people.genuine, people.overlap, labels.size),
            groups=groups,
            rng_seed=rng_seed,
        )


def _refuse_few_false_accepts(metrics: Iterable[Metric], impostors: int) -> None:
    for far in {metric.far for metric in metrics if isinstance(metric, TarAt)}:
        if why := why_no_interval(far, impostors):
            raise UserError(why)


def replicates_of(
    bound: Mapping[str, BoundMetric], people: People, replicates: int, rng_seed: int
) -> tuple[dict[str, Values], dict[str, Values]]:
    """Replicates of each metric with people drawn, and with couples of impostor pairs drawn.

    Raises:
        UserError: too few replicates, or too few people carry the benchmark.
    """
    refuse_few_replicates(replicates)
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
            _pairs_alone(of_couples.values()),
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
        for run, values in values_of(bound, windows, weights).items():
            parts[run].append(values)
    return {run: np.concatenate(part) for run, part in parts.items()}


def _pairs_alone(
    windows: Iterable[Window | None],
) -> IntArray | None:
    """The pairs whose own weights some metric asks for; None: sums of all."""
    found = []
    for window in windows:
        if window is None:
            return None
        found.append(window.alone)
    return np.concatenate(found)
