"""Numbers on axes as people write them."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator


def log_axes(axes: Iterable[Axes], limits: tuple[float, float]) -> None:
    """Make both axes of panels logarithmic, with common horizontal limits and plain numbers."""
    axes = list(axes)
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlim=limits)
    for ax in axes:
        plain_ticks(ax.xaxis)
        plain_ticks(ax.yaxis)


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers, because powers need mathematics in the font."""
    # Less than a decade on the axis would leave a single label.
    low, high = sorted(axis.get_view_interval())
    subs = (1.0, 2.0, 5.0) if high / max(low, 1e-300) < 100 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axis.set_minor_locator(NullLocator())


def short_number(value: float) -> str:
    """A number as people write it on an axis.

    >>> short_number(20000), short_number(1.5e6), short_number(0.05)
    ('20k', '1.5M', '0.05')
    """
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
