"""Results as data: one tidy row per number, per run and per measured point.

Missing results have a row too, with status and reason, so that nothing goes unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.evaluation.false_accepts import why_no_interval
from frcore.files import atomic_file
from frcore.records.evaluation import EvaluationRecord, NumberRow
from frcore.records.measurement import MeasuredRow
from frcore.records.run import ResultRecord
from frcore.results.column import NONE
from frcore.results.frames import RUN_COLUMNS, Row, csv_text, frame_of
from frcore.results.reading import USABLE, Finding, StudyFiles, provenance, read_study
from frcore.results.rows_diagnostics import diagnostics_rows
from frcore.study import expansion
from frcore.study.config import Study

NUMBER_COLUMNS = tuple(NumberRow.model_fields)
RESULT_COLUMNS = tuple(ResultRecord.model_fields)[3:]
"""Excluding the run's id, hash and status."""
LAST_EPOCH = ("scale", "target_angle", "negative_angle")
TRAINING_COLUMNS = (*RESULT_COLUMNS, *LAST_EPOCH)
MEASURED = tuple(name for name in MeasuredRow.model_fields
                 if name not in ("status", "error", "rank"))  # fmt: skip
PROVENANCE_COLUMNS = tuple(provenance(None))
TABLES = ("evaluation", "training", "measurement", "diagnostics")
"""Each is `rows/<name>.parquet` and `.csv`."""


@dataclass(frozen=True)
class Rows:
    """A study's results.

    Attributes:
        evaluation: one row per run or model × benchmark × number.
        training: one row per run.
        measurement: one row per head × sampler × number of identities, in one process.
        diagnostics: one row per run × number about its class centres.
        scaling: as `measurement`, for each number of processes; empty where that is one.
        found: what was read; empty for rows kept as a reference.
    """

    evaluation: pd.DataFrame
    training: pd.DataFrame
    measurement: pd.DataFrame
    diagnostics: pd.DataFrame
    scaling: pd.DataFrame = field(default_factory=pd.DataFrame)
    found: StudyFiles = field(default_factory=StudyFiles, repr=False)
    _usable: dict[str, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    @property
    def strays(self) -> tuple[str, ...]:
        """Runs and measurements on disk that are not part of the study, and not used."""
        return self.found.strays

    @property
    def of_several_processes(self) -> pd.DataFrame:
        """The rows of `scaling` that are not in `measurement`."""
        return self.scaling[self.scaling["processes"] > 1] if len(self.scaling) else self.scaling

    def usable(self, name: str) -> pd.DataFrame:
        """The rows of table `name` with results; a shared table that must not be modified."""
        if name not in self._usable:
            frame: pd.DataFrame = getattr(self, name)
            self._usable[name] = frame[frame["status"] == USABLE]
        return self._usable[name]


def collect(study: Study, root: str | Path) -> Rows:
    """Read `root` (`results/<study>`) and match it with the study's plan."""
    files = read_study(study, Path(root))
    names = {name: _run_columns(name, spec) for name, spec in expansion.runs(study).items()}
    measured = _measurement(study, files)
    alone = measured["processes"] == 1
    return Rows(
        evaluation=_evaluation(files, names),
        training=_training(files, names),
        measurement=measured[alone].reset_index(drop=True),
        diagnostics=diagnostics_rows(files, names),
        scaling=measured[:0] if alone.all() else measured,
        found=files,
    )


def write_rows(rows: Rows, root: str | Path) -> None:
    """Write each table as Parquet and as CSV under `rows/`."""
    for name in TABLES:
        frame: pd.DataFrame = getattr(rows, name)
        with atomic_file(Path(root) / "rows" / f"{name}.parquet") as path:
            frame.to_parquet(path, index=False)
        with atomic_file(Path(root) / "rows" / f"{name}.csv") as path:
            path.write_text(csv_text(frame), encoding="utf-8")


def _run_columns(name: str, spec: expansion.RunSpec) -> Row:
    labels = (spec.backbone.label, spec.head.label, spec.sampler.label)
    return dict(zip(RUN_COLUMNS, (name, *labels, spec.seed), strict=True))


def _training(files: StudyFiles, names: dict[str, Row]) -> pd.DataFrame:
    rows = []
    for name, columns in names.items():
        run = files.runs[name]
        row = {**columns, "status": run.status, "reason": run.reason}
        if run.usable and run.usable.result:
            row |= {key: getattr(run.usable.result, key) for key in RESULT_COLUMNS}
            epochs = [event for event in files.events[name] if event["event"] == "epoch"]
            row |= {key: epochs[-1].get(key) if epochs else None for key in LAST_EPOCH}
        rows.append({**row, **provenance(run.record.begun if run.record else None)})
    return frame_of(
        rows, (*RUN_COLUMNS, "status", "reason", *TRAINING_COLUMNS, *PROVENANCE_COLUMNS)
    )


def _evaluation(files: StudyFiles, names: dict[str, Row]) -> pd.DataFrame:
    rows = []
    for (name, benchmark), judged in files.evaluations.items():
        model = dict(zip(RUN_COLUMNS, (name, name, NONE, NONE, None), strict=True))
        rows += _numbers(names.get(name, model), benchmark, judged)
    columns = ("benchmark", "protocol", "status", "reason", *NUMBER_COLUMNS, *PROVENANCE_COLUMNS)
    return without_unfounded_intervals(frame_of(rows, (*RUN_COLUMNS, *columns)))


def why_few(frame: pd.DataFrame) -> pd.Series:
    """Why each row has a value but no interval: its FAR (or FPIR) allows too few false accepts.

    Empty otherwise, and for rows of early versions, which lack the number of impostors. A mean over
    galleries is treated like its smallest gallery.
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
    """The rows, without intervals that earlier versions computed from too few false accepts."""
    few = why_few(frame) != ""
    if few.any():
        frame = frame.copy()
        for name in ("low", "high", "level", "method", "se_test"):
            frame[name] = frame[name].mask(few)
    return frame


def _numbers(names: Row, benchmark: str, judged: Finding[EvaluationRecord]) -> list[Row]:
    """One row per number of an evaluation; a single row with the reason if there is none."""
    record = judged.usable
    common = {
        **names,
        "benchmark": benchmark,
        "protocol": record and record.protocol,
        "status": judged.status,
        "reason": judged.reason,
    }
    nothing: Row = dict.fromkeys(NUMBER_COLUMNS)
    numbers = [number.model_dump() for number in record.rows] if record else []
    source = provenance(judged.record)
    return [{**common, **number, **source} for number in numbers or [nothing]]


def _measurement(study: Study, files: StudyFiles) -> pd.DataFrame:
    rows = []
    for name, spec in expansion.measurements(study).items():
        finding, given = files.measurements[name], spec.measurement
        found = finding.usable.rows if finding.usable else []
        measured = {(row.identities, row.processes): row for row in found}
        # A readable file that lacks a point is treated like a missing file for that point.
        gap = "not run" if finding.usable else finding.status
        for one_has, processes in product(given.identities, given.processes):
            identities = given.identities_of(one_has, processes)
            row = measured.get((identities, processes))
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
                    "processes": processes,
                }
            )
    columns = ("measurement", "head", "sampler", "status", "reason", *MEASURED)
    return frame_of(rows, (*columns, *PROVENANCE_COLUMNS))
