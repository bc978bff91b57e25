"""The first table of a report: what each method reaches, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from frcore.evaluation.false_accepts import MIN_FALSE_ACCEPTS
from frcore.reporting.tables.accuracy import (
    accuracy_notes,
    accuracy_record,
    method_cells,
    method_headings,
    number_cell,
)
from frcore.reporting.tables.cost import disturbances, significant, spread_text
from frcore.reporting.tables.table import Cell, Heading, Table
from frcore.results.cost import (
    MEMORY,
    comparable_identities,
    is_disturbed,
    memory_column,
    out_of_memory,
)
from frcore.results.records import Record
from frcore.results.summary import Column, Method, Summary

FEW = 2
"""With so many benchmarks each has its accuracy and its hardest TAR; with more, its main number."""


def overview_table(summary: Summary) -> Table:
    """Methods down; across, the main numbers of the benchmarks, then time and memory of a step."""
    columns = overview_columns(summary)
    costs = dict(_costs(summary))
    identities = comparable_identities(summary.rows)
    headings = method_headings(summary.study)
    headings += [Heading(f"{column.text} [%]", column.benchmark) for column in columns]
    memory = _memory(summary)
    if costs:
        group = f"a step, {identities:,} identities"
        headings += [Heading("time [ms]", group)]
        headings += [Heading("memory [MiB]", group)] if memory else []
    rows = []
    for method in summary.methods:
        cells = [number_cell(summary, method, column, brief=True) for column in columns]
        cost = _cost_cells(costs.get((method.head, method.sampler)), memory) if costs else []
        rows.append([*method_cells(summary.study, method), *cells, *cost])
    data = pd.DataFrame([_record(summary, m, columns, costs, memory) for m in summary.methods])
    notes = [*accuracy_notes(summary, columns), *_headline(summary, columns)]
    notes += _cost_notes(summary, identities, memory)
    return Table("overview", "Accuracy and cost", headings, rows, notes, data)


def overview_columns(summary: Summary) -> list[Column]:
    """Each benchmark's main number; where there are few benchmarks also its hardest TAR."""
    mains = summary.main_columns()
    if len(summary.study.benchmarks) > FEW:
        return mains
    chosen = []
    for main in mains:
        hardest = [c for c in summary.hardest(main.benchmark) if c.metric == "tar"][:1]
        chosen += [main, *(column for column in hardest if column != main)]
    return chosen


def _headline(summary: Summary, columns: Sequence[Column]) -> list[str]:
    """Which FAR stands for a benchmark, and why it is no lower one."""
    shown = [column.title for column in columns if column.metric == "tar"]
    if not shown:
        return []
    return [
        f"{'; '.join(shown)}: the lowest FAR at which the benchmark's impostors allow at least "
        f"{MIN_FALSE_ACCEPTS} false accepts, as an interval needs (the highest where none does)."
    ]


def _costs(summary: Summary) -> Iterator[tuple[tuple[str, str], pd.Series]]:
    """(head, sampler) and its measurement at the number of identities that most have."""
    identities = comparable_identities(summary.rows)
    frame = summary.rows.measurement
    for _, row in frame[frame["identities"] == identities].iterrows():
        yield (str(row["head"]), str(row["sampler"])), row


def _memory(summary: Summary) -> str | None:
    return memory_column(summary.rows.usable("measurement"))


def _cost_cells(row: pd.Series | None, memory: str | None) -> list[Cell]:
    empty = [Cell("—")] if memory else []
    if row is None:
        return [Cell("—"), *empty]
    if row["status"] != "ok":
        oom = row["status"] == "oom"
        text = out_of_memory(row.to_frame().T)[0] if oom else str(row["status"])
        return [Cell("—", text), *empty]
    detail = f"{spread_text(row)}{' disturbed' if is_disturbed(row) else ''}"
    cells = [Cell(significant(row["step_ms"]), detail)]
    return cells + ([Cell(significant(row[memory]))] if memory else [])


def _record(
    summary: Summary,
    method: Method,
    columns: list[Column],
    costs: dict[tuple[str, str], pd.Series],
    memory: str | None,
) -> Record:
    record = accuracy_record(summary, method, columns)
    row = costs.get((method.head, method.sampler))
    names = ["identities", "status", "step_ms", "step_ms_low", "step_ms_high", "disturbed"]
    names += [memory] if memory else []
    return record | ({f"cost.{name}": None if row is None else row[name] for name in names}
                     if costs else {})  # fmt: skip


def _cost_notes(summary: Summary, identities: int | None, memory: str | None) -> list[str]:
    if identities is None:
        return ["Speed and memory were not measured."] if summary.study.trains else []
    measurement = summary.study.measurement
    assert measurement is not None
    usable = summary.rows.usable("measurement")
    machines = (usable["gpu_name"].fillna(usable["cpu"])).dropna().unique()
    what = "the last layer" if measurement.backbone is None else measurement.backbone.label
    text = f"Time: median of a training step of {what}, batch {measurement.batch_size}"
    text += ", with its 20th and 80th percentile"
    text += f"; memory: {MEMORY[memory]}" if memory else ""
    return [f"{text} ({', '.join(machines)}).", *disturbances(usable)]
