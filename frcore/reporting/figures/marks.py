"""Elements of a panel: rings, intervals, areas, and axes with plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from frcore.reporting.figures.canvas import hover
from frcore.reporting.figures.palette import INK, MUTED
from frcore.results.summary import Number

RING = 12
"""Size of a ring around a marker, in points."""


def ring(ax: Axes, x: float, y: float) -> Line2D:
    """A ring around a point that should be interpreted with care."""
    (around,) = ax.plot(x, y, marker="o", ms=RING, mfc="none", mec=INK, mew=0.7, ls="", alpha=0.8)
    return around


def bars(
    ax: Axes, places: NDArray[np.float64], numbers: Sequence[Number], colour: str, **options: Any
) -> ErrorbarContainer:
    """Numbers in percent with their intervals, which may be missing.

    Args:
        ax: gets them.
        places: across (N,), or with the ends of a span (N, 3).
        numbers: up.
        colour: of all.
        options: of `Axes.errorbar`; points are drawn only with a `marker`.
    """
    across = places.reshape(len(numbers), -1)
    middle, low, high = across.T if across.shape[1] == 3 else (across[:, 0],) * 3
    ends = [[n.value if end is None else end for end in (n.value, n.low, n.high)] for n in numbers]
    value, least, most = 100 * np.array(ends, dtype=float).T
    return ax.errorbar(
        middle, value, xerr=np.maximum([middle - low, high - middle], 0),
        yerr=np.maximum([value - least, most - value], 0),
        **{"color": colour, "fmt": "" if "marker" in options else "none", "elinewidth": 0.9}
        | options,
    )  # fmt: skip


def areas(
    ax: Axes, edges: NDArray[np.float64], own: NDArray[Any] | None, others: NDArray[Any],
    colour: str, unit: str = "",
) -> None:  # fmt: skip
    """Two histograms scaled to the same area, as one has far higher counts than the other.

    Args:
        ax: gets them.
        edges: of the bins.
        own: counts in the head's `colour`; None if unknown.
        others: counts in grey.
        colour: of the head.
        unit: what is counted, for the tooltip of an outline.
    """
    for counts, tint, alpha in ((others, MUTED, 0.3), (own, colour, 0.55)):
        if counts is not None and counts.any():
            density = counts / (counts.sum() * np.diff(edges))
            ax.stairs(density, edges, fill=True, color=tint, alpha=alpha, lw=0)
            outline = ax.stairs(density, edges, color=tint, lw=1.1)
            if unit:
                kind = " of one person" if counts is own else ""
                hover(outline, f"{counts.sum():,} {unit}{kind}")


def same_range(axes: Iterable[Axes]) -> None:
    """Give axes a common vertical range that covers all their data."""
    axes = list(axes)
    lows, highs = zip(*(ax.get_ylim() for ax in axes), strict=True)
    for ax in axes:
        ax.set_ylim(min(lows), max(highs))


def bare(ax: Axes) -> None:
    """Remove a panel's vertical scale: the heights of areas need none."""
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)


def log_axes(axes: Iterable[Axes], limits: tuple[float, float]) -> None:
    """Make both axes of panels logarithmic, with common horizontal limits and plain numbers."""
    axes = list(axes)
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlim=limits)
    for ax in axes:
        plain_ticks(ax.xaxis)
        plain_ticks(ax.yaxis)


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers, because powers would need a math font."""
    # An axis of less than a decade would have a single label.
    low, high = sorted(axis.get_view_interval())
    subs = (1.0, 2.0, 5.0) if high / max(low, 1e-300) < 100 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.set_minor_locator(NullLocator())


def short_number(value: float) -> str:
    """A number as written on an axis.

    >>> short_number(20000), short_number(1.5e6), short_number(0.05), short_number(2048)
    ('20k', '1.5M', '0.05', '2,048')
    """
    if 1e3 <= abs(value) < 1e5 and value % 100:
        return f"{value:,.0f}"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
