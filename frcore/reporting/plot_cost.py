"""Figures of cost: memory and throughput against identities, accuracy against time."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from frcore.config import Study
from frcore.reporting.canvas import columns_for, hide_unused, hover, legend, message, panels
from frcore.reporting.cost import (
    MEMORY,
    comparable_identities,
    is_disturbed,
    memory_column,
    out_of_memory,
)
from frcore.reporting.palette import MUTED, Palette
from frcore.reporting.rows import Rows
from frcore.reporting.summary import Column, Method, Summary
from frcore.reporting.table_accuracy import interval_text, percent

HOLLOW = "#ffffff"
"""The inside of the marker of a disturbed measurement."""


def memory(study: Study, rows: Rows) -> Figure:
    """Peak memory of a step against the number of identities, one panel per sampler."""
    column = memory_column(rows.usable("measurement"))
    if column is None:
        return message("Memory: not measured.")
    return against_identities(study, rows, column, f"{MEMORY[column]}\n[MiB]")


def throughput(study: Study, rows: Rows) -> Figure:
    """Images per second against the number of identities, one panel per sampler."""
    usable = rows.usable("measurement")
    if usable["images_per_second"].notna().sum() == 0:
        return message("Throughput: not measured.")
    return against_identities(study, rows, "images_per_second", "images per second")


def against_identities(
    study: Study,
    rows: Rows,
    column: str,
    label: str,
    more: Callable[[Axes, str], None] = lambda ax, sampler: None,
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
    for ax, sampler in zip(axes.flat, samplers, strict=False):
        ax.set_title(sampler)
        for head in heads:
            points = frame[(frame["head"] == head) & (frame["sampler"] == sampler)]
            _line(ax, points.sort_values("identities"), column, palette, head, sampler)
        _say_out_of_memory(ax, frame[frame["sampler"] == sampler])
        more(ax, sampler)
        ax.set_xscale("log")
        ax.set_yscale("log")
    identities = frame["identities"].astype(float)
    axes.flat[0].set_xlim(identities.min() / 1.5, identities.max() * 1.5)
    hide_unused(list(axes.flat), len(samplers))
    for row in axes:
        row[0].set_ylabel(label)
        for ax in row:
            plain_log(ax)
    for ax in axes[-1]:
        ax.set_xlabel("identities")
    legend(figure, palette, heads, samplers)
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
        marker=palette.marker(sampler),
    )
    hover(line, f"{head} + {sampler}")
    for _, row in usable[usable["disturbed"].notna()].iterrows():
        (hollow,) = ax.plot(
            float(row["identities"]), row[column], ls="", color=palette.heads[head],
            marker=palette.marker(sampler), mfc=HOLLOW,
        )  # fmt: skip
        hover(hollow, f"{head} + {sampler}, disturbed: {row['disturbed']}")
    for identities in points[points["status"] == "oom"]["identities"].astype(float):
        ax.plot(identities, 0.97, marker="x", ms=8, mew=2, ls="", color=palette.heads[head],
                transform=ax.get_xaxis_transform(), clip_on=False)  # fmt: skip


def _say_out_of_memory(ax: Axes, points: pd.DataFrame) -> None:
    """Under the crosses of each size: what was asked for, once for all heads."""
    refused = points[points["status"] == "oom"]
    for place, identities in enumerate(sorted(refused["identities"].unique())):
        text = "\n".join(filter(None, out_of_memory(refused[refused["identities"] == identities])))
        ax.annotate(text, (float(identities), 0.92 - 0.14 * place), va="top", ha="right",
                    xycoords=ax.get_xaxis_transform(), fontsize="x-small", color=MUTED)  # fmt: skip


def accuracy_cost(study: Study, rows: Rows, summary: Summary) -> Figure:
    """Each benchmark's main number against the time of one step; both with intervals."""
    identities = comparable_identities(rows)
    if identities is None:
        return message("Accuracy against cost: no step time was measured.")
    mains = [column for column in summary.main_columns() if summary.has_numbers(column)]
    if not mains:
        return message("Accuracy against cost: no benchmark has a number yet.")
    palette = Palette(study)
    n_columns = min(2, len(mains))
    n_rows = -(-len(mains) // n_columns)
    figure, axes = panels(n_rows, n_columns, height=3.2)
    times = rows.usable("measurement")
    times = times[times["identities"] == identities]
    measured = {(row["head"], row["sampler"]): row for _, row in times.iterrows()}
    shown = [
        method
        for method in summary.methods
        if (method.head, method.sampler) in measured
        and any(summary.cell(method, column).value is not None for column in mains)
    ]
    if not shown:
        return message("Accuracy against cost: no method has both a number and a step time yet.")
    for ax, column in zip(axes.flat, mains, strict=False):
        for method in shown:
            _point(ax, summary, column, method, measured[method.head, method.sampler], palette)
        ax.set_title(column.title)
        ax.set_xlabel(f"time of one step at {identities:,} identities [ms]")
        ax.set_ylabel("%")
        ax.margins(0.08)
        ax.set_xlim(left=0)
    hide_unused(list(axes.flat), len(mains))
    legend(
        figure,
        palette,
        [h.label for h in study.heads if h.label in {m.head for m in shown}],
        [s.label for s in study.samplers if s.label in {m.sampler for m in shown}],
    )
    return figure


def _point(
    ax: Axes, summary: Summary, column: Column, method: Method, time: pd.Series, palette: Palette
) -> None:
    cell = summary.cell(method, column)
    if cell is None or cell.value is None:
        return
    step = float(time["step_ms"])
    low, high = float(time["step_ms_low"]), float(time["step_ms_high"])
    error = None
    if cell.low is not None and cell.high is not None:
        error = [[100 * max(cell.value - cell.low, 0)], [100 * max(cell.high - cell.value, 0)]]
    bars = ax.errorbar(
        step, 100 * cell.value,
        xerr=[[max(step - low, 0)], [max(high - step, 0)]], yerr=error,
        color=palette.heads[method.head], marker=palette.marker(method.sampler),
        ms=6, elinewidth=1, capsize=0, alpha=0.9,
        mfc=HOLLOW if is_disturbed(time) else palette.heads[method.head],
    )  # fmt: skip
    runs = ", ".join(summary.part(method, column)["run"])
    interval = f" {interval_text(cell)}" if interval_text(cell) else ""
    told = f" (disturbed: {time['disturbed']})" if is_disturbed(time) else ""
    hover(bars.lines[0], f"{summary.name(method)}: {percent(cell.value)} %{interval}, "
          f"{step:.3g} ms a step{told}. Runs: {runs}")  # fmt: skip


def plain_log(ax: Axes) -> None:
    """Ticks as plain numbers (1k, 10k), because powers need mathematics in the font."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator(base=10, subs=(1.0,), numticks=8))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
        axis.set_minor_locator(NullLocator())
        # Less than a decade on the axis would leave a single label.
        low, high = sorted(axis.get_view_interval())
        if high / max(low, 1e-300) < 100:
            axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=8))


def short_number(value: float) -> str:
    """A number as people write it on an axis.

    >>> short_number(20000), short_number(1.5e6), short_number(0.05)
    ('20k', '1.5M', '0.05')
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
