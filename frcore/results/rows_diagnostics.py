"""`diagnostics.json` of each run as tidy rows: one per number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from frcore.records.base import Record
from frcore.records.diagnostics import CenterAngles, Conflicts, DiagnosticsRecord
from frcore.results.frames import RUN_COLUMNS, Row, frame_of
from frcore.results.reading import StudyFiles

FIGURE_COLUMNS = ("quantity", "group", "cosine", "start", "age", "value", "unit", "note")

CENTER_UNITS = {
    "nearest_angle_mean": "degrees",
    "nearest_angle_p5": "degrees",
    "nearest_angle_min": "degrees",
    "mean_angle": "degrees",
}
GROUP_UNITS = {
    "classes": "classes",
    "images_low": "images",
    "images_high": "images",
    "images": "images per class",
    "positive": "rows per class",
    "queue": "rows per class",
    "passive": "steps per class",
    "passive_per_positive": "steps per row",
    **{name: unit for name, unit in CENTER_UNITS.items() if name != "mean_angle"},
    "target_angle_mean": "degrees",
    "target_angle_p5": "degrees",
    "target_angle_p95": "degrees",
}
CONFLICT_UNITS = {
    "pairs": "pairs of centres",
    "same_person": "pairs of centres",
    "precision": "proportion",
    "recall": "proportion",
}
DRIFT_UNITS = {"queued": "mean cosine", "compensated": "mean cosine"}


def diagnostics_rows(files: StudyFiles, names: Mapping[str, Row]) -> pd.DataFrame:
    """One row per number of each run; a single row with the reason for a run without any.

    Provenance is that of `rows/training`, joined by `run`.

    Args:
        files: of the study.
        names: each run's columns `run`, `backbone`, `head`, `sampler`, `seed`.
    """
    rows: list[Row] = []
    for name, common in names.items():
        finding = files.diagnostics[name]
        status = {**common, "status": finding.status, "reason": finding.reason}
        figures = list(_figures(finding.usable)) if finding.usable else [{}]
        rows += [{**status, **figure} for figure in figures]
    return frame_of(rows, [*RUN_COLUMNS, "status", "reason", *FIGURE_COLUMNS])


def _figures(record: DiagnosticsRecord) -> Iterator[Row]:
    note = " ".join(record.notes or [])
    centers = {"group": "all", "note": note}
    yield {**centers, "quantity": "classes", "value": record.classes, "unit": "classes"}
    yield from _numbers(record.centers or CenterAngles(), CENTER_UNITS, centers)
    for group in record.groups or []:
        units: Mapping[str, str] = GROUP_UNITS
        if group.group == "all":
            # Those of the centres are the same and were listed above.
            units = {k: v for k, v in units.items() if k not in ("classes", *CENTER_UNITS)}
        yield from _numbers(group, units, {"group": group.group, "note": note})
    conflicts = record.conflicts or Conflicts()
    split = conflicts.split_pairs
    yield {**centers, "quantity": "split_pairs", "value": split, "unit": "pairs of centres"}
    for row in conflicts.rows:
        yield from _numbers(row, CONFLICT_UNITS, {**centers, "cosine": row.cosine})
    for drift in record.drift or []:
        at = {"group": "all", "start": drift.start, "age": drift.age, "note": ""}
        yield from _numbers(drift, DRIFT_UNITS, at)


def _numbers(record: Record, units: Mapping[str, str], common: Row) -> Iterator[Row]:
    for name, unit in units.items():
        yield {**common, "quantity": name, "value": getattr(record, name), "unit": unit}
