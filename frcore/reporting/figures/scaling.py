"""The figure of efficiency and network share against the number of processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from frcore.reporting.figures.canvas import Message, hover, legend, small_multiples
from frcore.reporting.figures.marks import bars, ring, short_number
from frcore.reporting.figures.palette import MUTED, Palette, present
from frcore.results.reading import USABLE
from frcore.results.rows import Rows
from frcore.results.summary import Number
from frcore.study.config import Study

EFFICIENCY, NETWORK = "efficiency [%]", "network [%]"
IDEAL: dict[str, Any] = {"color": MUTED, "lw": 1.1, "ls": (0, (4, 1.5)), "zorder": 1}
ASIDE = 0.03
"""Distance between the points of two heads, as a share of a doubling."""

Shares = Mapping[tuple[str, int, int], Sequence[float]]
"""Network share of each process, in percent, by measurement, identities and processes."""


def scaling(study: Study, rows: Rows) -> Figure:
    """Efficiency and network share, a column of panels for each sampler × number of identities."""
    frame, given = rows.scaling, study.measurement
    if given is None or frame.empty:
        return Message("Scaling: measured in one process only.")
    frame = frame[(frame["status"] == USABLE) & frame["efficiency"].notna()]
    frame = frame.assign(alone=frame["identities"])
    if given.scaling == "weak":
        frame["alone"] //= frame["processes"]
    heads = present(study.heads, frame["head"])
    samplers = present(study.samplers, frame["sampler"])
    frame = frame[frame["head"].isin(heads) & frame["sampler"].isin(samplers)]
    if not (frame["processes"] > 1).any():
        return Message("Scaling: no step in several processes has a result yet.")
    times_n = "N × " if given.scaling == "weak" else ""
    titles = {
        (sampler, alone): f"{sampler}, {times_n}{short_number(alone)} identities"
        for sampler in samplers
        for alone in sorted(frame.loc[frame["sampler"] == sampler, "alone"].unique())
    }
    figure, grid = small_multiples(
        list(titles.values()), (EFFICIENCY, NETWORK), limit=3, height=2.2, sharex=True,
        sharey="row", xlabel=f"processes ({given.scaling} scaling)",
    )  # fmt: skip
    palette, shares = Palette(study), shares_of_processes(rows)
    for (sampler, alone), title in titles.items():
        own = frame[(frame["sampler"] == sampler) & (frame["alone"] == alone)]
        above, below = grid[title, EFFICIENCY], grid[title, NETWORK]
        hover(above.axhline(100, **IDEAL), "ideal: N processes are N times as fast")
        for place, head in enumerate(heads):
            points = own[own["head"] == head].sort_values("processes")
            aside = 2.0 ** (ASIDE * (place - (len(heads) - 1) / 2))
            times = [efficiency_number(row) for _, row in points.iterrows()]
            _line(above, points, aside, times, palette)
            several = points[points["network_percent"].notna()]
            parts = [network_number(row, shares) for _, row in several.iterrows()]
            _line(below, several, aside, parts, palette)
    for ax in grid.values():
        _axes(ax, given.processes)
    legend(figure, palette, heads, samplers, Line2D([], [], **IDEAL, label="ideal"))
    return figure


def shares_of_processes(rows: Rows) -> Shares:
    """What the processes of each measured step say by themselves."""
    shares: dict[tuple[str, int, int], list[float]] = {}
    for name, finding in rows.found.measurements.items():
        for rank in finding.usable.ranks if finding.usable else ():
            if rank.network_percent is not None:
                key = (name, rank.identities, rank.processes)
                shares.setdefault(key, []).append(rank.network_percent)
    return shares


def efficiency_number(row: pd.Series) -> Number:
    """Efficiency, and what it is at the 80th and at the 20th percentile of the step time."""
    value, step = float(row["efficiency"]), float(row["step_ms"])
    low, high = (
        None if pd.isna(row[name]) else value * step / float(row[name])
        for name in ("step_ms_high", "step_ms_low")
    )
    return Number(value, low, high)


def network_number(row: pd.Series, shares: Shares) -> Number:
    """Network share: mean over the processes, from the lowest to the highest of them."""
    each = shares.get((row["measurement"], row["identities"], row["processes"]), ())
    ends = (min(each) / 100, max(each) / 100) if each else (None, None)
    return Number(float(row["network_percent"]) / 100, *ends)


def _line(
    ax: Axes, points: pd.DataFrame, aside: float, numbers: Sequence[Number], palette: Palette
) -> None:
    """A head's points, moved aside so that they do not hide another's intervals."""
    if points.empty:
        return
    first = points.iloc[0]
    head, sampler = first["head"], first["sampler"]
    places = points["processes"].to_numpy(dtype=float) * aside
    drawn = bars(
        ax, places, numbers, palette.heads[head], marker=palette.marker(head),
        fillstyle=palette.fill(sampler), ls=palette.line(sampler), alpha=0.9,
    )  # fmt: skip
    said = (f"{n}: {100 * (one.value or 0):.3g} %"
            for n, one in zip(points["processes"], numbers, strict=True))  # fmt: skip
    hover(drawn.lines[0], f"{head} + {sampler}; processes {', '.join(said)}")
    for place, number, (_, row) in zip(places, numbers, points.iterrows(), strict=True):
        if pd.notna(row["disturbed"]):
            around = ring(ax, place, 100 * (number.value or 0))
            hover(around, f"{head} + {sampler}, disturbed: {row['disturbed']}")


def _axes(ax: Axes, processes: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xlim(processes[0] / 1.15, processes[-1] * 1.15)
    ax.set_xticks(np.array(processes, dtype=float))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(bottom=0)
