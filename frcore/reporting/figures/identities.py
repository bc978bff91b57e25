"""Figures of cost against the number of identities: measured, predicted and published."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from frcore.reporting.figures.canvas import Message, hover, legend, small_multiples
from frcore.reporting.figures.marks import log_axes, ring
from frcore.reporting.figures.palette import INK, MUTED, Palette, present
from frcore.reporting.figures.planned import planned_lines
from frcore.reporting.tables.published_figures import comparable_costs, cost_text
from frcore.results.cost import MEMORY, memory_column, out_of_memory
from frcore.results.rows import Rows
from frcore.study.config import Study

PLANNED: dict[str, Any] = {
    "color": MUTED, "ls": (0, (1.5, 1)), "lw": 3.0, "alpha": 0.55, "zorder": 1,
}  # fmt: skip
"""Look of planned lines: wide, grey and without markers, unlike anything measured."""

PUBLISHED: dict[str, Any] = {
    "color": INK, "ls": "", "ms": 5, "fillstyle": "none", "mew": 0.9, "zorder": 1.5,
}  # fmt: skip
PUBLISHED_MARKERS = {"Data Parallel": "v", "Model Parallel": "s", "Partial FC 0.1": "o"}

LABEL_WIDTH = 24
"""Characters per line of a vertical axis label."""

More = Callable[[Axes, str], Iterable[Line2D]]
"""Draws additional elements for a sampler and returns their legend handles."""


def memory(study: Study, rows: Rows) -> Figure:
    """Peak memory of a step against the number of identities, one panel per sampler."""
    column = memory_column(rows.usable("measurement"))
    if column is None:
        return Message("Memory: not measured.")
    label = textwrap.fill(f"{MEMORY[column]} [MiB]", LABEL_WIDTH)
    return against_identities(study, rows, column, label, _beside(study, rows, column))


def throughput(study: Study, rows: Rows) -> Figure:
    """Images per second against the number of identities, one panel per sampler."""
    column = "images_per_second"
    if rows.usable("measurement")[column].isna().all():
        return Message("Throughput: not measured.")
    label = "images per second"
    return against_identities(study, rows, column, label, _beside(study, rows, column))


def _beside(study: Study, rows: Rows, column: str) -> More:
    """Elements drawn beside a measured column: its plan, and published values."""

    def draw(ax: Axes, sampler: str) -> Iterable[Line2D]:
        for one in planned_lines(study, rows, sampler, column):
            hover(ax.plot(one.identities, one.values, **PLANNED)[0], one.text)
            yield Line2D([], [], **PLANNED, label="planned")
        for _, row in comparable_costs(study, rows, sampler, column).iterrows():
            look = {**PUBLISHED, "marker": PUBLISHED_MARKERS.get(row["method"], "D")}
            hover(ax.plot(row["identities"], row["value"], **look)[0], cost_text(row))
            yield Line2D([], [], **look, label=f"published: {row['method']}")

    return draw


def against_identities(
    study: Study, rows: Rows, column: str, label: str, more: More = lambda ax, sampler: ()
) -> Figure:
    """A measured column against the number of identities, one panel per sampler.

    Args:
        study: heads and samplers in their order.
        rows: of the study.
        column: of the measurement's rows.
        label: of the vertical axis.
        more: draws additional elements for a sampler.
    """
    palette = Palette(study)
    frame = rows.measurement[rows.measurement["status"].isin(["ok", "oom"])]
    heads, samplers = present(study.heads, frame["head"]), present(study.samplers, frame["sampler"])
    figure, grid = small_multiples(samplers, (label,), limit=4, height=2.5, xlabel="identities",
                                   sharex=True, sharey=True)  # fmt: skip
    extra: dict[str, Line2D] = {}
    for (sampler, _), ax in grid.items():
        own = frame[frame["sampler"] == sampler]
        for head in heads:
            points = own[own["head"] == head].sort_values("identities")
            _line(ax, points, column, palette, head, sampler)
        _mark_oom(ax, own, heads)
        extra |= {str(handle.get_label()): handle for handle in more(ax, sampler)}
    identities = frame["identities"].astype(float)
    log_axes(grid.values(), (identities.min() / 1.5, identities.max() * 1.5))
    legend(figure, palette, heads, samplers, *extra.values())
    return figure


def _line(
    ax: Axes, points: pd.DataFrame, column: str, palette: Palette, head: str, sampler: str
) -> None:
    # A reading of exactly zero ("no extra memory") cannot be drawn on a log axis.
    usable = points[(points["status"] == "ok") & (points[column] > 0)]
    (line,) = ax.plot(
        usable["identities"].astype(float), usable[column], ls=palette.line(sampler), alpha=0.9,
        color=palette.heads[head], marker=palette.marker(head), fillstyle=palette.fill(sampler),
    )  # fmt: skip
    hover(line, f"{head} + {sampler}")
    for _, row in usable[usable["disturbed"].notna()].iterrows():
        around = ring(ax, float(row["identities"]), row[column])
        hover(around, f"{head} + {sampler}, disturbed: {row['disturbed']}")


def _mark_oom(ax: Axes, tried: pd.DataFrame, heads: list[str]) -> None:
    """One cross at the upper edge, with a label, for each size at which some head ran out of
    memory."""
    across = ax.get_xaxis_transform()
    refused = tried[tried["status"] == "oom"].groupby("identities")
    for place, (size, points) in enumerate(refused):
        identities = int(str(size))
        (mark,) = ax.plot(
            identities, 0.99, marker="x", ms=7, mew=2, ls="", color=INK, transform=across,
            clip_on=False,
        )  # fmt: skip
        there = [head for head in heads if head in set(points["head"])]
        hover(mark, f"out of memory at {identities:,} identities: {', '.join(there)}")
        count = tried.loc[tried["identities"] == identities, "head"].nunique()
        share = "" if len(there) == count else f"{len(there)} of {count} heads"
        text = "\n".join(filter(None, (*out_of_memory(points), share)))
        ax.annotate(text, (identities, 0.93 - 0.17 * place), xycoords=across, ha="right", va="top",
                    fontsize="x-small", color=MUTED)  # fmt: skip
