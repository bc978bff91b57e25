"""Results as data: one tidy row per number, per run and per measured point.

What is missing is a row too, with its status and its reason, so that nothing goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.evaluation.false_accepts import why_no_interval
from frcore.files import atomic_file
from frcore.measurement.columns import MEASURED
from frcore.reporting import outputs
from frcore.reporting.tables.escape import csv_cell
from frcore.results.records import (
    Finding,
    Record,
    check_hash,
    provenance,
    read_events,
    read_record,
    read_run,
)
from frcore.results.rows_diagnostics import RUN_COLUMNS, diagnostics_rows
from frcore.results.shapes import Evaluation, Measurement
from frcore.study import expansion
from frcore.study.config import Study

NONE = "—"
"""Head and sampler of a model trained elsewhere; its label stands for run and backbone."""

NUMBER_COLUMNS = (
    "metric", "far", "rank", "fpir", "gallery", "subset", "value", "low", "high", "level", "method",
    "se_test", "n", "n_unit",
    "threshold", "far_achieved", "false_accepts", "impostors", "note",
)  # fmt: skip
TRAINING_COLUMNS = (
    "epochs", "steps", "seconds", "images_per_second", "final_loss", "backend", "parameters",
    "scale", "target_angle", "negative_angle",
)  # fmt: skip
PROVENANCE_COLUMNS = tuple(provenance({}))

TEXT = frozenset((
    "run", "backbone", "head", "sampler", "benchmark", "protocol", "metric", "subset", "method",
    "n_unit", "note", "backend", "loss_precision", "center_format", "status", "reason",
    "measurement", "device", "inside_timer", "disturbed", "throttle_reasons", "notes",
    "spec_hash", "data_sha256", "commit", "platform", "cpu", "gpu_name", "gpu_driver",
))  # fmt: skip
"""Columns that hold text even where every value is missing."""

COUNTS = frozenset((
    "seed", "rank", "gallery", "n", "false_accepts", "impostors", "epochs", "steps", "parameters",
    "identities", "batch_size", "dim", "cores", "attempts", "bytes_asked", "warmup_steps",
    "other_processes",
))  # fmt: skip

FLAGS = frozenset(("steady",))


@dataclass(frozen=True)
class Rows:
    """A study's results.

    Attributes:
        evaluation: one row per run or model × benchmark × number.
        training: one row per run.
        measurement: one row per head × sampler × number of identities.
        diagnostics: one row per run × number about its class centres.
        strays: runs and measurements on disk that are not part of the study, and not used.
    """

    evaluation: pd.DataFrame
    training: pd.DataFrame
    measurement: pd.DataFrame
    diagnostics: pd.DataFrame
    strays: tuple[str, ...]
    _usable: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    def usable(self, name: str) -> pd.DataFrame:
        """The rows of table `name` that hold results; one table for all who ask, not to change."""
        if name not in self._usable:
            frame: pd.DataFrame = getattr(self, name)
            self._usable[name] = frame[frame["status"] == "ok"]
        return self._usable[name]


def collect(study: Study, root: str | Path) -> Rows:
    """Read `root` (`results/<study>`) and match it with what the study's plan says."""
    root = Path(root)
    specs = expansion.runs(study)
    found = {name: read_run(root / "runs" / name, spec) for name, spec in specs.items()}
    names = {name: _run_columns(name, spec) for name, spec in specs.items()}
    return Rows(
        evaluation=_evaluation(study, root, found),
        training=_training(study, root, found),
        measurement=_measurement(study, root),
        diagnostics=diagnostics_rows(root, found, names),
        strays=_strays(study, root),
    )


def write_rows(rows: Rows, root: str | Path) -> None:
    """Write each table as Parquet and as CSV under `rows/`."""
    files = outputs.paths(root)
    for name in outputs.ROWS:
        frame: pd.DataFrame = getattr(rows, name)
        with atomic_file(files[f"rows_{name}_parquet"]) as path:
            frame.to_parquet(path, index=False)
        with atomic_file(files[f"rows_{name}_csv"]) as path:
            path.write_text(csv_text(frame), encoding="utf-8")


def csv_text(frame: pd.DataFrame) -> str:
    """CSV in which no text cell (or heading) can act as a spreadsheet formula."""
    safe = frame.map(csv_cell).rename(columns=csv_cell)
    return safe.to_csv(index=False, lineterminator="\n")


def _run_columns(name: str, spec: expansion.RunSpec) -> Record:
    labels = (spec.backbone.label, spec.head.label, spec.sampler.label)
    return dict(zip(RUN_COLUMNS, (name, *labels, spec.seed), strict=True))


def _training(study: Study, root: Path, found: dict[str, Finding]) -> pd.DataFrame:
    rows = []
    for name, spec in expansion.runs(study).items():
        finding = found[name]
        row = {**_run_columns(name, spec), "status": finding.status, "reason": finding.reason}
        if finding.usable:
            row |= {key: finding.record.get(key) for key in TRAINING_COLUMNS}
            epochs = [
                event
                for event in read_events(root / "runs" / name / "metrics.jsonl")
                if event.get("event") == "epoch"
            ]
            for key in ("scale", "target_angle", "negative_angle"):
                row[key] = epochs[-1].get(key) if epochs else None
        rows.append({**row, **provenance(finding.record)})
    return _frame(rows, (*RUN_COLUMNS, "status", "reason", *TRAINING_COLUMNS))


