"""A comparison as tables and sentences, for the page, Markdown and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from frcore.comparison.results import Comparison, Cost, Number
from frcore.comparison.spec import ComparisonSpec
from frcore.reporting.page.answer import listed
from frcore.reporting.tables.accuracy import percent
from frcore.reporting.tables.cost import significant
from frcore.reporting.tables.table import Cell, Heading, Table

NONE = "—"


def names(spec: ComparisonSpec) -> tuple[str, str]:
    """What the two sides are called."""
    if spec.against is not None:
        return f"{spec.candidate or 'now'}", "kept rows"
    return str(spec.candidate), str(spec.baseline)


def title(comparison: Comparison, spec: ComparisonSpec) -> str:
    """Who is compared with whom, and what came of it."""
    one, other = names(spec)
    return f"{one} against {other}: {comparison.outcome.word}"


def sentences(comparison: Comparison, spec: ComparisonSpec) -> list[str]:
    """The answer: what fails, what was found, and how large a loss may have gone unseen."""
    numbers = [number for number in comparison.numbers if number.verdict != "not compared"]
    counted = Counter(number.verdict for number in numbers)
    plural = {"regression": "regressions"}
    found = listed(
        [
            f"{count} {plural.get(verdict, verdict) if count > 1 else verdict}"
            for verdict, count in counted.most_common()
        ]
    )
    lines = [f"Of {len(numbers)} numbers: {found}." if numbers else "No number was compared."]
    if comparison.outcome.failures:
        lines.append(f"Failed: {_few(comparison.outcome.failures)}.")
    if comparison.outcome.gaps:
        lines.append(f"Incomplete: {_few(comparison.outcome.gaps)}.")
    return [*lines, *_worst(numbers, spec), *_pace(comparison.costs)]


def _worst(numbers: Sequence[Number], spec: ComparisonSpec) -> list[str]:
    """How large a loss the intervals leave possible, the largest of each number's rows."""
    lows: dict[str, float] = {}
    for number in numbers:
        lows[number.title] = min(number.low or 0.0, lows.get(number.title, 0.0))
    if not lows:
        return []
    losses = listed([f"{title} {percent(-low)}" for title, low in lows.items()])
    return [
        f"What the intervals leave possible, in points lost: {losses}; tolerated are "
        f"{spec.rule.tolerance:g}."
    ]


def _few(lines: Sequence[str], most: int = 3) -> str:
    shown = "; ".join(lines[:most])
    return f"{shown}; and {len(lines) - most} more" if len(lines) > most else shown


def _pace(costs: Sequence[Cost]) -> list[str]:
    ratios = [c.ratio for c in costs if c.ratio is not None and c.verdict != "not compared"]
    if not ratios:
        return ["Speed was not compared."]
    low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    span = low if low == high else f"{low} to {high}"
    return [f"A step takes {span} times the baseline's."]


def numbers_table(comparison: Comparison, spec: ComparisonSpec) -> Table:
    """One row per method × number."""
    one, other = names(spec)
    optional = _optional(comparison.numbers)
    headings = [
        Heading("number", numeric=False),
        *(Heading(name, numeric=False) for name in optional),
        Heading(f"{other} [%]"),
        Heading(f"{one} [%]"),
        Heading("difference [points]"),
        Heading("verdict", numeric=False),
    ]
    rows = [_number_cells(number, optional) for number in comparison.numbers]
    data = pd.DataFrame(comparison.as_record()["numbers"])
    return Table("comparison", "Accuracy", headings, rows, comparison.notes, data)


def _optional(numbers: Sequence[Number]) -> list[str]:
    """The parts of a method that differ between rows, or tell under what they were found."""
    several = [
        name
        for name in ("head", "backbone")
        if len({getattr(number, name) for number in numbers}) > 1
    ]
    return ["sampler", *several]


def _number_cells(number: Number, optional: Sequence[str]) -> list[Cell]:
    cells = [Cell(number.title), *(Cell(str(getattr(number, name))) for name in optional)]
    values = [number.baseline, number.candidate]
    cells += [Cell(NONE if value is None else percent(value)) for value in values]
    if number.difference is None or number.low is None or number.high is None:
        return [*cells, Cell(NONE), Cell(number.verdict)]
    interval = f"[{_points(number.low)}, {_points(number.high)}]"
    return [*cells, Cell(_points(number.difference), interval), Cell(number.verdict)]


def _points(value: float) -> str:
    """A difference with its sign, in points, with a true minus.

    >>> _points(-0.0123), _points(0.002)
    ('−1.23', '+0.20')
    """
    return f"{100 * value:+.2f}".replace("-", "−")


def cost_table(comparison: Comparison, spec: ComparisonSpec) -> Table:
    """One row per measured point."""
    one, other = names(spec)
    heads = len({cost.head for cost in comparison.costs}) > 1
    memory = next((cost.memory for cost in comparison.costs if cost.memory), "not compared")
    headings = [
        *([Heading("head", numeric=False)] if heads else []),
        Heading("sampler", numeric=False),
        Heading("identities"),
        Heading(f"{other} [ms]"),
        Heading(f"{one} [ms]"),
        Heading("ratio of times"),
        Heading("verdict", numeric=False),
        Heading(f"{other} [MiB]"),
        Heading(f"{one} [MiB]"),
        Heading("ratio of memory"),
    ]
    rows = [_cost_cells(cost, heads) for cost in comparison.costs]
    notes = [
        "Times: median of a step; the span of a ratio goes from the 20th percentile of the one "
        "over the 80th of the other to the reverse: the spread of steps, no confidence interval.",
        f"Memory: {memory}.",
        *_reasons(comparison.costs),
    ]
    data = pd.DataFrame(comparison.as_record()["costs"])
    return Table("comparison_cost", "Speed and memory of one step", headings, rows, notes, data)


def _reasons(costs: Sequence[Cost]) -> list[str]:
    """Why times were not compared, each reason once."""
    counted = Counter(cost.why for cost in costs if cost.verdict == "not compared")
    return [f"Not compared, {count} of {len(costs)}: {why}." for why, count in counted.items()]


def _cost_cells(cost: Cost, heads: bool) -> list[Cell]:
    cells = [Cell(cost.head)] if heads else []
    cells += [Cell(cost.sampler), Cell(f"{cost.identities:,}")]
    cells += [Cell(_or_dash(value)) for value in (cost.baseline_ms, cost.candidate_ms)]
    if cost.ratio is None or cost.low is None or cost.high is None:
        cells += [Cell(NONE), Cell(cost.verdict)]
    else:
        cells += [
            Cell(f"{cost.ratio:.2f}", f"[{cost.low:.2f}, {cost.high:.2f}]"),
            Cell(cost.verdict),
        ]
    cells += [Cell(_or_dash(value)) for value in (cost.baseline_mib, cost.candidate_mib)]
    return [*cells, Cell(NONE if cost.memory_ratio is None else f"{cost.memory_ratio:.2f}")]


def _or_dash(value: float | None) -> str:
    return NONE if value is None else significant(value)
