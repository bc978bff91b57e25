"""The table of speed and memory, and the table of what is missing."""

from __future__ import annotations

import pandas as pd

from frcore.reporting.tables.accuracy import unique
from frcore.reporting.tables.table import Cell, Heading, Table
from frcore.results.cost import conditions, is_disturbed, optional_columns, out_of_memory
from frcore.results.records import Record
from frcore.results.rows import NONE, Rows
from frcore.study.config import Study

FEW = 4
"""So many names stand in a row of the table of what is missing, or in notes."""

BEHIND_TIME = 4
"""Place of the column of conditions: beside the time, which they concern."""


def cost_table(study: Study, rows: Rows) -> Table:
    """Head × sampler × identities: step time with spread, throughput, memory, energy."""
    frame = rows.measurement
    optional = optional_columns(rows.usable("measurement"))
    remarks = [conditions(row) for _, row in frame.iterrows()]
    headings = [
        Heading("head", numeric=False),
        Heading("sampler", numeric=False),
        Heading("identities"),
        Heading("step [ms]"),
        Heading("images/s"),
        *(Heading(title) for title in optional.values()),
    ]
    body = [_cost_cells(row, list(optional)) for _, row in frame.iterrows()]
    if any(map(any, remarks)):
        headings.insert(BEHIND_TIME, Heading("conditions", numeric=False))
        for cells, remark in zip(body, remarks, strict=True):
            cells.insert(BEHIND_TIME, Cell(*remark))
    title = "Speed and memory of one step of the last layer"
    if study.measurement is not None and study.measurement.backbone is not None:
        title = f"Speed and memory of one step with the backbone {study.measurement.backbone.label}"
    return Table("cost", title, headings, body, _cost_notes(study, rows), frame)


def _cost_cells(row: pd.Series, optional: list[str]) -> list[Cell]:
    cells = [Cell(str(row["head"])), Cell(str(row["sampler"])), Cell(f"{row['identities']:,}")]
    if row["status"] != "ok":
        oom = row["status"] == "oom"
        cell = Cell(*out_of_memory(row.to_frame().T)) if oom else Cell(str(row["status"]))
        return [*cells, cell, *(Cell("—") for _ in ("images/s", *optional))]
    cells += [
        Cell(significant(row["step_ms"]), spread_text(row)),
        Cell(significant(row["images_per_second"])),
    ]
    return cells + [Cell(significant(row[name])) for name in optional]


def spread_text(row: pd.Series) -> str:
    """'[20th, 80th percentile]' of a measurement's step time; empty where it has none."""
    if pd.isna(row["step_ms_low"]) or pd.isna(row["step_ms_high"]):
        return ""
    return f"[{significant(row['step_ms_low'])}, {significant(row['step_ms_high'])}]"


def significant(value: float) -> str:
    """Three significant digits without exponent; a dash for what could not be measured.

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


def _cost_notes(study: Study, rows: Rows) -> list[str]:
    if study.measurement is None:
        return ["The study measures nothing: it has no section `measurement`."]
    usable = rows.usable("measurement")
    measurement = study.measurement
    inside = unique(usable["inside_timer"].dropna())
    machines = unique((usable["gpu_name"].fillna(usable["cpu"])).dropna())
    notes = [
        f"Median of {measurement.steps} steps after at least {measurement.warmup} to warm up until "
        "they are steady, with the 20th and 80th percentile; batch "
        f"{measurement.batch_size}, dimension {measurement.dim}, {measurement.precision}, "
        f"{measurement.threads} CPU thread(s).",
        *(f"Inside the timer: {what}." for what in inside),
        *_backends(usable),
        *_formats(usable),
        *(f"Device: {machine}." for machine in machines),
        *disturbances(usable),
        *_reasons(rows.measurement),
        *(f"Not told: {note}." for note in unique(usable["notes"].dropna())),
        "A dash is what the device cannot tell, or what was not measured.",
    ]
    return notes


def disturbances(usable: pd.DataFrame) -> list[str]:
    """How many rows are not of the machine alone."""
    count = sum(is_disturbed(row) for _, row in usable.iterrows())
    if not count:
        return []
    return [
        f"{count} of {len(usable)} rows were taken while something else held the machine up, in "
        "each attempt; they say so, stand alone, and are no basis for a comparison "
        "(docs/measuring.md)."
    ]


def _reasons(measured: pd.DataFrame) -> list[str]:
    """What held up the first of the disturbed rows; the CSV has it for all."""
    held_up = measured[measured["disturbed"].notna()]
    notes = [
        f"Disturbed: {row['head']} + {row['sampler']} at {row['identities']:,}: {row['disturbed']}."
        for _, row in held_up.head(FEW).iterrows()
    ]
    more = len(held_up) - FEW
    return [*notes, f"And {more} more, in the table's CSV file."] if more > 0 else notes


def _backends(usable: pd.DataFrame) -> list[str]:
    """Which loss backend the rows were measured with."""
    sizes = usable.dropna(subset=["backend"]).groupby("backend")["identities"]
    return [
        f"Loss backend `{name}` at {', '.join(f'{n:,}' for n in sorted(unique(found)))} identities."
        for name, found in sizes
    ]


def _formats(usable: pd.DataFrame) -> list[str]:
    """How the centres were held, where it is not the usual way."""
    return [
        f"Class centres and their momentum in the format `{name}` (docs/backends.md)."
        for name in unique(usable["center_format"].dropna())
        if name != "fp32"
    ]


def missing_table(rows: Rows) -> Table:
    """Every run, evaluation and measurement of the study that gave no numbers, and why."""
    records = [
        *_missing(rows.training, "training", ["run"]),
        *_missing(_evaluated(rows), "evaluation", ["run", "benchmark"]),
        *_missing(rows.measurement, "measurement", ["measurement", "identities"]),
        *({"what": "not part of the study", "name": name, "status": "not used",
           "reason": "lies in the results folder but is not in the study"}
          for name in rows.strays),
    ]  # fmt: skip
    columns = ["what", "name", "status", "reason"]
    data = pd.DataFrame(records, columns=columns)
    headings = [Heading(name, numeric=False) for name in columns]
    body = _grouped(data)
    notes = ["Nothing is missing."] if not records else []
    return Table("missing", "What failed or is missing", headings, body, notes, data)


def _grouped(data: pd.DataFrame) -> list[list[Cell]]:
    """What is missing for the same reason in one row; the CSV has a row for each."""
    rows = []
    for key, part in data.groupby(["what", "status", "reason"], sort=False):
        what, status, reason = map(str, key)
        names = [str(name) for name in part["name"]]
        more = f" and {len(names) - FEW} more" if len(names) > FEW + 1 else ""
        shown = names[:FEW] if more else names
        rows.append([Cell(what), Cell(", ".join(shown) + more), Cell(status), Cell(reason)])
    return rows


def _evaluated(rows: Rows) -> pd.DataFrame:
    """Evaluations of models, and of runs that trained; what did not is listed as training."""
    trained = set(rows.usable("training")["run"])
    frame = rows.evaluation
    return frame[frame["run"].isin(trained) | (frame["head"] == NONE)]


def _missing(frame: pd.DataFrame, what: str, keys: list[str]) -> list[Record]:
    absent = frame[frame["status"] != "ok"].drop_duplicates(keys)
    return [
        {
            "what": what,
            "name": " · ".join(str(row[key]) for key in keys),
            "status": row["status"],
            "reason": row["reason"],
        }
        for _, row in absent.iterrows()
    ]
