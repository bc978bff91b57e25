"""ROC curves of a study: the mean over seeds, and a band over test people and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.intervals.estimates import Estimate
from frcore.evaluation.intervals.influences import TarAt
from frcore.evaluation.intervals.people import People, people_of_pairs
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs
from frcore.evaluation.ranked import Ranked
from frcore.results.scores import Arrays, same_protocol
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
    bands = _bands(ranked, runs, protocol, far)
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
    ranked: Mapping[str, Ranked],
    runs: Mapping[Method, Sequence[str]],
    protocol: Arrays,
    far: NDArray[np.float64],
) -> dict[Method, Band]:
    """Empty if the benchmark has too few people; NaN at FARs that allow too few false accepts for
    an interval."""
    impostors = int((~protocol["same"]).sum())
    enough = np.array([not why_no_interval(float(asked), impostors) for asked in far])
    if not enough.any():
        return {}
    fars = band_fars(far[enough])
    try:
        people = people_of_pairs(*(protocol[name] for name in ("same", "identity_a", "identity_b")))
        estimates = [_at_one_far(runs, ranked, people, float(asked)) for asked in fars]
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
    runs: Mapping[Method, Sequence[str]], ranked: Mapping[str, Ranked], people: People, far: float
) -> dict[Method, Estimate]:
    """Each method's TAR with its interval."""
    found: dict[Method, Estimate] = {}
    for kind in (True, False):
        # Models trained elsewhere have no seeds, so they share no spread over them with the runs.
        groups = {method: own for method, own in runs.items() if method.is_model == kind}
        scores = {run: ranked[run] for own in groups.values() for run in own}
        if scores:
            metrics = dict.fromkeys(scores, TarAt(far))
            shared = intervals_of_pairs(
                scores, people, metrics=metrics, groups=list(groups.values())
            )
            found |= {method: shared.mean(own) for method, own in groups.items()}
    return found


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
