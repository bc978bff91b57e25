"""ROC curves of a study: the mean over seeds, and a band over test people and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.intervals.bootstrap import replicates_of
from frcore.evaluation.intervals.draws import Values
from frcore.evaluation.intervals.estimates import Estimate, SharedReplicates, Units
from frcore.evaluation.intervals.ranked import Ranked
from frcore.evaluation.intervals.resampling import people_of_pairs
from frcore.evaluation.intervals.weighted import BoundMetric, TarAt
from frcore.results.scores import Arrays, same_protocol
from frcore.results.summary import Method, Summary

GRID_POINTS = 60
"""FARs of a curve."""

BAND_POINTS = (5, 12)
"""FARs at which a curve's band is computed, at least and at most; between them it is interpolated,
linearly over the logarithm of FAR."""

BAND_COST = 500
"""Bootstraps of one benchmark's bands, runs × FARs, that decide between the two."""

REPLICATES = 200
"""Of a band: an eye needs fewer than a table."""


@dataclass(frozen=True)
class Curve:
    """TAR of a method against FAR; nothing below one false accept.

    Attributes:
        far: ascending (F,).
        tar: mean over seeds (F,).
        low, high: the 95 % band (F,), NaN at FARs that allow too few false accepts; None where it
            cannot be had at all.
        runs: that it is the mean of.
    """

    far: NDArray[np.float64]
    tar: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    runs: tuple[str, ...]


def benchmark_curves(summary: Summary, benchmark: str) -> dict[Method, Curve]:
    """The curve of each method that has scores on a benchmark, in the study's order.

    Methods judged on other pairs than the first one have none.
    """
    ranked: dict[str, Ranked] = {}
    protocol: Arrays | None = None
    runs: dict[Method, tuple[str, ...]] = {}
    for method in summary.methods:
        own = []
        for run in _runs(summary, method, benchmark):
            arrays = summary.scores.load(run, benchmark)
            if arrays is None or not arrays["same"].any() or arrays["same"].all():
                continue
            protocol = protocol or arrays
            if same_protocol(protocol, arrays):
                ranked[run] = Ranked.of(arrays["scores"], arrays["same"])
                own.append(run)
        if own:
            runs[method] = tuple(own)
    if protocol is None:
        return {}
    far = far_grid(int((~protocol["same"]).sum()))
    tar = {run: np.array([at.tar for at in one.tar_at_fars(list(far))])
           for run, one in ranked.items()}  # fmt: skip
    bands = _bands(summary, ranked, runs, protocol, far)
    found = {}
    for method, judged in runs.items():
        mean = np.mean([tar[run] for run in judged], axis=0)
        below, above = bands.get(method, (None, None))
        low = None if below is None else np.maximum(mean - below, 0.0)
        high = None if above is None else np.minimum(mean + above, 1.0)
        found[method] = Curve(far, mean, low, high, judged)
    return found


def _runs(summary: Summary, method: Method, benchmark: str) -> list[str]:
    frame = summary.rows.usable("evaluation")
    chosen = frame[
        (frame["backbone"] == method.backbone)
        & (frame["head"] == method.head)
        & (frame["sampler"] == method.sampler)
        & (frame["benchmark"] == benchmark)
    ]
    return sorted(map(str, chosen["run"].unique()))


Band = tuple[NDArray[np.float64], NDArray[np.float64]]
"""How far the interval reaches below and above the mean (F,)."""


def _bands(
    summary: Summary,
    ranked: Mapping[str, Ranked],
    runs: Mapping[Method, Sequence[str]],
    protocol: Arrays,
    far: NDArray[np.float64],
) -> dict[Method, Band]:
    """Nothing where the benchmark has too few people, or the study too few replicates; and not a
    number (NaN) at FARs that allow too few false accepts for an interval."""
    impostors = int((~protocol["same"]).sum())
    enough = np.array([not why_no_interval(float(asked), impostors) for asked in far])
    if not enough.any():
        return {}
    fars = band_fars(far[enough], len(ranked))
    names = [{run: f"{run}\n{place}" for run in ranked} for place in range(fars.size)]
    try:
        bound = {
            own[run]: TarAt(float(asked)).bind(one, protocol["same"])
            for asked, own in zip(fars, names, strict=True)
            for run, one in ranked.items()
        }
        people = people_of_pairs(protocol["same"], protocol["identity_a"], protocol["identity_b"])
        replicates = min(summary.scores.replicates, REPLICATES)
        # The products are small: more threads only wait for each other.
        with threadpool_limits(1):
            drawn = replicates_of(bound, people, replicates, 0)
        units = Units(people.count, people.genuine, people.overlap, protocol["same"].size)
        estimates = [_at_one_far(runs, own, bound, drawn, units) for own in names]
    except UserError:
        return {}
    at, wanted = np.log(fars), np.log(far)
    bands = {}
    for method in runs:
        found = [of_far[method] for of_far in estimates]
        below, above = (
            np.where(enough, np.interp(wanted, at, reach), np.nan)
            for reach in ([e.value - e.low for e in found], [e.high - e.value for e in found])
        )
        bands[method] = (below, above)
    return bands


def _at_one_far(
    runs: Mapping[Method, Sequence[str]],
    names: Mapping[str, str],
    bound: Mapping[str, BoundMetric],
    drawn: tuple[dict[str, Values], dict[str, Values]],
    units: Units,
) -> dict[Method, Estimate]:
    """Each method's TAR with its interval; `names` are those of the runs among the replicates."""
    people_values, couple_values = drawn
    found: dict[Method, Estimate] = {}
    for kind in (True, False):
        # Models trained elsewhere have no seeds, so they share no spread over them with the runs.
        groups = {m: [names[run] for run in own] for m, own in runs.items() if m.is_model == kind}
        chosen = [name for group in groups.values() for name in group]
        shared = SharedReplicates(
            {name: bound[name].value for name in chosen},
            {name: people_values[name] for name in chosen},
            {name: couple_values[name] for name in chosen},
            units,
            groups=list(groups.values()),
        )
        found |= {method: shared.mean(group) for method, group in groups.items()}
    return found


def band_fars(far: NDArray[np.float64], runs: int) -> NDArray[np.float64]:
    """The FARs of a grid at which bands are computed: its ends, and evenly between them.

    >>> len(band_fars(np.geomspace(1e-3, 0.9, 60), runs=10)), band_fars(np.array([0.1]), 3).size
    (12, 1)
    """
    least, most = BAND_POINTS
    count = int(np.clip(BAND_COST // max(runs, 1), least, most))
    places = np.searchsorted(
        np.log(far), np.linspace(np.log(far[0]), np.log(far[-1]), count) - 1e-9
    )
    return far[np.unique(np.minimum(places, far.size - 1))]


def far_grid(impostors: int) -> NDArray[np.float64]:
    """FARs from the lowest that `impostors` pairs resolve (one false accept) up to below 1.

    >>> grid = far_grid(100)
    >>> float(grid[0]), bool(grid[-1] < 1)
    (0.01, True)
    """
    counts = np.unique(np.geomspace(1, max(impostors - 1, 1), GRID_POINTS).round())
    return np.asarray(counts / impostors, dtype=np.float64)
