"""Figures of cost against the number of identities: measured, planned, and published elsewhere."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore.reporting.figures.canvas import (
    columns_for,
    hide_unused,
    hover,
    legend,
    message,
    panels,
    ring,
)
from frcore.reporting.figures.palette import INK, MUTED, Palette
from frcore.reporting.figures.planned import PlannedLine, planned_lines
from frcore.reporting.figures.ticks import plain_log
from frcore.reporting.tables.published_figures import comparable_costs, cost_text
from frcore.results.cost import MEMORY, memory_column, out_of_memory
from frcore.results.rows import Rows
from frcore.study.config import Study

PLANNED: dict[str, Any] = {
    "color": MUTED,
    "ls": (0, (1.5, 1)),
    "lw": 3.0,
    "alpha": 0.55,
    "zorder": 1,
}
"""The look of what is planned: broad, grey and without markers, unlike anything measured."""

PUBLISHED: dict[str, Any] = {
    "color": INK,
    "ls": "",
    "ms": 5,
    "fillstyle": "none",
    "mew": 0.9,
    "zorder": 1.5,
}
PUBLISHED_MARKERS = {"Data Parallel": "v", "Model Parallel": "s", "Partial FC 0.1": "o"}

LABEL_WIDTH = 24
"""Letters of a line of a vertical axis' label."""

More = Callable[[Axes, str], Iterable[Line2D]]
"""Draws what else there is for a sampler, and gives the handles of it for the legend."""


def memory(study: Study, rows: Rows) -> Figure:
    """Peak memory of a step against the number of identities, one panel per sampler."""
    column = memory_column(rows.usable("measurement"))
    if column is None:
        return message("Memory: not measured.")
    label = textwrap.fill(f"{MEMORY[column]} [MiB]", LABEL_WIDTH)
    return against_identities(study, rows, column, label, _beside(study, rows, column))


def throughput(study: Study, rows: Rows) -> Figure:
    """Images per second against the number of identities, one panel per sampler."""
    usable = rows.usable("measurement")
    column = "images_per_second"
    if usable[column].notna().sum() == 0:
        return message("Throughput: not measured.")
    label = "images per second"
    return against_identities(study, rows, column, label, _beside(study, rows, column))


def _beside(study: Study, rows: Rows, column: str) -> More:
    """What stands beside a measured column: its plan, and what others have published."""

    def draw(ax: Axes, sampler: str) -> Iterable[Line2D]:
        planned = planned_lines(study, rows, sampler, column)
        published = comparable_costs(study, rows, sampler, column)
        return [*_planned(ax, planned), *_published(ax, published)]

    return draw


def _planned(ax: Axes, lines: Iterable[PlannedLine]) -> Iterable[Line2D]:
    for one in lines:
        (line,) = ax.plot(one.identities, one.values, **PLANNED)
        hover(line, one.text)
        yield Line2D([], [], **PLANNED, label="planned")


def _published(ax: Axes, points: pd.DataFrame) -> Iterable[Line2D]:
    for _, row in points.iterrows():
        look = {**PUBLISHED, "marker": PUBLISHED_MARKERS.get(row["method"], "D")}
        (point,) = ax.plot(row["identities"], row["value"], **look)
        hover(point, cost_text(row))
        yield Line2D([], [], **look, label=f"published: {row['method']}")


def against_identities(
    study: Study,
    rows: Rows,
    column: str,
    label: str,
    more: More = lambda ax, sampler: (),
) -> Figure:
    """A measured column against the number of identities, one panel per sampler.

    Args:
        study: heads and samplers in their order.
        rows: of the study.
        column: of the measurement's rows.
        label: of the vertical axis.
        more: draws what else there is for a sampler.
    """
    palette = Palette(study)
    frame = rows.measurement[rows.measurement["status"].isin(["ok", "oom"])]
    samplers = [s.label for s in study.samplers if s.label in set(frame["sampler"])]
    heads = [h.label for h in study.heads if h.label in set(frame["head"])]
    n_columns = columns_for(len(samplers), 4)
    n_rows = -(-len(samplers) // n_columns)
    figure, axes = panels(n_rows, n_columns, sharex=True, sharey=True)
    extra: dict[str, Line2D] = {}
    for ax, sampler in zip(axes.flat, samplers, strict=False):
        ax.set_title(sampler)
        for head in heads:
            points = frame[(frame["head"] == head) & (frame["sampler"] == sampler)]
            _line(ax, points.sort_values("identities"), column, palette, head, sampler)
        _mark_oom(ax, frame[frame["sampler"] == sampler], heads)
        extra |= {str(handle.get_label()): handle for handle in more(ax, sampler)}
        ax.set_xscale("log")
        ax.set_yscale("log")
    identities = frame["identities"].astype(float)
    axes.flat[0].set_xlim(identities.min() / 1.5, identities.max() * 1.5)
    hide_unused(list(axes.flat), len(samplers))
    for row in axes:
        row[0].set_ylabel(label)
        for ax in row:
            plain_log(ax)
    for ax in list(axes.flat)[: len(samplers)][-n_columns:]:
        ax.set_xlabel("identities")
        ax.tick_params(labelbottom=True)
    legend(figure, palette, heads, samplers, *extra.values())
    return figure


def _line(
    ax: Axes, points: pd.DataFrame, column: str, palette: Palette, head: str, sampler: str
) -> None:
    usable = points[(points["status"] == "ok") & points[column].notna()]
    # A reading of exactly zero ("no extra memory seen") has no place on a log axis.
    usable = usable[usable[column] > 0]
    (line,) = ax.plot(
        usable["identities"].astype(float),
        usable[column],
        ls=palette.line(sampler),
        alpha=0.9,
        color=palette.heads[head],
        marker=palette.marker(head),
        fillstyle=palette.fill(sampler),
    )
    hover(line, f"{head} + {sampler}")
    for _, row in usable[usable["disturbed"].notna()].iterrows():
        around = ring(ax, float(row["identities"]), row[column])
        hover(around, f"{head} + {sampler}, disturbed: {row['disturbed']}")


def _mark_oom(ax: Axes, tried: pd.DataFrame, heads: list[str]) -> None:
    """One cross at the upper edge for each size that some head had no room for, with its words."""
    all_refused = tried[tried["status"] == "oom"]
    for place, identities in enumerate(sorted(all_refused["identities"].unique())):
        refused = all_refused[all_refused["identities"] == identities]
        (mark,) = ax.plot(
            identities, 0.99, marker="x", ms=7, mew=2, ls="", color=INK,
            transform=ax.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        there = [head for head in heads if head in set(refused["head"])]
        hover(mark, f"out of memory at {identities:,} identities: {', '.join(there)}")
        count = tried.loc[tried["identities"] == identities, "head"].nunique()
        share = "" if len(there) == count else f"{len(there)} of {count} heads"
        text = "\n".join(filter(None, (*out_of_memory(refused), share)))
        ax.annotate(text, (identities, 0.93 - 0.17 * place), xycoords=ax.get_xaxis_transform(),
                    ha="right", va="top", fontsize="x-small", color=MUTED)  # fmt: skip
