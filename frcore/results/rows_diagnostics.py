"""`diagnostics.json` of each run as tidy rows: one per number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from frcore.results.records import Finding, Record, check_hash, read_record
from frcore.results.shapes import Diagnostics

RUN_COLUMNS = ("run", "backbone", "head", "sampler", "seed")
FIGURE_COLUMNS = ("quantity", "group", "cosine", "value", "unit", "note")

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

ABSENT = "trained before runs told about their centres; train it again for diagnostics.json"


def diagnostics_rows(
    root: Path, found: Mapping[str, Finding], names: Mapping[str, Record]
) -> pd.DataFrame:
    """One row per number of each run; one row with its reason for a run that has none.

    Provenance is that of `rows/training`, joined by `run`.

    Args:
        root: `results/<study>`.
        found: each run's record.
        names: each run's columns `run`, `backbone`, `head`, `sampler`, `seed`.
    """
    rows: list[Record] = []
    for name, common in names.items():
        finding = read_diagnostics(root / "runs" / name, found[name])
        status = {**common, "status": finding.status, "reason": finding.reason}
        figures = list(_figures(finding.record)) if finding.usable else [{}]
        rows += [{**status, **figure} for figure in figures]
    return _typed(rows, [*RUN_COLUMNS, "status", "reason", *FIGURE_COLUMNS])


def read_diagnostics(folder: Path, run: Finding) -> Finding:
    """The record of a run that counts; else why there is none."""
    if not run.usable:
        return Finding(run.status, f"training: {run.reason}")
    finding = check_hash(
        read_record(folder / "diagnostics.json", Diagnostics), run.record["spec_hash"]
    )
    return Finding("not run", ABSENT) if finding.status == "not run" else finding


def _figures(record: Record) -> Iterator[Record]:
    note = " ".join(record.get("notes") or [])
    centers = {"group": "all", "note": note}
    yield {**centers, "quantity": "classes", "value": record.get("classes"), "unit": "classes"}
    yield from _numbers(record.get("centers") or {}, CENTER_UNITS, centers)
    for group in record.get("groups") or []:
        if group["group"] != "all":
            yield from _numbers(group, GROUP_UNITS, {"group": group["group"], "note": note})
        else:
            # The centres' own figures are those of this group, and stand above.
            said = ("classes", *CENTER_UNITS)
            own = {name: unit for name, unit in GROUP_UNITS.items() if name not in said}
            yield from _numbers(group, own, centers)
    conflicts = record.get("conflicts") or {}
    split = conflicts.get("split_pairs")
    yield {**centers, "quantity": "split_pairs", "value": split, "unit": "pairs of centres"}
    for row in conflicts.get("rows") or []:
        yield from _numbers(row, CONFLICT_UNITS, {**centers, "cosine": row["cosine"]})


def _numbers(record: Record, units: Mapping[str, str], common: Record) -> Iterator[Record]:
    for name, unit in units.items():
        yield {**common, "quantity": name, "value": record.get(name), "unit": unit}


def _typed(rows: Sequence[Record], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    for name in columns:
        if name == "seed":
            frame[name] = frame[name].astype("Int64")
        elif name in ("value", "cosine"):
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
        else:
            frame[name] = frame[name].astype("string")
    return frame
