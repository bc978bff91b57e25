"""Figures of training: scale, angles, a head's own state and its centres over the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore.reporting.figures.canvas import Message, put_legend, small_multiples
from frcore.reporting.figures.marks import same_range
from frcore.reporting.figures.palette import INK, MUTED, Palette, present
from frcore.results.frames import Row
from frcore.study import expansion
from frcore.study.config import Study

MAX_STEPS = 120
"""Points of a curve: more would be invisible and bloat the page."""

CURVES = ("scale", "target_angle", "negative_angle")
CENTERS = ("nearest_angle_mean", "mean_angle", "target_angle")

Curves = dict[str, list[Row]]
"""Run -> its events."""


def training(study: Study, curves: Curves) -> Figure:
    """Scale s(t) above, target and negative angle below; one column per head."""
    frame = _frame(study, curves, _logged, CURVES)
    if frame.empty:
        return Message("Training curves: no finished run has recorded any.")
    palette, heads = Palette(study), present(study.heads, frame["head"])
    rows = ("scale s", "mean angle [°]")
    figure, grid = small_multiples(heads, rows, limit=5, height=1.9, xlabel="training step",
                                   colours=palette.heads, sharex=True, sharey="row")  # fmt: skip
    for head in heads:
        part, lower = frame[frame["head"] == head], grid[head, rows[1]]
        _curve(grid[head, rows[0]], part, "scale", palette, palette.heads[head])
        _curve(lower, part, "target_angle", palette, palette.heads[head])
        _curve(lower, part, "negative_angle", palette, MUTED)
        lower.axhline(90, color=MUTED, lw=0.6, ls=":")
    for row in rows:
        same_range(grid[head, row] for head in heads)
    _legend(
        figure, palette, frame,
        Line2D([], [], color=INK, lw=4, label="target: angle to the own class centre"),
        Line2D([], [], color=MUTED, lw=4, label="negative: angle to the other centres (grey)"),
    )  # fmt: skip
    return figure


def head_state(study: Study, curves: Curves) -> Figure:
    """State reported by heads, under any name: one panel per head and name."""
    frame = _frame(study, curves, _states, ("value",)).dropna(subset=["value"])
    if frame.empty:
        return Message("State of the heads: no finished run has a head with additional state.")
    names = frame[["head", "name"]].drop_duplicates()
    shown = {f"{head}: {name}": (head, name)
             for head in present(study.heads, frame["head"])
             for name in names[names["head"] == head]["name"]}  # fmt: skip
    palette = Palette(study)
    colours = {title: palette.heads[head] for title, (head, _) in shown.items()}
    figure, grid = small_multiples(list(shown), limit=4, height=2.0, xlabel="training step",
                                   colours=colours)  # fmt: skip
    for title, (head, name) in shown.items():
        part = frame[(frame["head"] == head) & (frame["name"] == name)]
        _curve(grid[title, ""], part, "value", palette, palette.heads[head])
    _legend(figure, palette, frame)
    return figure


def center_angles(study: Study, curves: Curves) -> Figure:
    """Angles between centres and within classes over the epochs, one panel per head."""
    frame = _frame(study, curves, _centers, CENTERS)
    if frame.empty:
        return Message("Angles between class centres: no finished run has recorded any.")
    palette, heads = Palette(study), present(study.heads, frame["head"])
    figure, grid = small_multiples(heads, ("mean angle [°]",), limit=4, height=2.2, xlabel="epoch",
                                   colours=palette.heads, sharex=True, sharey=True)  # fmt: skip
    for (head, _), ax in grid.items():
        part = frame[frame["head"] == head]
        _curve(ax, part, "mean_angle", palette, MUTED)
        _curve(ax, part, "target_angle", palette, INK, marker=".")
        _curve(ax, part, "nearest_angle_mean", palette, palette.heads[head])
    first = palette.heads[heads[0]]
    _legend(
        figure, palette, frame,
        Line2D([], [], color=first, lw=4, label="centre and nearest other (head's colour)"),
        Line2D([], [], color=MUTED, lw=4, label="centre and any other (grey)"),
        Line2D([], [], color=INK, marker=".", label="centre and its embeddings (dots)"),
    )  # fmt: skip
    return figure


def _frame(
    study: Study, curves: Curves, of: Callable[[list[Row]], Iterable[Row]],
    quantities: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """One row for each that `of` derives from a run's events, with its head, sampler and `run`."""
    specs = expansion.runs(study)
    rows = [
        {**row, "head": specs[run].head.label, "sampler": specs[run].sampler.label, "run": run}
        for run, events in curves.items()
        for row in of(events)
    ]
    frame = pd.DataFrame(rows, columns=["head", "sampler", "run", "step", "name", *quantities])
    return frame.astype({"step": float, **dict.fromkeys(quantities, float)})


def _logged(events: list[Row]) -> list[Row]:
    """Logged steps; epochs if a run logged no steps."""
    epochs = [{**event, "step": event.get("epoch")} for event in _of_kind(events, "epoch")]
    return _thinned(_of_kind(events, "step") or epochs)


def _states(events: list[Row]) -> Iterable[Row]:
    for event in _thinned([one for one in _of_kind(events, "step") if "step" in one]):
        for name, value in (event.get("head") or {}).items():
            yield {"step": event["step"], "name": name, "value": value}


def _centers(events: list[Row]) -> Iterable[Row]:
    for event in _of_kind(events, "epoch"):
        if event.get("centers"):
            angle = event.get("target_angle")
            yield {"step": event["epoch"], "target_angle": angle, **event["centers"]}


def _of_kind(events: list[Row], kind: str) -> list[Row]:
    return [event for event in events if event.get("event") == kind]


def _thinned(events: list[Row]) -> list[Row]:
    """At most `MAX_STEPS` of them, evenly spaced."""
    if len(events) <= MAX_STEPS:
        return events
    return [events[i] for i in np.unique(np.linspace(0, len(events) - 1, MAX_STEPS).astype(int))]


def _curve(
    ax: Axes, part: pd.DataFrame, column: str, palette: Palette, colour: str, *, marker: str = ""
) -> None:
    """Mean over seeds, with a band from the lowest to the highest seed."""
    for sampler, runs in part.dropna(subset=[column]).groupby("sampler"):
        over_seeds = runs.groupby("step")[column].agg(["mean", "min", "max"])
        steps = over_seeds.index.to_numpy()
        # A line with a single point would be invisible.
        dot = marker or ("o" if len(steps) == 1 else "")
        line = palette.line(str(sampler))
        ax.plot(steps, over_seeds["mean"], color=colour, ls=line, lw=1.3, marker=dot)
        if runs["run"].nunique() > 1:
            ax.fill_between(
                steps, over_seeds["min"], over_seeds["max"], color=colour, alpha=0.18, lw=0
            )


def _legend(figure: Figure, palette: Palette, frame: pd.DataFrame, *quantities: Line2D) -> None:
    """Samplers by line style, then the elements drawn."""
    there = set(frame["sampler"])
    lines = [Line2D([], [], color=INK, ls=palette.line(name), label=name)
             for name in palette.samplers if name in there]  # fmt: skip
    put_legend(figure, lines, quantities)
