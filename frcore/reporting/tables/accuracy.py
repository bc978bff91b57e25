"""The accuracy table and the differences behind its marks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from frcore.reporting.tables.table import Cell, Heading, Table, text_column
from frcore.reporting.tables.table import Column as TableColumn
from frcore.results.frames import Row
from frcore.results.rows import NONE
from frcore.results.summary import Column, Difference, Method, Number, Summary
from frcore.study.config import Study

SPREAD = (
    "±: standard errors, in points, due to the choice of test people and due to the choice of "
    "seeds."
)
VERDICTS = {
    "best": "highest", "not told apart": "statistically tied", "lower": "lower",
    "not compared": "not compared",
}  # fmt: skip
"""Verdicts of `Summary.differences`, in words."""


def percent(value: float) -> str:
    """A proportion as a percentage with two decimals, without the percent sign.

    >>> percent(0.98765)
    '98.77'
    """
    return f"{100 * value:.2f}"


def interval_text(found: Any) -> str:
    """'[low, high]' in percent; empty without an interval."""
    if found.low is None or found.high is None:
        return ""
    return f"[{percent(found.low)}, {percent(found.high)}]"


def unique(values: Iterable[str]) -> list[str]:
    """The distinct non-empty values, in order."""
    return [value for value in dict.fromkeys(values) if value]


def method_columns(
    study: Study, method: Callable[[Any], Method] = lambda item: item
) -> list[TableColumn[Any]]:
    """The first columns of a table: head, sampler, and backbone where there are several.

    A study of models trained elsewhere has only the model; with both, the first column is the name
    of the head or model.

    Args:
        study: determines the columns.
        method: gives the method of a table item.
    """

    def part(place: int) -> Callable[[Any], str]:
        def name(item: Any) -> str:
            of = method(item)
            names = (of.backbone, NONE, NONE) if of.is_model else (of.head, of.sampler, of.backbone)
            return names[place]

        return name

    titles = ["model"]
    if study.trains:
        titles = ["head, or model" if study.models else "head", "sampler"]
        titles += ["backbone"] if len(study.backbones) > 1 else []
    return [text_column(title, part(place)) for place, title in enumerate(titles)]


def number_columns(
    summary: Summary, columns: Sequence[Column], *, brief: bool = False
) -> list[TableColumn[Method]]:
    """Numbers with interval and mark; without standard errors where `brief`."""

    def of(column: Column) -> Callable[[Method], Cell]:
        return lambda method: _number_cell(summary, method, column, brief)

    return [(Heading(f"{one.text} [%]", one.benchmark), of(one)) for one in columns]


def accuracy_table(summary: Summary) -> Table:
    """Methods down, benchmark metrics across: percent with its interval, the best marked."""
    shown = [column for column in summary.columns if summary.has_numbers(column)]
    notes = [
        *accuracy_notes(summary, summary.columns),
        SPREAD,
        *unresolved(summary),
        *unmarked(summary, summary.columns),
        *protocol_notes(summary),
    ]
    return Table.of(
        "accuracy", "Accuracy with 95 % intervals",
        [*method_columns(summary.study), *number_columns(summary, shown)], summary.methods, notes,
        pd.DataFrame([accuracy_record(summary, m, summary.columns) for m in summary.methods]),
    )  # fmt: skip


def _number_cell(summary: Summary, method: Method, column: Column, brief: bool) -> Cell:
    number = summary.cell(method, column)
    if number.value is None:
        known = number.why in _resolution_notes(summary, column)  # already in a footnote
        return Cell(detail="" if known else number.why)
    detail = interval_text(number)
    if not brief and number.se_test is not None and number.se_seed is not None:
        detail += f" ± {percent(number.se_test)} people, {percent(number.se_seed)} seeds"
    if not method.is_model and len(number.seeds) < len(summary.study.seeds):
        detail += f" ({len(number.seeds)} of {len(summary.study.seeds)} seeds)"
    return Cell(percent(number.value), detail.strip(), summary.marked(method, column))


def accuracy_record(summary: Summary, method: Method, columns: Sequence[Column]) -> Row:
    """A method's numbers in `columns`, for machines."""
    record: Row = {name: getattr(method, name) for name in ("backbone", "head", "sampler")}
    for column in columns:
        number = summary.cell(method, column)
        numbers = ("value", "low", "high", "se_test", "se_seed")
        own = {
            **{name: getattr(number, name) for name in numbers},
            "mark": summary.marked(method, column), "n": number.n,
            "seeds": " ".join(map(str, number.seeds)), "why": number.why,
        }  # fmt: skip
        record |= {f"{column.key}.{name}": value for name, value in own.items()}
    return record


def _resolution_notes(summary: Summary, column: Column) -> list[str]:
    """Why evaluations could not give a value, in their own words."""
    frame = summary.rows.usable("evaluation")
    return unique(frame[column.rows_in(frame) & frame["value"].isna()]["note"].dropna())


def unresolved(summary: Summary) -> list[str]:
    """One line for each metric that its benchmark could not resolve, with the reason."""
    found = {column.title: _resolution_notes(summary, column) for column in summary.columns}
    return [f"{title}: no value, {'; '.join(notes)}" for title, notes in found.items() if notes]


