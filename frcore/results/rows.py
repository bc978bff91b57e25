"""Results as data: one tidy row per number, per run and per measured point.

What is missing is a row too, with its status and its reason, so that nothing goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from frcore.evaluation.false_accepts import why_no_interval
from frcore.files import atomic_file
from frcore.records.base import Environment, Record
from frcore.records.evaluation import EvaluationRecord, NumberRow
from frcore.records.measurement import MeasuredRow
from frcore.records.metrics import EpochEvent
from frcore.records.run import ResultRecord
from frcore.results.column import NONE
from frcore.results.reading import USABLE, Finding, Found, Run, provenance, read_study
from frcore.results.rows_diagnostics import RUN_COLUMNS, diagnostics_rows
from frcore.study import expansion
from frcore.study.config import Study
from frcore.text import csv_cell

Row = dict[str, Any]

NUMBER_COLUMNS = tuple(NumberRow.model_fields)
RESULT_COLUMNS = tuple(
    name for name in ResultRecord.model_fields if name not in ("id", "spec_hash", "status")
)
LAST_EPOCH = ("scale", "target_angle", "negative_angle")
TRAINING_COLUMNS = (*RESULT_COLUMNS, *LAST_EPOCH)
MEASURED = tuple(name for name in MeasuredRow.model_fields if name not in ("status", "error"))
PROVENANCE_COLUMNS = tuple(provenance(None))
TABLES = ("evaluation", "training", "measurement", "diagnostics")
"""Each is `rows/<name>.parquet` and `.csv`."""


def _types(*records: type[Record]) -> dict[str, str]:
    """The pandas type of each field."""

    kinds: dict[Any, str] = {str: "string", bool: "boolean", int: "Int64"}

    def kind(annotation: Any) -> str | None:
        if not isinstance(annotation, type):  # a union, or annotated
            return next(filter(None, map(kind, get_args(annotation))), None)
        return kinds.get(annotation)

    fields = {name: field for record in records for name, field in record.model_fields.items()}
    return {name: kind(field.annotation) or "float64" for name, field in fields.items()}


TYPES: dict[str, str] = {
    **_types(ResultRecord, EpochEvent, Environment, NumberRow, MeasuredRow),
    **dict.fromkeys((*RUN_COLUMNS, "benchmark", "protocol", "measurement", "reason"), "string"),
    **dict.fromkeys(("spec_hash", "data_sha256", "gpu_name", "gpu_driver"), "string"),
    "seed": "Int64",
}
"""Of the columns, whatever values are missing; others are numbers."""


@dataclass(frozen=True)
class Rows:
    """A study's results.

    Attributes:
        evaluation: one row per run or model × benchmark × number.
        training: one row per run.
        measurement: one row per head × sampler × number of identities.
        diagnostics: one row per run × number about its class centres.
        strays: runs and measurements on disk that are not part of the study, and not used.
        found: what was read; None of rows that were kept.
    """

    evaluation: pd.DataFrame
    training: pd.DataFrame
    measurement: pd.DataFrame
    diagnostics: pd.DataFrame
    strays: tuple[str, ...]
    found: Found | None = None
    _usable: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    def usable(self, name: str) -> pd.DataFrame:
        """The rows of table `name` that hold results; one table for all who ask, not to change."""
        if name not in self._usable:
            frame: pd.DataFrame = getattr(self, name)
            self._usable[name] = frame[frame["status"] == USABLE]
        return self._usable[name]


def collect(study: Study, root: str | Path) -> Rows:
    """Read `root` (`results/<study>`) and match it with what the study's plan says."""
    found = read_study(study, Path(root))
    names = {name: _run_columns(name, spec) for name, spec in expansion.runs(study).items()}
    return Rows(
        evaluation=_evaluation(study, found, names),
        training=_training(found, names),
        measurement=_measurement(study, found),
        diagnostics=diagnostics_rows(found, names),
        strays=found.strays,
        found=found,
    )


def write_rows(rows: Rows, root: str | Path) -> None:
    """Write each table as Parquet and as CSV under `rows/`."""
    for name in TABLES:
        frame: pd.DataFrame = getattr(rows, name)
        with atomic_file(Path(root) / "rows" / f"{name}.parquet") as path:
            frame.to_parquet(path, index=False)
        with atomic_file(Path(root) / "rows" / f"{name}.csv") as path:
            path.write_text(csv_text(frame), encoding="utf-8")


def csv_text(frame: pd.DataFrame) -> str:
    """CSV in which no text cell (or heading) can act as a spreadsheet formula."""
    safe = frame.map(csv_cell).rename(columns=csv_cell)
    return safe.to_csv(index=False, lineterminator="\n")


def _run_columns(name: str, spec: expansion.RunSpec) -> Row:
    labels = (spec.backbone.label, spec.head.label, spec.sampler.label)
    return dict(zip(RUN_COLUMNS, (name, *labels, spec.seed), strict=True))


