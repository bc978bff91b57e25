"""Figures of the angles between embeddings and centres: over training, and in the last epoch."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from frcore.reporting.figures.canvas import Message, of_two_kinds, small_multiples
from frcore.reporting.figures.marks import areas, bare
from frcore.reporting.figures.palette import MUTED, Palette, present
from frcore.reporting.figures.training import Curves
from frcore.study import expansion
from frcore.study.config import Study

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the distributions over training: two bands and a median."""

Counts = dict[int, NDArray[np.float64]]
"""Epoch -> counts per bin."""


@dataclass(frozen=True)
class Histograms:
    """Angle histograms of a head × sampler over its epochs, summed over seeds.

    Attributes:
        edges: of the bins, degrees.
        target, negative: counts per bin in each epoch.
    """

    edges: NDArray[np.float64]
    target: Counts
    negative: Counts


def read_histograms(study: Study, curves: Curves) -> dict[tuple[str, str], Histograms]:
    """(head, sampler) -> its histograms; epochs missing for some seeds contain the others'."""
    found: dict[tuple[str, str], Histograms] = {}
    for name, events in curves.items():
        spec = expansion.runs(study)[name]
        edges = next(
            (e["angle_edges_degrees"] for e in events if e.get("angle_edges_degrees")), None
        )
        epochs = [e for e in events if e.get("event") == "epoch" and e.get("target_histogram")]
        if edges is None or not epochs:
            continue
        key = (spec.head.label, spec.sampler.label)
        own = found.setdefault(key, Histograms(np.asarray(edges, dtype=float), {}, {}))
        for event in epochs:
            target = np.asarray(event["target_histogram"], dtype=float)
            negative = np.asarray(event.get("negative_histogram") or 0 * target, dtype=float)
            if not target.size == negative.size == own.edges.size - 1:
                continue  # counted in different bins
            for counts, new in ((own.target, target), (own.negative, negative)):
                counts[int(event["epoch"])] = counts.get(int(event["epoch"]), 0) + new
    return found


def method_grid(
    study: Study, methods: Set[tuple[str, str]], xlabel: str, height: float
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """One panel per head (across) and sampler (down), in the study's order, on common axes."""
    heads = present(study.heads, (head for head, _ in methods))
    samplers = present(study.samplers, (sampler for _, sampler in methods))
    return small_multiples(
        heads, samplers, limit=5, height=height, xlabel=xlabel, colours=Palette(study).heads,
        sharex=True, sharey=True,
    )  # fmt: skip


def angle_histograms(study: Study, curves: Curves) -> Figure:
    """Angles in the last epoch, summed over seeds: heads across, samplers down."""
    return _angles(study, curves, over_epochs=False)


def angle_distributions(study: Study, curves: Curves) -> Figure:
    """Quantiles of the angles over the epochs: heads across, samplers down."""
    return _angles(study, curves, over_epochs=True)


def _angles(study: Study, curves: Curves, *, over_epochs: bool) -> Figure:
    histograms = read_histograms(study, curves)
    if not histograms:
        what = "Angles over training" if over_epochs else "Angle histograms"
        return Message(f"{what}: no finished run has recorded any.")
    palette = Palette(study)
    xlabel, height = ("epoch", 1.6) if over_epochs else ("angle [°]", 1.35)
    figure, grid = method_grid(study, set(histograms), xlabel, height)
    for (head, sampler), ax in grid.items():
        found, colour = histograms.get((head, sampler)), palette.heads[head]
        if over_epochs:
            ax.yaxis.set_major_locator(MultipleLocator(45))
            if ax.get_ylabel():
                ax.set_ylabel(f"{sampler}\nangle [°]")
        else:
            bare(ax)
        if found is None:
            continue
        if over_epochs:
            # Only one band, so that grey ones differ from those of a head whose colour is grey.
            _fan(ax, found.edges, found.negative, MUTED, inner=False)
            _fan(ax, found.edges, found.target, colour, inner=True)
        else:
            last = max(found.target)
            areas(ax, found.edges, found.target[last], found.negative[last], colour)
    of_two_kinds(figure, "to the own class centre (head's colour)",
                 "to the other class centres (grey)")  # fmt: skip
    return figure


def quantile_of_counts(
    edges: NDArray[np.float64], counts: NDArray[np.float64], share: float
) -> float:
    """The quantile of a histogram, with values spread evenly within each bin.

    >>> quantile_of_counts(np.array([0.0, 10.0, 20.0]), np.array([1.0, 3.0]), 0.5)
    13.333333333333334
    """
    below = np.concatenate([[0.0], counts.cumsum()]) / counts.sum()
    # Bins before the first and after the last count are empty.
    first, last = np.flatnonzero(counts)[[0, -1]]
    within = slice(first, last + 2)
    return float(np.interp(share, below[within], edges[within]))


def _fan(ax: Axes, edges: NDArray[np.float64], counts: Counts, colour: str, *, inner: bool) -> None:
    """Median and band from the 5th to the 95th percentile over epochs, optionally 25th to 75th."""
    epochs = sorted(epoch for epoch, values in counts.items() if values.sum() > 0)
    if not epochs:
        return
    quantiles = np.array(
        [[quantile_of_counts(edges, counts[epoch], share) for share in SHARES] for epoch in epochs]
    )
    places = np.array(epochs, dtype=float)
    if len(epochs) == 1:
        # One epoch has no width: draw it as a step of half an epoch to either side.
        quantiles, places = np.repeat(quantiles, 2, axis=0), places + np.array([-0.5, 0.5])
    low, lower, median, upper, high = quantiles.T
    ax.fill_between(places, low, high, color=colour, alpha=0.16, lw=0)
    if inner:
        ax.fill_between(places, lower, upper, color=colour, alpha=0.32, lw=0)
    ax.plot(places, median, color=colour, lw=1.4)
