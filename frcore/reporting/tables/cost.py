"""The table of speed and memory, and the table of missing results."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

import pandas as pd

from frcore.reporting.tables.accuracy import unique
from frcore.reporting.tables.table import Cell, Column, Heading, Table, text_column
from frcore.results.cost import conditions, is_disturbed, optional_columns, out_of_memory
from frcore.results.frames import Row
from frcore.results.rows import NONE, Rows
from frcore.study.config import Study

FEW = 4
"""Names listed in a row of the table of missing results, or in notes."""


def significant(value: float) -> str:
    """Three significant digits without exponent; a dash for a missing value.

    >>> significant(0.012345), significant(3.14159), significant(12345.6), significant(float("nan"))
    ('0.0123', '3.14', '12,346', '—')
    """
    if pd.isna(value):
        return "—"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if abs(value) >= 0.001 else f"{value:.2e}"


def cost_table(study: Study, rows: Rows) -> Table:
    """Head × sampler × identities: step time with spread, throughput, memory, energy."""
    frame = rows.measurement
    measured = [row for _, row in frame.iterrows()]
    columns: list[Column[pd.Series]] = [
        text_column("head", lambda row: str(row["head"])),
        text_column("sampler", lambda row: str(row["sampler"])),
        (Heading("identities"), lambda row: f"{row['identities']:,}"),
        (Heading("step [ms]"), lambda row: time_cell(row)),
    ]
    if any(any(conditions(row)) for row in measured):
        columns.append(text_column("conditions", lambda row: Cell(*conditions(row))))
    titles = {"images_per_second": "images/s", **optional_columns(rows.usable("measurement"))}
    columns += [(Heading(title), _measured(name)) for name, title in titles.items()]
    title = "Speed and memory of one step of the last layer"
    if study.measurement is not None and study.measurement.backbone is not None:
        title = f"Speed and memory of one step with the backbone {study.measurement.backbone.label}"
    return Table.of("cost", title, columns, measured, _cost_notes(study, rows), frame)


def time_cell(row: pd.Series) -> Cell:
    """A measured step time with its 20th and 80th percentile; else why there is none."""
    if row["status"] == "oom":
        return Cell(*out_of_memory(row.to_frame().T))
    if row["status"] != "ok":
        return Cell(str(row["status"]))
    ends = [row["step_ms_low"], row["step_ms_high"]]
    spread = "" if pd.isna(ends).any() else f"[{', '.join(map(significant, ends))}]"
    return Cell(significant(row["step_ms"]), spread)


def _measured(name: str) -> Callable[[pd.Series], Cell]:
    return lambda row: Cell(significant(row[name])) if row["status"] == "ok" else Cell()


def _cost_notes(study: Study, rows: Rows) -> list[str]:
    measurement, usable = study.measurement, rows.usable("measurement")
    if measurement is None:
        return ["Nothing was measured: the study has no section `measurement`."]
    backends = usable.dropna(subset=["backend"]).groupby("backend")["identities"]
    formats = [name for name in unique(usable["center_format"].dropna()) if name != "fp32"]
    operands = usable.dropna(subset=["operands"]).groupby("operands")["backend"]
    disturbed = rows.measurement[rows.measurement["disturbed"].notna()]
    return [
        f"Median of {measurement.steps} steps, after at least {measurement.warmup} warm-up steps "
        "until times are steady, with the 20th and 80th percentile; batch "
        f"{measurement.batch_size}, dimension {measurement.dim}, {measurement.precision}, "
        f"{measurement.threads} CPU thread(s).",
        *(f"Inside the timer: {what}." for what in unique(usable["inside_timer"].dropna())),
        *(f"Loss backend `{name}` at {', '.join(f'{n:,}' for n in sorted(unique(found)))} "
          "identities." for name, found in backends),
        *(f"Products of embeddings and centres from {name} operands with "
          f"{', '.join(unique(found))}; sums, head and loss in fp32."
          for name, found in operands if name != "fp32"),
        *(f"Class centres and their momentum stored as `{name}` (docs/backends.md)."
          for name in formats),
        *(f"Device: {machine}." for machine in machines(usable)),
        *disturbances(usable),
        *(f"Disturbed: {row['head']} + {row['sampler']} at {row['identities']:,}: "
          f"{row['disturbed']}." for _, row in disturbed.head(FEW).iterrows()),
        *([f"And {len(disturbed) - FEW} more, in the table's CSV file."]
          if len(disturbed) > FEW else []),
        *(f"Unknown: {note}." for note in unique(usable["notes"].dropna())),
        "A dash marks values that the device does not report or that were not measured.",
    ]  # fmt: skip


def machines(usable: pd.DataFrame) -> list[str]:
    """The devices that were measured on."""
    return unique(usable["gpu_name"].fillna(usable["cpu"]).dropna())


def disturbances(usable: pd.DataFrame) -> list[str]:
    """How many rows were measured on a disturbed machine."""
    count = sum(is_disturbed(row) for _, row in usable.iterrows())
    if not count:
        return []
    return [
        f"{count} of {len(usable)} rows were measured while the machine was disturbed, in every "
        "attempt (other programs were running, or it was throttled); they are marked and should "
        "not be compared (docs/measuring.md)."
    ]


def missing_table(rows: Rows) -> Table:
    """Every run, evaluation and measurement of the study without results, and why.

    Results missing for the same reason share a row; the CSV has one row for each.
    """
    # Evaluations of models and of trained runs; untrained runs are listed under training.
    trained = set(rows.usable("training")["run"])
    evaluated = rows.evaluation["run"].isin(trained) | (rows.evaluation["head"] == NONE)
    records = [
        *_missing(rows.training, "training", ["run"]),
        *_missing(rows.evaluation[evaluated], "evaluation", ["run", "benchmark"]),
        *_missing(rows.measurement, "measurement", ["measurement", "identities"]),
        *_missing(rows.of_several_processes, "measurement",
                  ["measurement", "identities", "processes"]),
        *({"what": "not part of the study", "name": name, "status": "not used",
           "reason": "is in the results folder but not in the study"}
          for name in rows.strays),
    ]  # fmt: skip
    titles = ("what", "name", "status", "reason")
    data = pd.DataFrame(records, columns=list(titles))
    items = []
    for (what, status, reason), part in data.groupby(["what", "status", "reason"], sort=False):
        names = list(map(str, part["name"]))
        more = f" and {len(names) - FEW} more" if len(names) > FEW + 1 else ""
        shown = ", ".join(names[:FEW] if more else names) + more
        items.append(dict(zip(titles, (what, shown, status, reason), strict=True)))
    columns = [text_column(title, itemgetter(title)) for title in titles]
    notes = [] if records else ["Nothing is missing."]
    return Table.of("missing", "What failed or is missing", columns, items, notes, data)


def _missing(frame: pd.DataFrame, what: str, keys: list[str]) -> list[Row]:
    absent = frame[frame["status"] != "ok"].drop_duplicates(keys)
    return [
        {"what": what, "name": " · ".join(str(row[key]) for key in keys), "status": row["status"],
         "reason": row["reason"]}
        for _, row in absent.iterrows()
    ]  # fmt: skip
