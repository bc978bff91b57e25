"""The figure of accuracy against the time of a step, with its Pareto front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from frcore.reporting.figures.canvas import Message, hover, legend, small_multiples
from frcore.reporting.figures.marks import bars, plain_ticks, ring
from frcore.reporting.figures.palette import INK, MUTED, Palette, present
from frcore.reporting.tables.accuracy import interval_text, percent
from frcore.reporting.tables.pareto import Standing, standings
from frcore.results.cost import comparable_identities, is_disturbed
from frcore.results.summary import Column, Method, Summary

OPACITY: Mapping[Standing, float] = {"front": 1.0, "tied": 0.85, "behind": 0.3}
WORDS: Mapping[Standing, str] = {
    "front": "on the front", "tied": "statistically tied with the front",
    "behind": "behind the front",
}  # fmt: skip
FRONT: dict[str, Any] = {"color": MUTED, "lw": 1.1, "ls": (0, (4, 1.5)), "zorder": 1}
LOG_FROM = 8.0
"""Ratio of the longest to the shortest step above which the time axis is logarithmic."""

NAMED = 6
"""Methods labelled on a front; on a longer one, only its ends are labelled."""


def accuracy_cost(summary: Summary) -> Figure:
    """Each benchmark's main number against the time of one step; both with intervals."""
    study, rows = summary.study, summary.rows
    identities = comparable_identities(rows)
    if identities is None:
        return Message("Accuracy against cost: no step time was measured.")
    mains = {c.title: c for c in summary.main_columns() if not summary.why_unmarked(c)}
    if not mains:
        return Message("Accuracy against cost: no benchmark has results with an interval yet.")
    usable = rows.usable("measurement")
    usable = usable[(usable["identities"] == identities) & usable["step_ms"].notna()]
    measured = {(row["head"], row["sampler"]): row for _, row in usable.iterrows()}
    times = {
        method: measured[method.head, method.sampler]
        for method in summary.methods
        if (method.head, method.sampler) in measured
        and any(summary.cell(method, c).value is not None for c in mains.values())
    }
    if not times:
        return Message("Accuracy against cost: no method has both results and a step time yet.")
    palette = Palette(study)
    figure, grid = small_multiples(list(mains), limit=2, height=3.4)
    for (title, _), ax in grid.items():
        _panel(ax, summary, mains[title], times, palette)
        ax.set_xlabel(f"time of one step at {identities:,} identities [ms]")
        ax.set_ylabel(f"{mains[title].text} [%]")
    legend(
        figure,
        palette,
        present(study.heads, (method.head for method in times)),
        present(study.samplers, (method.sampler for method in times)),
        Line2D([], [], **FRONT, label="Pareto front"),
        Line2D([], [], color=INK, marker="o", ls="", alpha=OPACITY["behind"], label="behind it"),
    )
    return figure


def _panel(
    ax: Axes, summary: Summary, column: Column, times: Mapping[Method, pd.Series], palette: Palette
) -> None:
    steps = {method: float(row["step_ms"]) for method, row in times.items()}
    front, standing = standings(summary, column, steps)
    alike: dict[tuple[str, Standing], list[Method]] = defaultdict(list)
    for method, how in standing.items():
        _point(ax, summary, column, method, times[method], palette, how)
        alike[method.head, how].append(method)
    for (head, how), methods in alike.items():
        # Intervals of several points at once: one call per point takes far longer.
        ends = np.array([[times[m][f"step_ms{end}"] for end in ("", "_low", "_high")]
                         for m in methods], dtype=float)  # fmt: skip
        bars(ax, ends, [summary.cell(m, column) for m in methods], palette.heads[head],
             alpha=OPACITY[how])  # fmt: skip
    if not front:
        return
    values = [100 * (summary.cell(method, column).value or 0.0) for method in front]
    # To the right of the last one nothing is better, at any cost.
    places = [*(steps[method] for method in front), max(steps.values())]
    ax.step(places, [*values, values[-1]], where="post", **FRONT)
    if places[-1] > LOG_FROM * places[0]:
        ax.set_xscale("log")
        plain_ticks(ax.xaxis)
    ax.margins(0.1)
    ax.autoscale_view()
    _name(ax, [summary.name(method) for method in front], places, values)


def _name(ax: Axes, names: Sequence[str], places: Sequence[float], values: Sequence[float]) -> None:
    """Label the front's methods above its line, towards the middle of the panel.

    The most accurate comes first; labels that would overlap another are omitted.
    """
    kept = range(len(names)) if len(names) <= NAMED else (0, len(names) - 1)
    written: list[Bbox] = []
    for i in reversed(kept):
        shares = ax.transAxes.inverted().transform(ax.transData.transform((places[i], values[i])))
        aside, side = (5, "left") if shares[0] < 0.5 else (-5, "right")
        name = ax.annotate(
            names[i], (places[i], values[i]), xytext=(aside, 4), ha=side, va="bottom",
            textcoords="offset points", fontsize="x-small", color=INK,
        )  # fmt: skip
        box = name.get_window_extent()
        if box.count_overlaps(written):
            name.remove()
        else:
            written.append(box)


def _point(
    ax: Axes, summary: Summary, column: Column, method: Method, time: pd.Series, palette: Palette,
    how: Standing,
) -> None:  # fmt: skip
    cell = summary.cell(method, column)
    value = cell.value or 0.0
    step, low, high = (float(time[name]) for name in ("step_ms", "step_ms_low", "step_ms_high"))
    (point,) = ax.plot(
        step, 100 * value, ls="", color=palette.heads[method.head],
        marker=palette.marker(method.head), fillstyle=palette.fill(method.sampler),
        ms=7 if how == "front" else 5.5, alpha=OPACITY[how],
    )  # fmt: skip
    words = WORDS[how]
    if is_disturbed(time):
        ring(ax, step, 100 * value)
        words += f", disturbed ({time['disturbed']})"
    number = f"{percent(value)} % {interval_text(cell)}".strip()
    runs = ", ".join(row.run for row in summary.part(method, column))
    hover(point, f"{summary.name(method)}, {words}: {number}, {step:.3g} ms "
          f"[{low:.3g}, {high:.3g}] a step. Runs: {runs}")  # fmt: skip
