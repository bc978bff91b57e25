"""The accuracy table and the differences behind its marks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from frcore.records.evaluation import EvaluationRecord
from frcore.reporting.tables.table import Cell, Heading, Table
from frcore.results.reading import read
from frcore.results.records import Record
from frcore.results.rows import NONE
from frcore.results.summary import Column, Difference, Method, Number, Summary
from frcore.study.config import Study

SPREAD = (
    "±, where there is one: the standard error in points from the choice of test people, and from "
    "that of seeds."
)


def percent(value: float) -> str:
    """A proportion as a percentage with two decimals, without its sign.

    >>> percent(0.98765)
    '98.77'
    """
    return f"{100 * value:.2f}"


def method_headings(study: Study) -> list[Heading]:
    """The first columns of a table: head, sampler, and backbone where there are several.

    A study of models trained elsewhere has the model alone; where both are, the first column is
    the head's or the model's name.
    """
    if not study.trains:
        return [Heading("model", numeric=False)]
    names = ["head, or model" if study.models else "head", "sampler"]
    names += ["backbone"] if len(study.backbones) > 1 else []
    return [Heading(name, numeric=False) for name in names]


def method_cells(study: Study, method: Method) -> list[Cell]:
    """The cells below `method_headings`."""
    names = [method.head, method.sampler, method.backbone]
    if method.is_model:
        names = [method.backbone, NONE, NONE]
    names = names[: len(method_headings(study))]
    return [Cell(name) for name in names]


def accuracy_table(summary: Summary, root: Path) -> Table:
    """Methods down, benchmark metrics across: percent with its interval, the best marked."""
    study = summary.study
    columns = [column for column in summary.columns if summary.has_numbers(column)]
    headings = method_headings(study)
    headings += [Heading(f"{column.text} [%]", column.benchmark) for column in columns]
    rows = [
        method_cells(study, method) + [number_cell(summary, method, column) for column in columns]
        for method in summary.methods
    ]
    data = pd.DataFrame(
        [accuracy_record(summary, method, summary.columns) for method in summary.methods]
    )
    notes = [
        *accuracy_notes(summary, summary.columns),
        SPREAD,
        *unresolved(summary),
        *unmarked(summary, summary.columns),
        *protocol_notes(summary, root),
    ]
    return Table("accuracy", "Accuracy with 95 % intervals", headings, rows, notes, data)


def number_cell(summary: Summary, method: Method, column: Column, *, brief: bool = False) -> Cell:
    """A number with its interval and mark; without its sources of uncertainty where `brief`."""
    number = summary.cell(method, column)
    if number.value is None:
        return Cell("—", "" if number.why in _resolution_notes(summary, column) else number.why)
    text = percent(number.value)
    detail = interval_text(number) + ("" if brief else _spread_text(number))
    if not method.is_model and len(number.seeds) < len(summary.study.seeds):
        detail += f" ({len(number.seeds)} of {len(summary.study.seeds)} seeds)"
    return Cell(text, detail.strip(), summary.marked(method, column))


def _resolution_notes(summary: Summary, column: Column) -> list[str]:
    """What the evaluations say of values that they could not give."""
    frame = summary.rows.usable("evaluation")
    part = frame[column.rows_in(frame) & frame["value"].isna()]
    return unique(part["note"].dropna())


def unresolved(summary: Summary) -> list[str]:
    """One line for each metric that the benchmark could not give, with its reason."""
    return [
        f"{column.title}: no value, {'; '.join(_resolution_notes(summary, column))}"
        for column in summary.columns
        if _resolution_notes(summary, column)
    ]


def unmarked(summary: Summary, columns: Sequence[Column]) -> list[str]:
    """One line for each of `columns` that has values without interval, mark and verdict."""
    return [
        f"{column.title}: no interval and no mark, {why}; the value is biased upwards."
        for column in columns
        if (why := summary.why_unmarked(column))
    ]


def interval_text(number: Number) -> str:
    """'[low, high]' in percent; empty without an interval."""
    if number.low is None or number.high is None:
        return ""
    return f"[{percent(number.low)}, {percent(number.high)}]"


def _spread_text(number: Number) -> str:
    """Where the uncertainty comes from, in points; empty where seeds were not repeated."""
    if number.se_test is None or number.se_seed is None:
        return ""
    return f" ± {percent(number.se_test)} people, {percent(number.se_seed)} seeds"


def accuracy_record(summary: Summary, method: Method, columns: Sequence[Column]) -> Record:
    """A method's numbers in `columns`, for machines."""
    record: Record = {
        "backbone": method.backbone,
        "head": method.head,
        "sampler": method.sampler,
    }
    for column in columns:
        number = summary.cell(method, column)
        record |= {
            f"{column.key}.value": number.value,
            f"{column.key}.low": number.low,
            f"{column.key}.high": number.high,
            f"{column.key}.se_test": number.se_test,
            f"{column.key}.se_seed": number.se_seed,
            f"{column.key}.mark": summary.marked(method, column),
            f"{column.key}.n": number.n,
            f"{column.key}.seeds": " ".join(map(str, number.seeds)),
            f"{column.key}.why": number.why,
        }
    return record