def unmarked(summary: Summary, columns: Sequence[Column]) -> list[str]:
    """One line for each of `columns` whose values have no interval, mark or verdict."""
    return [
        f"{column.title}: no interval and no mark, {why}; the value is biased upwards."
        for column in columns
        if (why := summary.why_unmarked(column))
    ]


def accuracy_notes(summary: Summary, columns: Sequence[Column]) -> list[str]:
    """How to read the numbers of `columns`: n, interval method, seeds, what the marks mean."""
    numbers = [(c, summary.cell(m, c)) for c in columns for m in summary.methods]
    counts = unique(f"{number.n:,} {number.n_unit} ({column.benchmark})"
                    for column, number in numbers if number.n is not None)  # fmt: skip
    methods = unique(number.method for _, number in numbers)
    seeds = summary.seeds_averaged
    notes = [f"n: {'; '.join(counts)}."] if counts else []
    if len(seeds) == 1:
        notes.append(
            "One seed per method: the intervals cover the choice of test people but not of the "
            "seed, so a difference may be due to the seed alone."
        )
    elif seeds:
        notes.append(
            f"Mean over seeds {', '.join(map(str, seeds))}; the intervals cover test people and "
            "seeds. Each method's spread over seeds is moderated by that of all in a column."
        )
    if summary.study.models and summary.trained:
        names = ", ".join(model.label for model in summary.study.models)
        notes.append(
            f"Trained elsewhere, on other data: {names}. They are not ranked with the others and "
            "have no seed; their intervals cover test people only."
        )
    if methods:
        notes.append(f"Intervals: 95 %, {'; or '.join(methods)}.")
    if len(summary.ranked) > 1:
        notes.append(
            "Bold: the best value of a column. Underlined (italics in Markdown): statistically "
            "tied with it, i.e. the interval of the paired difference over the same pairs and "
            "seeds contains 0; the intervals of a column hold jointly at 95 % (Bonferroni)."
        )
    return notes


def protocol_notes(summary: Summary) -> list[str]:
    """The protocol of the evaluations, benchmark by benchmark."""
    found = summary.rows.found
    usable = summary.rows.usable("evaluation")[["benchmark", "run"]].drop_duplicates()
    notes: dict[str, dict[str, None]] = {}
    for benchmark in summary.study.benchmarks:
        for run in usable[usable["benchmark"] == benchmark]["run"]:
            record = found.evaluations[run, benchmark].record
            for note in record.notes if record else ():
                # The report's intervals also cover seeds and are described in a separate note.
                if not note.startswith("Intervals:"):
                    notes.setdefault(note, {})[benchmark] = None
    return [
        note if len(where) == len(summary.study.benchmarks) else f"{', '.join(where)}: {note}"
        for note, where in notes.items()
    ]


DIFFERENCE_COLUMNS = (
    "benchmark", "metric", "far", "rank", "fpir", "subset", "backbone", "head", "sampler", "value",
    "best_minus_this", "low", "high", "level", "verdict", "seeds", "why",
)  # fmt: skip
Compared = tuple[Column, Difference, Number]


def differences_table(summary: Summary) -> Table:
    """For each benchmark's main metric: each method's difference from the best, with a verdict."""
    columns = [column for column in summary.main_columns() if not summary.why_unmarked(column)]
    items: list[Compared] = [
        (column, difference, summary.cell(difference.method, column))
        for column in columns
        if len(summary.differences(column)) > 1
        for difference in summary.differences(column)
    ]
    level = {f"{100 * summary.comparison_level(c):.2f} %" for c in columns}
    notes = [
        "Paired difference over the same pairs and seeds; test people are resampled identically "
        f"for both sides. Each interval is at {' or '.join(sorted(level)) or '95 %'}, so that all "
        "of a benchmark hold jointly at 95 % (Bonferroni).",
        "'Statistically tied' means that these data do not separate the two methods, not that "
        "they are equal.",
    ]
    if not items:
        notes = ["No benchmark has results for two methods."]
    return Table.of(
        "differences", "Difference from the best",
        [
            text_column("benchmark", lambda item: item[0].title),
            *method_columns(summary.study, lambda item: item[1].method),
            (Heading("value [%]"), lambda item: Cell(percent(item[2].value or 0.0))),
            (Heading("best minus this [points]"), lambda item: _difference_cell(item[1])),
            text_column("verdict", lambda item: VERDICTS[item[1].verdict]),
        ],
        items, [*notes, *unmarked(summary, summary.main_columns())],
        pd.DataFrame([_difference_record(*one) for one in items], columns=DIFFERENCE_COLUMNS),
    )  # fmt: skip


def _difference_cell(difference: Difference) -> Cell:
    estimate = difference.estimate
    if estimate is None:
        return Cell(detail=difference.why)
    return Cell(percent(estimate.value), interval_text(estimate))


def _difference_record(column: Column, difference: Difference, number: Number) -> Row:
    estimate = difference.estimate
    found = {"best_minus_this": estimate.value, "low": estimate.low, "high": estimate.high,
             "level": estimate.level} if estimate else {}  # fmt: skip
    return {
        **vars(column), **vars(difference.method), "value": number.value, **found,
        "verdict": difference.verdict, "seeds": " ".join(map(str, difference.seeds)),
        "why": difference.why,
    }  # fmt: skip
