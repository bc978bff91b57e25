"""Figures of angles: their distribution over training and in the last epoch, and the centres'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from frcore.reporting.figures.canvas import columns_for, hide_unused, message, panels, put_legend
from frcore.reporting.figures.grids import bare, label_bottoms, method_grid
from frcore.reporting.figures.palette import INK, MUTED, Palette
from frcore.reporting.figures.training import curve, curve_legend
from frcore.results.records import Record
from frcore.study import expansion
from frcore.study.config import Study

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the distributions over training: two bands and a median."""


@dataclass(frozen=True)
class Histograms:
    """Angle histograms of a head × sampler over its epochs, summed over seeds.

    Attributes:
        edges: of the bins, degrees.
        target: epoch -> counts per bin.
        negative: the same.
    """

    edges: NDArray[np.float64]
    target: dict[int, NDArray[np.float64]]
    negative: dict[int, NDArray[np.float64]]


def read_histograms(
    study: Study, curves: dict[str, list[Record]]
) -> dict[tuple[str, str], Histograms]:
    """(head, sampler) -> its histograms; epochs that some seed lacks hold the other seeds'."""
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
                continue  # counted in other bins
            epoch = int(event["epoch"])
            own.target[epoch] = own.target.get(epoch, 0) + target
            own.negative[epoch] = own.negative.get(epoch, 0) + negative
    return found


def angle_histograms(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """Angles in the last epoch, summed over seeds: heads across, samplers down."""
    histograms = read_histograms(study, curves)
    if not histograms:
        return message("Angle histograms: no finished run has any.")
    palette = Palette(study)
    figure, grid = method_grid(study, set(histograms), "angle [°]", 1.35)
    for (head, sampler), ax in grid.items():
        bare(ax)
        if (head, sampler) in histograms:
            found = histograms[head, sampler]
            last = max(found.target)
            counts = (found.target[last], found.negative[last])
            _steps(ax, found.edges, *counts, palette.heads[head])
    _patch_legend(figure)
    return figure


def angle_distributions(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """Quantiles of the angles over the epochs: heads across, samplers down."""
    histograms = read_histograms(study, curves)
    if not histograms:
        return message("Angles over training: no finished run has any.")
    palette = Palette(study)
    figure, grid = method_grid(study, set(histograms), "epoch", 1.6)
    for (head, sampler), ax in grid.items():
        ax.yaxis.set_major_locator(MultipleLocator(45))
        if ax.get_ylabel():
            ax.set_ylabel(f"{sampler}\nangle [°]")
        if (head, sampler) in histograms:
            found = histograms[head, sampler]
            # Without the inner band the grey ones stay apart from a head whose colour is grey.
            _fan(ax, found.edges, found.negative, MUTED, inner=False)
            _fan(ax, found.edges, found.target, palette.heads[head], inner=True)
    _patch_legend(figure)
    return figure


def quantile_of_counts(
    edges: NDArray[np.float64], counts: NDArray[np.float64], share: float
) -> float:
    """The quantile of a histogram, with values spread evenly inside each bin.

    >>> quantile_of_counts(np.array([0.0, 10.0, 20.0]), np.array([1.0, 3.0]), 0.5)
    13.333333333333334
    """
    below = np.concatenate([[0.0], counts.cumsum()]) / counts.sum()
    # Bins before the first count and after the last have no values in them.
    first, last = np.flatnonzero(counts)[[0, -1]]
    within = slice(first, last + 2)
    return float(np.interp(share, below[within], edges[within]))


def _fan(
    ax: Axes,
    edges: NDArray[np.float64],
    counts: dict[int, NDArray[np.float64]],
    colour: str,
    *,
    inner: bool,
) -> None:
    """Median and band from the 5th to the 95th percentile over the epochs, or also 25th to 75th."""
    epochs = sorted(epoch for epoch, values in counts.items() if values.sum() > 0)
    if not epochs:
        return
    quantiles = np.array(
        [[quantile_of_counts(edges, counts[epoch], share) for share in SHARES] for epoch in epochs]
    )
    if len(epochs) == 1:
        # One epoch has no width: draw it as a step of half an epoch to either side.
        quantiles = np.repeat(quantiles, 2, axis=0)
        places = np.array([epochs[0] - 0.5, epochs[0] + 0.5])
    else:
        places = np.array(epochs, dtype=float)
    low, lower, median, upper, high = quantiles.T
    ax.fill_between(places, low, high, color=colour, alpha=0.16, lw=0)
    if inner:
        ax.fill_between(places, lower, upper, color=colour, alpha=0.32, lw=0)
    ax.plot(places, median, color=colour, lw=1.4)


def center_angles(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """Angles between the centres and inside the classes over the epochs, one panel per head."""
    frame = _center_frame(study, curves)
    if frame.empty:
        return message("Angles between class centres: no finished run has told any.")
    heads = [h.label for h in study.heads if h.label in set(frame["head"])]
    palette = Palette(study)
    n_columns = columns_for(len(heads), 4)
    blocks = -(-len(heads) // n_columns)
    figure, axes = panels(blocks, n_columns, height=2.2, sharex=True, sharey=True)
    for ax, head in zip(axes.flat, heads, strict=False):
        part = frame[frame["head"] == head]
        ax.set_title(head, color=palette.heads[head])
        curve(ax, part, "mean_angle", palette, MUTED)
        curve(ax, part, "target_angle", palette, INK, marker=".")
        curve(ax, part, "nearest_angle_mean", palette, palette.heads[head])
    for row in axes:
        row[0].set_ylabel("mean angle [°]")
    hide_unused(list(axes.flat), len(heads))
    label_bottoms(axes, len(heads), 1, "epoch")
    samplers = [s.label for s in study.samplers if s.label in set(frame["sampler"])]
    quantities = {
        "centre and nearest other (head's colour)": Line2D(
            [], [], color=palette.heads[heads[0]], lw=4
        ),
        "centre and any other (grey)": Line2D([], [], color=MUTED, lw=4),
        "centre and its embeddings (dots)": Line2D([], [], color=INK, marker="."),
    }
    curve_legend(figure, palette, samplers, quantities)
    return figure


def _center_frame(study: Study, curves: dict[str, list[Record]]) -> pd.DataFrame:
    """One row per run and epoch that has told about its centres."""
    specs = expansion.runs(study)
    quantities = ["nearest_angle_mean", "mean_angle", "target_angle"]
    rows = [
        {"head": specs[run].head.label, "sampler": specs[run].sampler.label, "run": run,
         "step": event["epoch"], "target_angle": event.get("target_angle"), **event["centers"]}
        for run, events in curves.items()
        for event in events
        if event.get("event") == "epoch" and event.get("centers")
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["head", "sampler", "run", "step", *quantities])
    return frame.astype({"step": float, **dict.fromkeys(quantities, float)})


def _steps(
    ax: Axes, edges: np.ndarray, target: np.ndarray, negative: np.ndarray, colour: str
) -> None:
    """Two outlines scaled to the same area, since negatives outnumber targets by far."""
    for counts, tint, alpha in ((negative, MUTED, 0.3), (target, colour, 0.55)):
        if counts.sum() > 0:
            density = counts / (counts.sum() * np.diff(edges))
            ax.stairs(density, edges, fill=True, color=tint, alpha=alpha, lw=0)
            ax.stairs(density, edges, color=tint, lw=1.1)


def _patch_legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=INK, lw=5, alpha=0.6, label="to the own class centre (head's colour)"),
        Line2D([], [], color=MUTED, lw=5, alpha=0.5, label="to the other class centres (grey)"),
    ]
    put_legend(figure, handles)
