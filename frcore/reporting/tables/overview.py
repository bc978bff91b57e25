"""The first table of a report: the accuracy and the cost of each method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from frcore.evaluation.false_accepts import MIN_FALSE_ACCEPTS
from frcore.reporting.tables.accuracy import (
    accuracy_notes,
    accuracy_record,
    method_columns,
    number_columns,
)
from frcore.reporting.tables.cost import disturbances, machines, significant, time_cell
from frcore.reporting.tables.table import Cell, Heading, Table
from frcore.results.cost import MEMORY, comparable_identities, is_disturbed, memory_column
from frcore.results.summary import Column, Method, Summary

FEW = 2
"""Up to this many benchmarks show accuracy and hardest TAR; with more, only the main number."""


def overview_table(summary: Summary) -> Table:
    """Rows: methods. Columns: the benchmarks' main numbers, then time and memory of a step."""
    shown = overview_columns(summary)
    identities = comparable_identities(summary.rows)
    memory = memory_column(summary.rows.usable("measurement"))
    frame = summary.rows.measurement
    costs = {(str(row["head"]), str(row["sampler"])): row
             for _, row in frame[frame["identities"] == identities].iterrows()}  # fmt: skip

    def cost(method: Method) -> pd.Series | None:
        return costs.get((method.head, method.sampler))

    columns = [*method_columns(summary.study), *number_columns(summary, shown, brief=True)]
    kept = ["identities", "status", "step_ms", "step_ms_low", "step_ms_high", "disturbed"]
    if costs:
        group = f"a step, {identities:,} identities"
        columns.append((Heading("time [ms]", group), lambda method: _time(cost(method))))
        if memory:
            kept.append(memory)
            columns.append(
                (Heading("memory [MiB]", group), lambda method: _reading(cost(method), memory))
            )
    records = []
    for method in summary.methods:
        row = cost(method)
        measured = {f"cost.{name}": None if row is None else row[name] for name in kept}
        record = accuracy_record(summary, method, shown)
        records.append(record | (measured if costs else {}))
    notes = [*accuracy_notes(summary, shown), *_headline(shown), *_unseen(summary, shown)]
    notes += _alignment(summary)
    notes += _cost_notes(summary, identities, memory)
    return Table.of("overview", "Accuracy and cost", columns, summary.methods, notes,
                    pd.DataFrame(records))  # fmt: skip


def overview_columns(summary: Summary) -> list[Column]:
    """Each benchmark's main number; with few benchmarks also its hardest TAR; of a search rank-1.

    Where people tested were also trained on, the number without them stands beside it.
    """
    few = len(summary.study.benchmarks) <= FEW
    firsts = summary.primary() if few else summary.main_columns()
    ranks = [Column(name, "rank", None, "all", rank=1) for name in summary.study.benchmarks]
    found = [*firsts, *(column for column in ranks if column in summary.columns)]
    names = list(summary.study.benchmarks)
    found.sort(key=lambda column: names.index(column.benchmark))
    both = [(column, replace(column, subset="unseen")) for column in found]
    return [one for pair in both for one in pair if one is pair[0] or summary.has_numbers(one)]


def _headline(columns: Sequence[Column]) -> list[str]:
    """Which FAR represents a benchmark, and why it is not a lower one."""
    shown = [column.title for column in columns if column.metric == "tar"]
    if not shown:
        return []
    return [
        f"{'; '.join(shown)}: the lowest FAR at which the benchmark's impostors allow the "
        f"{MIN_FALSE_ACCEPTS} false accepts that an interval needs (the highest FAR if none does)."
    ]


def _unseen(summary: Summary, columns: Sequence[Column]) -> list[str]:
    """What `unseen` leaves out, and the accuracy that needs no face where pairs are unbalanced."""
    notes = []
    found = {
        name: (one.record.data, one.record.rows)
        for (_, name), one in summary.rows.found.evaluations.items()
        if one.record and one.record.data and one.record.data.seen_people
    }
    for column in columns:
        if column.benchmark not in found or column.subset != "unseen" or column.metric == "rank":
            continue
        data, rows = found[column.benchmark]
        pairs, seen = data.pairs or 0, data.seen_pairs or 0
        note = (
            f"{column.benchmark}, unseen: without the {data.seen_people:,} of "
            f"{data.people:,} people who are in the training set, in {seen:,} of {pairs:,} "
            "pairs"
        )
        tar = next((row for row in rows if (row.metric, row.subset) == ("tar", "unseen")), None)
        if column.metric == "accuracy" and tar is not None and tar.n is not None:
            most = max(tar.n, pairs - seen - tar.n) / (pairs - seen)
            note += (
                f"; {tar.n:,} of the other {pairs - seen:,} are genuine, so that one answer to all "
                f"is right in {most:.1%}"
            )
        notes.append(f"{note}.")
    return notes


def _alignment(summary: Summary) -> list[str]:
    """Which benchmarks' images were aligned otherwise than the study says, and how."""
    found: dict[str, list[str]] = {}
    for name, section in summary.study.benchmarks.items():
        if by := getattr(section, "aligned_by", None):
            found.setdefault(by, []).append(name)
    return [f"{', '.join(names)}: images are aligned otherwise than the training set's ({by}), so "
            "published figures are not comparable." for by, names in found.items()]  # fmt: skip


def _time(row: pd.Series | None) -> Cell:
    if row is None:
        return Cell()
    cell = time_cell(row)
    if row["status"] != "ok":
        return Cell(detail=cell.text)
    return replace(cell, detail=cell.detail + (" disturbed" if is_disturbed(row) else ""))


def _reading(row: pd.Series | None, memory: str) -> Cell:
    return Cell() if row is None or row["status"] != "ok" else Cell(significant(row[memory]))


def _cost_notes(summary: Summary, identities: int | None, memory: str | None) -> list[str]:
    if identities is None:
        return ["Speed and memory were not measured."] if summary.study.trains else []
    measurement = summary.study.measurement
    assert measurement is not None
    usable = summary.rows.usable("measurement")
    what = "the last layer" if measurement.backbone is None else measurement.backbone.label
    text = (
        f"Time: median of a training step of {what}, batch {measurement.batch_size}, with its 20th "
        "and 80th percentile"
    )
    text += f"; memory: {MEMORY[memory]}" if memory else ""
    return [f"{text} ({', '.join(machines(usable))}).", *disturbances(usable)]
