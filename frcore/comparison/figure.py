"""The differences as intervals about nothing: one line per number."""

from __future__ import annotations

from matplotlib.figure import Figure

from frcore.comparison.results import Comparison, Number
from frcore.comparison.spec import ComparisonSpec
from frcore.comparison.tables import names
from frcore.reporting.figures.canvas import WIDTH, Message, hover
from frcore.reporting.figures.palette import GRID, INK, MUTED

COLOURS = {"better": "#0072b2", "within tolerance": "#0072b2", "regression": "#d55e00",
           "lower": "#d55e00"}  # fmt: skip
"""Others are grey. The marker differs too: filled where the interval leaves out the threshold."""

ROW = 0.3
"""Inches."""


def forest(comparison: Comparison, spec: ComparisonSpec) -> Figure:
    """Candidate − baseline of every number that was compared, with its interval, in points."""
    numbers = [number for number in comparison.numbers if number.difference is not None]
    if not numbers:
        return Message("Nothing was compared.")
    figure = Figure(figsize=(WIDTH, ROW * len(numbers) + 1.1), layout="constrained")
    ax = figure.subplots()
    ax.axvline(0, color=INK, linewidth=1)
    if spec.rule.tolerance:
        ax.axvspan(-spec.rule.tolerance, 0, color=GRID, linewidth=0, zorder=0)
    several = len({number.head for number in numbers}) > 1
    for place, number in enumerate(numbers):
        colour = COLOURS.get(number.verdict, MUTED)
        low, value, high = (100 * (x or 0) for x in (number.low, number.difference, number.high))
        (line,) = ax.plot([low, high], [place, place], color=colour, linewidth=2)
        filled = number.verdict in ("better", "regression")
        ax.plot(value, place, "o", color=colour, markerfacecolor=colour if filled else "white")
        hover(line, f"{_label(number, several)}: {value:+.2f} [{low:+.2f}, {high:+.2f}] points, "
                    f"{number.verdict}")  # fmt: skip
    ax.set_yticks(range(len(numbers)), [_label(number, several) for number in numbers])
    ax.set_ylim(len(numbers) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    one, other = names(spec)
    ax.set_xlabel(f"{one} minus {other}, percentage points  (right: {one} is better)")
    return figure


def _label(number: Number, several: bool) -> str:
    head = f"{number.head} + " if several else ""
    return f"{number.title} · {head}{number.sampler}"
