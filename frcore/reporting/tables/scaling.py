"""The table of the last layer's step in several processes."""

from __future__ import annotations

import pandas as pd

from frcore.reporting.tables.cost import disturbances, machines, significant, time_cell
from frcore.reporting.tables.table import Cell, Column, Heading, Table, text_column
from frcore.results.cost import MEMORY, conditions, memory_column
from frcore.results.reading import USABLE
from frcore.results.rows import Rows
from frcore.study.config import Study
from frcore.study.parts import Measurement

KINDS = {
    "strong": "Strong scaling: the same identities for every number of processes; efficiency is "
    "t₁ / (N · tₙ).",
    "weak": "Weak scaling: N times the identities in N processes; efficiency is t₁ / tₙ.",
}


def scaling_table(study: Study, rows: Rows) -> Table:
    """Head × sampler × identities × processes: step time, efficiency, network and memory."""
    frame, measurement = rows.scaling, study.measurement
    title = "One step of the last layer in several processes"
    if measurement is None or frame.empty:
        notes = ["Measured in one process only (`measurement.processes` of the study)."]
        return Table.of("scaling", title, [], [], notes, frame)
    memory = memory_column(frame)
    columns: list[Column[pd.Series]] = [
        text_column("head", lambda row: str(row["head"])),
        text_column("sampler", lambda row: str(row["sampler"])),
        (Heading("identities"), lambda row: f"{row['identities']:,}"),
        (Heading("processes"), lambda row: str(row["processes"])),
        (Heading("step [ms]"), time_cell),
    ]
    if any(any(conditions(row)) for _, row in frame.iterrows()):
        columns.append(text_column("conditions", lambda row: Cell(*conditions(row))))
    columns += [
        (Heading("efficiency [%]"), lambda row: significant(100 * row["efficiency"])),
        (Heading("network [%]"), lambda row: significant(row["network_percent"])),
    ]
    if memory is not None:
        columns.append((Heading("memory [MiB]"), lambda row: significant(row[memory])))
    notes = _notes(measurement, frame[frame["status"] == USABLE], memory)
    return Table.of("scaling", title, columns, [row for _, row in frame.iterrows()], notes, frame)


def _notes(given: Measurement, usable: pd.DataFrame, memory: str | None) -> list[str]:
    backend = "NCCL between the GPUs" if given.device == "cuda" else "gloo"
    return [
        KINDS[given.scaling],
        f"Processes on one machine, {given.threads} CPU thread(s) each, {backend}; batch "
        f"{given.batch_size} of all together, dimension {given.dim}. One process is measured "
        "without a process group.",
        "Step time: of the slowest process. Network: mean over the processes, in steps of their "
        "own in which every collective is waited for: transfer, reduction, and waiting for slower "
        "processes.",
        *([] if memory is None else [f"Memory: {MEMORY[memory]}, of the process with the most."]),
        *(f"Device: {machine}." for machine in machines(usable)),
        *disturbances(usable),
        "A dash marks values that were not measured.",
    ]
