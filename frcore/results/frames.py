"""Tables of results: column types that do not depend on missing values, and CSV output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import pandas as pd

from frcore.records.base import Environment, Record
from frcore.records.diagnostics import Group
from frcore.records.evaluation import NumberRow
from frcore.records.measurement import MeasuredRow
from frcore.records.metrics import EpochEvent
from frcore.records.run import ResultRecord
from frcore.text import csv_cell

Row = dict[str, Any]
"""By column."""

PROVENANCE = {
    "commit": "Commit", "platform": "Platform", "cpu": "Processor", "cores": "Cores",
    "device": "Device", "gpu_name": "GPU", "gpu_driver": "Driver",
    "gpu_power_limit_watts": "Power limit [W]",
}  # fmt: skip
"""Column -> its name, for people."""

RUN_COLUMNS = ("run", "backbone", "head", "sampler", "seed")


def _types(*records: type[Record]) -> dict[str, str]:
    """The pandas dtype of each field."""
    kinds: dict[Any, str] = {str: "string", bool: "boolean", int: "Int64"}

    def kind(annotation: Any) -> str | None:
        if not isinstance(annotation, type):  # a union, or annotated
            return next(filter(None, map(kind, get_args(annotation))), None)
        return kinds.get(annotation)

    fields = {name: field for record in records for name, field in record.model_fields.items()}
    return {name: kind(field.annotation) or "float64" for name, field in fields.items()}


TYPES: dict[str, str] = {
    **_types(ResultRecord, EpochEvent, Environment, Group, NumberRow, MeasuredRow),
    **dict.fromkeys((*RUN_COLUMNS, "benchmark", "protocol", "measurement", "reason"), "string"),
    **dict.fromkeys(("quantity", "unit", "data_sha256", "gpu_name", "gpu_driver"), "string"),
    "seed": "Int64",
}
"""Column -> dtype, whatever values are missing; other columns are numbers."""


def frame_of(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """A table with the same columns and dtypes, whatever is missing."""
    extra = {key: None for row in rows for key in row}
    names = list(dict.fromkeys((*columns, *extra)))
    frame = pd.DataFrame(rows, columns=names)
    for name in names:
        frame[name] = _typed(frame[name], name)
    return frame


def _typed(column: pd.Series, name: str) -> pd.Series:
    kind = TYPES.get(name, "string" if name.startswith("version_") else "float64")
    if name.startswith("gpu_") and not all(map(_is_number, column.dropna())):
        kind = "string"
    if kind == "string":
        return column.map(lambda cell: str(cell) if _present(cell) else None).astype("string")
    if kind == "boolean":
        return column.map(lambda cell: cell if isinstance(cell, bool) else None).astype("boolean")
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers.round().astype("Int64") if kind == "Int64" else numbers.astype("float64")


def _present(cell: object) -> bool:
    return cell is not None and cell == cell and cell != []


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def provenance_of(rows: pd.DataFrame, **more: str) -> dict[str, str]:
    """Where rows come from: the name of a condition -> its value, or several values.

    Args:
        rows: with columns of provenance.
        more: column -> name of further conditions, before the versions.
    """
    versions = [str(name) for name in rows if str(name).startswith("version_")]
    titles = PROVENANCE | more | {name: name.removeprefix("version_") for name in versions}
    told = {title: ", ".join(sorted({*map(str, rows[name].dropna())}))
            for name, title in titles.items() if name in rows}  # fmt: skip
    return {title: text for title, text in told.items() if text}


def csv_text(frame: pd.DataFrame) -> str:
    """CSV in which no cell or heading can act as a spreadsheet formula."""
    safe = frame.map(csv_cell).rename(columns=csv_cell)
    return safe.to_csv(index=False, lineterminator="\n")