def _evaluation(study: Study, root: Path, found: dict[str, Finding]) -> pd.DataFrame:
    rows = []
    for name, spec in expansion.runs(study).items():
        for benchmark in study.benchmarks:
            finding = _of_run(found[name], _judged(study, root, name, benchmark, spec.hash))
            rows += _numbers(_run_columns(name, spec), benchmark, finding)
    specs = expansion.models(study)
    for label, benchmark in expansion.model_benchmarks(study):
        finding = _judged(study, root, label, benchmark, specs[label].hash)
        if not finding.usable:
            reason = f"evaluation: {finding.reason}"
            finding = Finding(finding.status, reason, finding.record)
        names = dict(zip(RUN_COLUMNS, (label, label, NONE, NONE, None), strict=True))
        rows += _numbers(names, benchmark, finding)
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


def _judged(study: Study, root: Path, name: str, benchmark: str, judged_hash: str) -> Finding:
    """What was found of a run or model, if it is of this study's evaluation and of that spec."""
    path = root / "evaluation" / name / f"{benchmark}.json"
    finding = check_hash(read_record(path, Evaluation), expansion.evaluation(study).hash)
    if "run_spec_hash" in finding.record:
        finding = check_hash(finding, judged_hash, "run_spec_hash")
    return finding


def _numbers(names: Record, benchmark: str, finding: Finding) -> list[Record]:
    """One row per number of an evaluation; one with the reason where there is none."""
    common = {
        **names,
        "benchmark": benchmark,
        "protocol": finding.record.get("protocol") if finding.usable else None,
        "status": finding.status,
        "reason": finding.reason,
    }
    numbers = finding.record.get("rows") or [{}] if finding.usable else [{}]
    source = provenance(finding.record)
    return [
        {**common, **{key: number.get(key) for key in NUMBER_COLUMNS}, **source}
        for number in numbers
    ]


def _of_run(run: Finding, evaluation: Finding) -> Finding:
    """An evaluation counts only if the run it judged does."""
    if not run.usable:
        return Finding(run.status, f"training: {run.reason}")
    if not evaluation.usable:
        return Finding(evaluation.status, f"evaluation: {evaluation.reason}", evaluation.record)
    return evaluation


def _measurement(study: Study, root: Path) -> pd.DataFrame:
    rows = []
    for name, spec in expansion.measurements(study).items():
        path = root / "measurement" / f"{name}.json"
        finding = check_hash(read_record(path, Measurement), spec.hash)
        measured: dict[Any, Record] = {}
        if finding.usable:
            measured = {row.get("identities"): row for row in finding.record.get("rows", [])}
        absent = finding.reason or "not measured"
        # A file that was read but lacks a point is as good as no file for that point.
        gap = {"status": "not run" if finding.usable else finding.status, "error": absent}
        for identities in spec.measurement.identities:
            row = measured.get(identities, gap)
            numbers = {k: row.get(k) for k in MEASURED if row.get(k) is not None}
            rows.append(
                {
                    "measurement": name,
                    "head": spec.head.label,
                    "sampler": spec.sampler.label,
                    "status": row.get("status", "ok"),
                    "reason": row.get("error") or "",
                    **provenance(finding.record),
                    **numbers,
                    "identities": identities,
                }
            )
    return _frame(rows, ("measurement", "head", "sampler", "status", "reason", *MEASURED))


def _frame(rows: Sequence[Record], columns: Sequence[str]) -> pd.DataFrame:
    """Rows with the same columns and types, whatever is missing."""
    extra = {key: None for row in rows for key in row}
    names = list(dict.fromkeys((*columns, *PROVENANCE_COLUMNS, *extra)))
    frame = pd.DataFrame(rows, columns=names)
    for name in names:
        frame[name] = _typed(frame[name], name)
    return frame


def _typed(column: pd.Series, name: str) -> pd.Series:
    if name in TEXT or name.startswith("version_"):
        return column.map(lambda cell: str(cell) if _present(cell) else None).astype("string")
    if name in COUNTS:
        return pd.to_numeric(column, errors="coerce").round().astype("Int64")
    if name in FLAGS:
        return column.map(lambda cell: cell if isinstance(cell, bool) else None).astype("boolean")
    if name.startswith("gpu_") and not all(map(_is_number, column.dropna())):
        return column.map(lambda cell: str(cell) if _present(cell) else None).astype("string")
    return pd.to_numeric(column, errors="coerce").astype("float64")


def _present(cell: object) -> bool:
    return cell is not None and cell == cell and cell != []


def _is_number(cell: object) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _strays(study: Study, root: Path) -> tuple[str, ...]:
    expected = {
        "runs": set(expansion.runs(study)),
        "measurement": {f"{name}.json" for name in expansion.measurements(study)},
    }
    for path in (root / "comparison").glob("*.json"):
        # What `frcore compare` used has a report of its own.
        record = read_record(path).record
        expected["runs"].update(record.get("runs") or ())
        expected["measurement"].update(f"{n}.json" for n in record.get("measurements") or ())
    return tuple(
        f"{folder}/{path.name}"
        for folder, known in expected.items()
        for path in sorted((root / folder).glob("*"))
        if path.name not in known and not path.name.startswith(".")
    )
