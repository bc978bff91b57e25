"""ROC curves of a study: the mean over seeds, and a band over test people and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.intervals.influences import TarAt
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs
from frcore.results.scores import Trials
from frcore.results.summary import Method, Summary

GRID_POINTS = 60
"""Number of FARs per curve."""

BAND_POINTS = 12
"""Number of FARs at which a curve's band is computed; in between it is interpolated linearly over
the logarithm of FAR."""


@dataclass(frozen=True)
class Curve:
    """TAR of a method against FAR; nothing below one false accept.

    Attributes:
        far: ascending (F,).
        tar: mean over seeds (F,).
        low, high: the 95 % band (F,), NaN at FARs that allow too few false accepts; None if it
            cannot be computed at all.
        runs: the runs averaged.
    """

    far: NDArray[np.float64]
    tar: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    runs: tuple[str, ...]


def benchmark_curves(summary: Summary, benchmark: str) -> dict[Method, Curve]:
    """The curve of each method that has scores on a benchmark, in the study's order.

    Methods evaluated on other pairs than the first one are omitted.
    """
    # Models trained elsewhere have no seeds, so they share no spread over them with the runs.
    return {
        method: curve
        for models in (False, True)
        for method, curve in _curves(summary, benchmark, models).items()
    }


def _curves(summary: Summary, benchmark: str, models: bool) -> dict[Method, Curve]:
    trials = summary.scores.trials(benchmark, models=models)
    frame = summary.rows.usable("evaluation")
    frame = frame[(frame["benchmark"] == benchmark) & frame["run"].isin(list(trials.ranked))]
    runs = {method: sorted(map(str, frame[method.rows_in(frame)]["run"].unique()))
            for method in summary.methods}  # fmt: skip
    runs = {method: own for method, own in runs.items() if own}
    same = next((arrays["same"] for arrays in trials.arrays.values()), np.empty(0, bool))
    if not runs or same.all() or not same.any():
        return {}
    far = far_grid(int((~same).sum()))
    bands = _bands(trials, runs, far, int((~same).sum()))
    found = {}
    for method, own in runs.items():
        of_runs = [[at.tar for at in trials.ranked[run].tar_at_fars(list(far))] for run in own]
        mean = np.mean(of_runs, axis=0)
        below, above = bands.get(method, (None, None))
        low = None if below is None else np.maximum(mean - below, 0.0)
        high = None if above is None else np.minimum(mean + above, 1.0)
        found[method] = Curve(far, mean, low, high, tuple(own))
    return found


Band = tuple[NDArray[np.float64], NDArray[np.float64]]
"""How far the interval reaches below and above the mean (F,)."""


def _bands(
    trials: Trials, runs: Mapping[Method, Sequence[str]], far: NDArray[np.float64], impostors: int
) -> dict[Method, Band]:
    """Empty if the benchmark has too few people; NaN at FARs that allow too few false accepts for
    an interval."""
    enough = np.array([not why_no_interval(float(asked), impostors) for asked in far])
    if not enough.any():
        return {}
    fars = band_fars(far[enough])
    ranked = {run: trials.ranked[run] for own in runs.values() for run in own}
    try:
        at_fars = [
            intervals_of_pairs(
                ranked, trials.people, metrics=dict.fromkeys(ranked, TarAt(float(asked))),
                groups=list(runs.values()),
            )
            for asked in fars
        ]  # fmt: skip
    except UserError:
        return {}
    bands = {}
    for method, own in runs.items():
        means = [intervals.mean(own) for intervals in at_fars]
        below, above = (
            np.where(enough, np.interp(np.log(far), np.log(fars), reach), np.nan)
            for reach in ([e.value - e.low for e in means], [e.high - e.value for e in means])
        )
        bands[method] = (below, above)
    return bands


def band_fars(far: NDArray[np.float64]) -> NDArray[np.float64]:
    """The FARs of a grid at which bands are computed: its ends, and evenly between them.

    >>> len(band_fars(np.geomspace(1e-3, 0.9, 60))), band_fars(np.array([0.1])).size
    (12, 1)
    """
    even = np.linspace(np.log(far[0]), np.log(far[-1]), BAND_POINTS)
    places = np.searchsorted(np.log(far), even - 1e-9)
    return far[np.unique(np.minimum(places, far.size - 1))]


def far_grid(impostors: int) -> NDArray[np.float64]:
    """FARs from the lowest that `impostors` pairs resolve (one false accept) up to below 1.

    >>> grid = far_grid(100)
    >>> float(grid[0]), bool(grid[-1] < 1)
    (0.01, True)
    """
    counts = np.unique(np.geomspace(1, max(impostors - 1, 1), GRID_POINTS).round())
    return np.asarray(counts / impostors, dtype=np.float64)