def _training(found: Found, names: dict[str, Row]) -> pd.DataFrame:
    rows = []
    for name, columns in names.items():
        run = found.runs[name]
        row = {**columns, "status": run.status, "reason": run.reason}
        if run.usable and run.usable.result:
            row |= {key: getattr(run.usable.result, key) for key in RESULT_COLUMNS}
            epochs = [event for event in found.events[name] if event["event"] == "epoch"]
            row |= {key: epochs[-1].get(key) if epochs else None for key in LAST_EPOCH}
        rows.append({**row, **provenance(run.record.begun if run.record else None)})
    return _frame(rows, (*RUN_COLUMNS, "status", "reason", *TRAINING_COLUMNS))


def _evaluation(study: Study, found: Found, names: dict[str, Row]) -> pd.DataFrame:
    rows = []
    for (name, benchmark), judged in found.evaluations.items():
        if name in names:
            rows += _numbers(names[name], benchmark, _of_run(found.runs[name], judged))
        else:
            model = dict(zip(RUN_COLUMNS, (name, name, NONE, NONE, None), strict=True))
            rows += _numbers(model, benchmark, _named(judged))
    columns = (*RUN_COLUMNS, "benchmark", "protocol", "status", "reason", *NUMBER_COLUMNS)
    return without_unfounded_intervals(_frame(rows, columns))


def why_few(frame: pd.DataFrame) -> pd.Series:
    """Why each row has a value and no interval: its FAR (or FPIR) allows too few false accepts.

    Empty where that is not so, and where a row does not tell its impostors, as those of early
    versions. A mean over galleries counts as its smallest gallery does.
    """
    asked = frame["far"].astype("float64").fillna(frame["fpir"].astype("float64"))
    keys = [frame[key] for key in ("run", "benchmark", "metric", "subset") if key in frame]
    fewest = frame["impostors"].astype("float64").groupby([*keys, asked], dropna=False)
    at_threshold = frame["metric"].isin(["tar", "tpir"]) & frame["value"].notna()
    table = pd.DataFrame({"asked": asked, "impostors": fewest.transform("min"),
                          "search": frame["fpir"].notna()})[at_threshold].dropna()  # fmt: skip
    found = pd.Series("", index=frame.index)
    table = table[np.isfinite(table["impostors"])]
    for (far, impostors, search), part in table.groupby(["asked", "impostors", "search"]):
        words = {"rate": "FPIR", "unit": "non-mated searches"} if search else {}
        found[part.index] = why_no_interval(float(far), int(impostors), **words)
    return found


def without_unfounded_intervals(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows, without the intervals that earlier versions gave on too few false accepts."""
    few = why_few(frame) != ""
    if few.any():
        frame = frame.copy()
        for name in ("low", "high", "level", "method", "se_test"):
            frame[name] = frame[name].mask(few)
    return frame


def _numbers(names: Row, benchmark: str, judged: Finding[EvaluationRecord]) -> list[Row]:
    """One row per number of an evaluation; one with the reason where there is none."""
    record = judged.usable
    common = {
        **names,
        "benchmark": benchmark,
        "protocol": record and record.protocol,
        "status": judged.status,
        "reason": judged.reason,
    }
    numbers: list[Row] = [number.model_dump() for number in record.rows] if record else []
    source = provenance(judged.record)
    return [
        {**common, **dict.fromkeys(NUMBER_COLUMNS), **number, **source}
        for number in numbers or [{}]
    ]


def _of_run(run: Finding[Run], judged: Finding[EvaluationRecord]) -> Finding[EvaluationRecord]:
    """An evaluation counts only if the run it judged does."""
    return _named(judged) if run.usable else Finding(run.status, f"training: {run.reason}")


def _named(judged: Finding[EvaluationRecord]) -> Finding[EvaluationRecord]:
    if judged.usable:
        return judged
    return Finding(judged.status, f"evaluation: {judged.reason}", judged.record)


def _measurement(study: Study, found: Found) -> pd.DataFrame:
    rows = []
    for name, spec in expansion.measurements(study).items():
        finding = found.measurements[name]
        measured = {row.identities: row for row in finding.usable.rows} if finding.usable else {}
        # A file that was read but lacks a point is as good as no file for that point.
        gap = "not run" if finding.usable else finding.status
        for identities in spec.measurement.identities:
            row = measured.get(identities)
            rows.append(
                {
                    "measurement": name,
                    "head": spec.head.label,
                    "sampler": spec.sampler.label,
                    "status": row.status if row else gap,
                    "reason": (row.error or "") if row else finding.reason or "not measured",
                    **provenance(finding.record),
                    **(row.model_dump(include={*MEASURED}, exclude_none=True) if row else {}),
                    "identities": identities,
                }
            )
    return _frame(rows, ("measurement", "head", "sampler", "status", "reason", *MEASURED))


def _frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """Rows with the same columns and types, whatever is missing."""
    extra = {key: None for row in rows for key in row}
    names = list(dict.fromkeys((*columns, *PROVENANCE_COLUMNS, *extra)))
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
