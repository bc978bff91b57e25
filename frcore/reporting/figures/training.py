"""Figures of training: scale, angles and a head's own state over the steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore.reporting.figures.canvas import (
    columns_for,
    hide_unused,
    message,
    panels,
    put_legend,
    same_range,
)
from frcore.reporting.figures.grids import label_bottoms, paired_grid
from frcore.reporting.figures.palette import INK, MUTED, Palette
from frcore.results.reading import read_events
from frcore.results.records import Record
from frcore.results.rows import Rows
from frcore.study import expansion
from frcore.study.config import Study

MAX_STEPS = 120
"""Points of a curve: more than this cannot be seen, and would swell the page."""

CURVES = ("scale", "target_angle", "negative_angle")


def read_curves(study: Study, root: Path, rows: Rows) -> dict[str, list[Record]]:
    """The events of each finished run by its id."""
    finished = set(rows.usable("training")["run"])
    return {
        name: read_events(root / "runs" / name / "metrics.jsonl")
        for name in expansion.runs(study)
        if name in finished
    }


def training(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """Scale s(t) above, target and negative angle below; one column per head."""
    frame = _curve_frame(study, curves)
    if frame.empty:
        return message("Training curves: no finished run has any.")
    palette = Palette(study)
    figure, grid, axes = paired_grid(study, set(frame["head"]), "training step")
    for head, (upper, lower) in grid.items():
        part = frame[frame["head"] == head]
        curve(upper, part, "scale", palette, palette.heads[head])
        curve(lower, part, "target_angle", palette, palette.heads[head])
        curve(lower, part, "negative_angle", palette, MUTED)
        lower.axhline(90, color=MUTED, lw=0.6, ls=":")
    for upper, lower in zip(axes[::2, 0], axes[1::2, 0], strict=True):
        upper.set_ylabel("scale s")
        lower.set_ylabel("mean angle [°]")
    for row in (0, 1):
        same_range(pair[row] for pair in grid.values())
    samplers = [s.label for s in study.samplers if s.label in set(frame["sampler"])]
    quantities = {
        "target: angle to the own class centre": Line2D([], [], color=INK, lw=4),
        "negative: angle to the other centres (grey)": Line2D([], [], color=MUTED, lw=4),
    }
    curve_legend(figure, palette, samplers, quantities)
    return figure


def _curve_frame(study: Study, curves: dict[str, list[Record]]) -> pd.DataFrame:
    """One row per run and logged step; epochs where a run logged no steps."""
    parts = []
    for name, events in curves.items():
        spec = expansion.runs(study)[name]
        steps = [e for e in events if e.get("event") == "step"]
        if not steps:
            steps = [{**e, "step": e.get("epoch")} for e in events if e.get("event") == "epoch"]
        if steps:
            part = pd.DataFrame(_thinned(steps)).reindex(columns=["step", *CURVES])
            parts.append(part.assign(head=spec.head.label, sampler=spec.sampler.label, run=name))
    if not parts:
        return pd.DataFrame(columns=["step", *CURVES, "head", "sampler", "run"])
    frame = pd.concat(parts, ignore_index=True)
    return frame.astype({"step": float, **dict.fromkeys(CURVES, float)})


def curve(
    ax: Axes, part: pd.DataFrame, column: str, palette: Palette, colour: str, *, marker: str = ""
) -> None:
    """Mean over seeds, with a band from the least to the largest seed."""
    for sampler, runs in part.groupby("sampler", observed=True):
        runs = runs.dropna(subset=[column])
        if runs.empty:
            continue
        over_seeds = runs.groupby("step")[column].agg(["mean", "min", "max"])
        steps = over_seeds.index.to_numpy()
        # A line of one point cannot be seen.
        dot = marker or ("o" if len(steps) == 1 else "")
        line = palette.line(str(sampler))
        ax.plot(steps, over_seeds["mean"], color=colour, ls=line, lw=1.3, marker=dot)
        if runs["run"].nunique() > 1:
            ax.fill_between(
                steps, over_seeds["min"], over_seeds["max"], color=colour, alpha=0.18, lw=0
            )


def curve_legend(
    figure: Figure, palette: Palette, samplers: list[str], quantities: Mapping[str, Line2D]
) -> None:
    """Samplers by line, then what is drawn."""
    lines = [Line2D([], [], color=INK, ls=palette.line(name), label=name) for name in samplers]
    for name, handle in quantities.items():
        handle.set_label(name)
    put_legend(figure, lines, list(quantities.values()))


def head_state(study: Study, curves: dict[str, list[Record]]) -> Figure:
    """What heads offer of their state, whatever its name: one panel per head and name."""
    frame = _state_frame(study, curves)
    if frame.empty:
        return message("State of the heads: no finished run has a head with a state of its own.")
    order = {head.label: position for position, head in enumerate(study.heads)}
    shown = sorted(
        frame[["head", "name"]].drop_duplicates().itertuples(index=False, name=None),
        key=lambda pair: order[pair[0]],
    )
    palette = Palette(study)
    n_columns = columns_for(len(shown), 4)
    figure, axes = panels(-(-len(shown) // n_columns), n_columns, height=2.0)
    for ax, (head, name) in zip(axes.flat, shown, strict=False):
        part = frame[(frame["head"] == head) & (frame["name"] == name)]
        ax.set_title(f"{head}: {name}", color=palette.heads[head])
        curve(ax, part, "value", palette, palette.heads[head])
    hide_unused(list(axes.flat), len(shown))
    label_bottoms(axes, len(shown), 1, "training step")
    samplers = [s.label for s in study.samplers if s.label in set(frame["sampler"])]
    curve_legend(figure, palette, samplers, {})
    return figure


def _state_frame(study: Study, curves: dict[str, list[Record]]) -> pd.DataFrame:
    """One row per run, logged step and name of a state."""
    specs = expansion.runs(study)
    rows = [
        {"head": specs[run].head.label, "sampler": specs[run].sampler.label, "run": run,
         "step": event["step"], "name": name, "value": value}
        for run, events in curves.items()
        for event in _thinned([e for e in events if e.get("event") == "step" and "step" in e])
        for name, value in (event.get("head") or {}).items()
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["head", "sampler", "run", "step", "name", "value"])
    return frame.astype({"step": float, "value": float}).dropna(subset=["value"])


def _thinned(events: list[Record]) -> list[Record]:
    """At most `MAX_STEPS` of them, equally far apart."""
    if len(events) <= MAX_STEPS:
        return events
    return [events[i] for i in np.unique(np.linspace(0, len(events) - 1, MAX_STEPS).astype(int))]
