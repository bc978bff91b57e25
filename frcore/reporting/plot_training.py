"""Figures of training: scale and angles over the steps, and the last epoch's angle histograms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore import plan
from frcore.config import Study
from frcore.reporting.canvas import columns_for, hide_unused, message, panels, same_range
from frcore.reporting.palette import INK, MUTED, Palette
from frcore.reporting.records import Record, read_events
from frcore.reporting.rows import Rows

MAX_STEPS = 120
"""Points of a curve: more than this cannot be seen, and would swell the page."""

CURVES = ("scale", "target_angle", "negative_angle")


def read_curves(study: Study, root: Path, rows: Rows) -> dict[str, list[Record]]:
    """The events of each finished run by its id."""
    finished = set(rows.usable("training")["run"])
    return {
        name: read_events(root / "runs" / name / "metrics.jsonl")
        for name in plan.runs(study)
        if name in finished
    }


def training(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """Scale s(t) above, target and negative angle below; one column per head."""
    frame = _curve_frame(study, curves)
    if frame.empty:
        return message("Training curves: no finished run has any.")
    heads = [h.label for h in study.heads if h.label in set(frame["head"])]
    palette = Palette(study)
    n_columns = columns_for(len(heads), 5)
    blocks = -(-len(heads) // n_columns)
    figure, axes = panels(2 * blocks, n_columns, height=1.9, sharex=True, sharey="row")
    for position, head in enumerate(heads):
        block, column = divmod(position, n_columns)
        upper, lower = axes[2 * block, column], axes[2 * block + 1, column]
        upper.set_title(head, color=palette.heads[head])
        part = frame[frame["head"] == head]
        _curve(upper, part, "scale", palette, palette.heads[head])
        _curve(lower, part, "target_angle", palette, palette.heads[head])
        _curve(lower, part, "negative_angle", palette, MUTED)
        upper.set_ylabel("scale s" if column == 0 else "")
        lower.set_ylabel("mean angle [°]" if column == 0 else "")
        lower.axhline(90, color=MUTED, lw=0.6, ls=":")
    for block in range(blocks):
        for column in range(n_columns):
            if block * n_columns + column >= len(heads):
                hide_unused([axes[2 * block, column], axes[2 * block + 1, column]], 0)
    for row in (0, 1):
        same_range(axes[row::2].flat[: len(heads)])
    _label_bottoms(axes, len(heads), 2, "training step")
    samplers = [s.label for s in study.samplers if s.label in set(frame["sampler"])]
    _legend(figure, palette, samplers)
    return figure


def _label_bottoms(axes: np.ndarray, panels_used: int, rows: int, label: str) -> None:
    """Label the horizontal axis of the lowest panel in use of each column."""
    n_columns = axes.shape[1]
    for column in range(min(n_columns, panels_used)):
        block = (panels_used - 1 - column) // n_columns
        lowest = axes[(block + 1) * rows - 1, column]
        lowest.set_xlabel(label)
        lowest.tick_params(labelbottom=True)


def _curve_frame(study: Study, curves: dict[str, list[Record]]) -> pd.DataFrame:
    """One row per run and logged step; epochs where a run logged no steps."""
    parts = []
    for name, events in curves.items():
        spec = plan.runs(study)[name]
        steps = [e for e in events if e.get("event") == "step"]
        if not steps:
            steps = [{**e, "step": e.get("epoch")} for e in events if e.get("event") == "epoch"]
        if steps:
            keep = np.unique(np.linspace(0, len(steps) - 1, MAX_STEPS).astype(int))
            part = pd.DataFrame([steps[i] for i in keep]).reindex(columns=["step", *CURVES])
            parts.append(part.assign(head=spec.head.label, sampler=spec.sampler.label, run=name))
    if not parts:
        return pd.DataFrame(columns=["step", *CURVES, "head", "sampler", "run"])
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"step": float, **dict.fromkeys(CURVES, float)})


def _curve(ax: Axes, part: pd.DataFrame, column: str, palette: Palette, colour: str) -> None:
    """Mean over seeds, with a band from the least to the largest seed."""
    for sampler, runs in part.groupby("sampler", observed=True):
        runs = runs.dropna(subset=[column])
        if runs.empty:
            continue
        over_seeds = runs.groupby("step")[column].agg(["mean", "min", "max"])
        steps = over_seeds.index.to_numpy()
        ax.plot(steps, over_seeds["mean"], color=colour, ls=palette.line(str(sampler)), lw=1.3)
        if runs["run"].nunique() > 1:
            ax.fill_between(
                steps, over_seeds["min"], over_seeds["max"], color=colour, alpha=0.18, lw=0
            )


def _legend(figure: Figure, palette: Palette, samplers: list[str]) -> None:
    handles = [Line2D([], [], color=INK, ls=palette.line(s), label=s) for s in samplers]
    handles += [
        Line2D([], [], color=INK, lw=4, label="target: angle to the own class centre"),
        Line2D([], [], color=MUTED, lw=4, label="negative: angle to the other centres (grey)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.6)


def angle_histograms(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """Angles in the last epoch, summed over seeds: heads across, samplers down."""
    histograms = _histograms(study, curves)
    if not histograms:
        return message("Angle histograms: no finished run has any.")
    pairs = [
        (head.label, sampler.label)
        for head in study.heads
        for sampler in study.samplers
        if (head.label, sampler.label) in histograms
    ]
    heads = list(dict.fromkeys(head for head, _ in pairs))
    samplers = [s.label for s in study.samplers if s.label in {sampler for _, sampler in pairs}]
    palette = Palette(study)
    n_columns = columns_for(len(heads), 5)
    blocks = -(-len(heads) // n_columns)
    figure, axes = panels(blocks * len(samplers), n_columns, height=1.35, sharex=True, sharey=True)
    for ax in axes.flat:
        ax.set_yticks([])
        ax.grid(visible=False)
        ax.spines["left"].set_visible(False)
    for position, head in enumerate(heads):
        block, column = divmod(position, n_columns)
        for row, sampler in enumerate(samplers):
            ax = axes[block * len(samplers) + row, column]
            if row == 0:
                ax.set_title(head, color=palette.heads[head])
            if column == 0:
                ax.set_ylabel(sampler)
            if (head, sampler) in histograms:
                _steps(ax, *histograms[head, sampler], palette.heads[head])
    last = len(heads) - (blocks - 1) * n_columns
    for row in range(len(samplers)):
        hide_unused(list(axes[(blocks - 1) * len(samplers) + row]), last)
    _label_bottoms(axes, len(heads), len(samplers), "angle [°]")
    _histogram_legend(figure)
    return figure


def _histograms(
    study: Study, curves: dict[str, list[Record]]
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(head, sampler) -> bin edges, target counts, negative counts, summed over runs."""
    found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for name, events in curves.items():
        spec = plan.runs(study)[name]
        edges = next(
            (e["angle_edges_degrees"] for e in events if e.get("angle_edges_degrees")), None
        )
        epochs = [e for e in events if e.get("event") == "epoch" and e.get("target_histogram")]
        if edges is None or not epochs:
            continue
        target = np.asarray(epochs[-1]["target_histogram"], dtype=float)
        negative = np.asarray(epochs[-1].get("negative_histogram") or 0 * target, dtype=float)
        key = (spec.head.label, spec.sampler.label)
        if key in found:
            target, negative = found[key][1] + target, found[key][2] + negative
        found[key] = (np.asarray(edges, dtype=float), target, negative)
    return found


def _steps(
    ax: Axes, edges: np.ndarray, target: np.ndarray, negative: np.ndarray, colour: str
) -> None:
    """Two outlines scaled to the same area, since negatives outnumber targets by far."""
    for counts, tint, alpha in ((negative, MUTED, 0.3), (target, colour, 0.55)):
        if counts.sum() > 0:
            density = counts / (counts.sum() * np.diff(edges))
            ax.stairs(density, edges, fill=True, color=tint, alpha=alpha, lw=0)
            ax.stairs(density, edges, color=tint, lw=1.1)


def _histogram_legend(figure: Figure) -> None:
    handles = [
        Line2D([], [], color=INK, lw=5, alpha=0.6, label="to the own class centre (head's colour)"),
        Line2D([], [], color=MUTED, lw=5, alpha=0.5, label="to the other class centres (grey)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