def accuracy_notes(summary: Summary, columns: Sequence[Column]) -> list[str]:
    """How to read the numbers of `columns`: n, interval method, seeds, what the marks mean."""
    notes = []
    numbers = {c: [summary.cell(m, c) for m in summary.methods] for c in columns}
    counts = unique(
        f"{number.n:,} {number.n_unit} ({column.benchmark})"
        for column, cells in numbers.items()
        for number in cells
        if number.n is not None
    )
    seeds = summary.seeds_averaged
    if counts:
        notes.append(f"n: {'; '.join(counts)}.")
    if len(seeds) == 1:
        notes.append(
            "One seed per method: the intervals cover the choice of test people and not that of "
            "the seed, so a difference may be luck of the training."
        )
    elif seeds:
        notes.append(
            f"Mean over seeds {', '.join(map(str, seeds))}; the intervals cover test people and "
            "seeds. The spread over seeds is estimated from all methods of a column together and "
            "taken to be the same for each."
        )
    if summary.study.models and summary.trained:
        names = ", ".join(model.label for model in summary.study.models)
        notes.append(
            f"Trained elsewhere, on other data: {names}. They are not ranked with the others, have "
            "no seed, and their intervals cover test people alone."
        )
    methods = unique(number.method for cells in numbers.values() for number in cells)
    if methods:
        notes.append(f"Intervals: 95 %, {'; or '.join(m for m in methods if m)}.")
    if len(summary.ranked) > 1:
        notes.append(
            "Bold: the highest of a column. Underlined (italics in Markdown): not told apart from "
            "it, since the interval of the paired difference over the same pairs and seeds "
            "contains 0; the differences of a column hold together with 95 % (Bonferroni)."
        )
    return notes


def protocol_notes(summary: Summary, root: Path) -> list[str]:
    """What the evaluations say about their protocol, benchmark by benchmark."""
    usable = summary.rows.usable("evaluation")
    notes: dict[str, list[str]] = {}
    for benchmark in summary.study.benchmarks:
        for run in usable[usable["benchmark"] == benchmark]["run"].unique():
            file = root / "evaluation" / str(run) / f"{benchmark}.json"
            record = read(file, EvaluationRecord).record
            for note in record.notes if record else ():
                # The report's intervals also cover the seeds, and have a note of their own.
                if not str(note).startswith("Intervals:"):
                    notes.setdefault(str(note), [])
                    notes[str(note)] = unique([*notes[str(note)], benchmark])
    every = set(summary.study.benchmarks)
    return [
        note if set(where) == every else f"{', '.join(where)}: {note}"
        for note, where in notes.items()
    ]


def unique(values: Iterable[str]) -> list[str]:
    """The values that are not empty, each once, in their order."""
    return [value for value in dict.fromkeys(values) if value]


DIFFERENCE_COLUMNS = (
    "benchmark", "metric", "far", "rank", "fpir", "subset", "backbone", "head", "sampler", "value",
    "best_minus_this", "low", "high", "level", "verdict", "seeds", "why",
)  # fmt: skip


def differences_table(summary: Summary) -> Table:
    """For each benchmark's main metric: how far each method is below the best, and if it is."""
    study = summary.study
    headings = [Heading("benchmark", numeric=False), *method_headings(study)]
    headings += [
        Heading("value [%]"),
        Heading("best minus this [points]"),
        Heading("verdict", numeric=False),
    ]
    rows: list[Sequence[Cell]] = []
    records: list[Record] = []
    columns = [column for column in summary.main_columns() if not summary.why_unmarked(column)]
    for column in columns:
        differences = summary.differences(column)
        for difference in differences if len(differences) > 1 else ():
            number = summary.cell(difference.method, column)
            rows.append(
                [
                    Cell(column.title),
                    *method_cells(study, difference.method),
                    Cell(percent(number.value or 0.0)),
                    _difference_cell(difference),
                    Cell(_verdict_text(difference)),
                ]
            )
            records.append(_difference_record(column, difference, number))
    level = {f"{100 * summary.comparison_level(c):.2f} %" for c in columns}
    notes = [
        "Paired difference over the same pairs and seeds; the same draws of test people for both "
        f"sides. Each interval is at {' or '.join(sorted(level)) or '95 %'}, so that all of a "
        "benchmark hold together with 95 % (Bonferroni).",
        "'Not told apart' means that the data at hand do not separate the two, not that they are "
        "equal.",
    ]
    if not rows:
        notes = ["No benchmark has the numbers of two methods."]
    notes += unmarked(summary, summary.main_columns())
    data = pd.DataFrame(records, columns=DIFFERENCE_COLUMNS)
    return Table("differences", "Difference from the best", headings, rows, notes, data)


def _difference_cell(difference: Difference) -> Cell:
    estimate = difference.estimate
    if estimate is None:
        return Cell("—", difference.why)
    return Cell(percent(estimate.value), f"[{percent(estimate.low)}, {percent(estimate.high)}]")


def _verdict_text(difference: Difference) -> str:
    return {
        "best": "highest",
        "not told apart": "not told apart (noise)",
        "lower": "lower",
        "not compared": "not compared",
    }[difference.verdict]


def _difference_record(column: Column, difference: Difference, number: Number) -> Record:
    estimate = difference.estimate
    return {
        "benchmark": column.benchmark,
        "metric": column.metric,
        "far": column.far,
        "rank": column.rank,
        "fpir": column.fpir,
        "subset": column.subset,
        "backbone": difference.method.backbone,
        "head": difference.method.head,
        "sampler": difference.method.sampler,
        "value": number.value,
        "best_minus_this": estimate.value if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "level": estimate.level if estimate else None,
        "verdict": difference.verdict,
        "seeds": " ".join(map(str, difference.seeds)),
        "why": difference.why,
    }
