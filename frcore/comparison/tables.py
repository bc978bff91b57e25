"""A comparison as tables, sentences and a figure, for the page, Markdown and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from frcore.comparison.spec import ComparisonSpec
from frcore.comparison.verdict import said
from frcore.records.comparison import ComparedCost, ComparedNumber, ComparisonRecord
from frcore.reporting.figures.canvas import WIDTH, Message, hover
from frcore.reporting.figures.palette import GRID, INK, MUTED
from frcore.reporting.page.answer import listed
from frcore.reporting.tables.accuracy import percent
from frcore.reporting.tables.cost import significant
from frcore.reporting.tables.power import FOUND, points
from frcore.reporting.tables.table import Cell, Column, Heading, Table, text_column

COLOURS = {"better": "#0072b2", "within tolerance": "#0072b2", "regression": "#d55e00",
           "lower": "#d55e00"}  # fmt: skip
"""Of a row in the figure; others are grey."""

ROW = 0.3
"""Height of a row in the figure, in inches."""


def names(spec: ComparisonSpec) -> tuple[str, str]:
    """What the two sides are called."""
    if spec.against is not None:
        return f"{spec.candidate or 'now'}", "kept rows"
    return str(spec.candidate), str(spec.baseline)


def title(comparison: ComparisonRecord, spec: ComparisonSpec) -> str:
    """What is compared with what, and the outcome."""
    one, other = names(spec)
    return f"{one} against {other}: {comparison.outcome}"


def sentences(comparison: ComparisonRecord, spec: ComparisonSpec) -> list[str]:
    """The answer: what failed, what was found, and how large a loss may remain undetected."""
    numbers = [number for number in comparison.numbers if number.verdict != "not compared"]
    counted = Counter(said(number.verdict) for number in numbers)
    found = listed([f"{count} {verdict}{'s' * (verdict == 'regression' and count > 1)}"
                    for verdict, count in counted.most_common()])  # fmt: skip
    lines = [f"Of {len(numbers)} numbers: {found}." if numbers else "No number was compared."]
    for word, told in (("Failed", comparison.failures), ("Incomplete", comparison.gaps)):
        if told:
            more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
            lines.append(f"{word}: {'; '.join(told[:3])}{more}.")
    lows: dict[str, float] = {}
    for number in numbers:
        lows[number.title] = min(number.low or 0.0, lows.get(number.title, 0.0))
    if lows:
        losses = ", ".join(f"{title} {percent(-low)}" for title, low in lows.items())
        lines.append(f"Largest losses compatible with the intervals, in points: {losses}; "
                     f"tolerance {spec.rule.tolerance:g}.")  # fmt: skip
    seen: dict[str, float] = {}
    for number in numbers:
        if number.detectable is not None:
            seen[number.title] = min(number.detectable, seen.get(number.title, 2.0))
    if seen:
        parts = [f"{points(size)} points in {title}" for title, size in seen.items()]
        mean = " (mean over samplers)" if any(" " in n.sampler for n in numbers) else ""
        lines.append(f"A loss of {', or of '.join(parts)}, would be found {FOUND}{mean}.")
    ratios = [c.ratio for c in comparison.costs
              if c.ratio is not None and c.verdict != "not compared"]  # fmt: skip
    span = dict.fromkeys(f"{ratio:.2f}" for ratio in (min(ratios), max(ratios))) if ratios else ()
    speed = f"A step takes {' to '.join(span)} times the baseline's."
    return [*lines, speed if ratios else "Speed was not compared."]


def numbers_table(comparison: ComparisonRecord, spec: ComparisonSpec) -> Table:
    """One row per method × number."""
    one, other = names(spec)
    parts = ["sampler", *(part for part in ("head", "backbone")
                          if len({getattr(n, part) for n in comparison.numbers}) > 1)]  # fmt: skip
    columns: list[Column[ComparedNumber]] = [
        text_column("number", lambda number: number.title),
        *(text_column(part, _attribute(part)) for part in parts),
        (Heading(f"{other} [%]"), _attribute("baseline", percent)),
        (Heading(f"{one} [%]"), _attribute("candidate", percent)),
        (Heading("difference [points]"),
         lambda number: _with_interval(number.difference, number, _points)),
        text_column("verdict", lambda number: said(number.verdict)),
    ]  # fmt: skip
    data = pd.DataFrame([number.model_dump() for number in comparison.numbers])
    return Table.of("comparison", "Accuracy", columns, comparison.numbers, comparison.notes, data)


def cost_table(comparison: ComparisonRecord, spec: ComparisonSpec) -> Table:
    """One row per measured point."""
    one, other = names(spec)
    costs = comparison.costs
    memory = next((cost.memory for cost in costs if cost.memory), "not compared")
    several = len({cost.head for cost in costs}) > 1
    columns: list[Column[ComparedCost]] = [
        *([text_column("head", _attribute("head"))] if several else []),
        text_column("sampler", _attribute("sampler")),
        (Heading("identities"), lambda cost: f"{cost.identities:,}"),
        (Heading(f"{other} [ms]"), _attribute("baseline_ms", significant)),
        (Heading(f"{one} [ms]"), _attribute("candidate_ms", significant)),
        (Heading("ratio of times"), lambda cost: _with_interval(cost.ratio, cost, "{:.2f}".format)),
        text_column("verdict", lambda cost: said(cost.verdict)),
        (Heading(f"{other} [MiB]"), _attribute("baseline_mib", significant)),
        (Heading(f"{one} [MiB]"), _attribute("candidate_mib", significant)),
        (Heading("ratio of memory"), _attribute("memory_ratio", "{:.2f}".format)),
    ]
    counted = Counter(cost.why for cost in costs if cost.verdict == "not compared")
    notes = [
        "Times: median of a step; the span of a ratio goes from the 20th percentile of one side "
        "over the 80th of the other to the reverse: spread of steps, not a confidence interval.",
        f"Memory: {memory}.",
        *(f"Not compared, {count} of {len(costs)}: {why}." for why, count in counted.items()),
    ]
    data = pd.DataFrame([cost.model_dump() for cost in comparison.costs])
    return Table.of("comparison_cost", "Speed and memory of one step", columns, costs, notes, data)


def _attribute(name: str, text: Callable[[Any], str] = str) -> Callable[[Any], Cell]:
    """Turns an attribute of an item into a cell; None becomes a dash."""

    def cell(item: Any) -> Cell:
        value = getattr(item, name)
        return Cell() if value is None else Cell(text(value))

    return cell


def _with_interval(
    value: float | None, item: ComparedNumber | ComparedCost, text: Callable[[float], str]
) -> Cell:  # fmt: skip
    if value is None or item.low is None or item.high is None:
        return Cell()
    return Cell(text(value), f"[{text(item.low)}, {text(item.high)}]")


def _points(value: float) -> str:
    """A difference with its sign, in points, with a true minus.

    >>> _points(-0.0123), _points(0.002)
    ('−1.23', '+0.20')
    """
    return f"{100 * value:+.2f}".replace("-", "−")


def forest(comparison: ComparisonRecord, spec: ComparisonSpec) -> Figure:
    """Candidate − baseline of every number that was compared, with its interval, in points."""
    numbers = [number for number in comparison.numbers if number.difference is not None]
    if not numbers:
        return Message("Nothing was compared.")
    figure = Figure(figsize=(WIDTH, ROW * len(numbers) + 1.1), layout="constrained")
    ax = figure.subplots()
    ax.axvline(0, color=INK, linewidth=1)
    if spec.rule.tolerance:
        ax.axvspan(-spec.rule.tolerance, 0, color=GRID, linewidth=0, zorder=0)
    labels = _labels(numbers)
    for place, (number, label) in enumerate(zip(numbers, labels, strict=True)):
        colour = COLOURS.get(number.verdict, MUTED)
        low, value, high = (100 * (x or 0) for x in (number.low, number.difference, number.high))
        (line,) = ax.plot([low, high], [place, place], color=colour, linewidth=2)
        # The marker differs too: filled where the interval leaves out the threshold.
        filled = number.verdict in ("better", "regression")
        ax.plot(value, place, "o", color=colour, markerfacecolor=colour if filled else "white")
        hover(line, f"{label}: {value:+.2f} [{low:+.2f}, {high:+.2f}] points, "
                    f"{said(number.verdict)}")  # fmt: skip
    ax.set_yticks(range(len(numbers)), labels)
    ax.set_ylim(len(numbers) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    one, other = names(spec)
    ax.set_xlabel(f"{one} minus {other}, percentage points  (right: {one} is better)")
    return figure


def _labels(numbers: Sequence[ComparedNumber]) -> list[str]:
    several = len({number.head for number in numbers}) > 1
    return [f"{n.title} · {f'{n.head} + ' if several else ''}{n.sampler}" for n in numbers]
