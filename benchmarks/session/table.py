"""The CSV of a session: whole at any moment, one row for each case."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.session.cases import KEY, Case
from frcore.files import atomic_file, refuse_other_file

MEASURED = (
    "device", "gpu_name", "status", "error", "bytes_asked", "disturbed", "attempts",
    "warmup_steps", "steady", "cooldown_seconds", "step_ms", "step_ms_low", "step_ms_high", "steps",
    "images_per_second", "cpu_ms_per_step", "others_cores", "waited_percent", "plan_ms",
    "plan_is_lower_bound", "plan_gib", "rss_peak_mib", "rss_extra_mib", "allocated_start_mib",
    "allocated_peak_mib", "reserved_peak_mib", "nvml_process_mib", "nvml_device_mib", "power_watts",
    "power_limit_watts", "energy_mj_per_step", "energy_seconds", "utilisation_percent",
    "clock_mhz", "temperature_start_celsius", "temperature_celsius", "throttle_reasons",
    "throttled_ms", "other_processes", "notes", "inside_timer", "operands", "threads", "commit",
    "python", "torch", "triton", "cuda", "driver", "cpu", "platform", "measured_at",
)  # fmt: skip
COLUMNS = (*KEY, *MEASURED)

DONE = ("ok", "oom", "timeout")
"""What resuming does not repeat; a failure may have been somebody's mistake."""

Key = tuple[str, ...]


def key_of(record: Mapping[str, Any]) -> Key:
    """A row's key as the CSV holds it."""
    return tuple(_text(record[name]) for name in KEY)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def slug(text: str) -> str:
    """A name for a folder.

    >>> slug("NVIDIA H200")
    'nvidia-h200'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Table:
    """Rows by case in a CSV file, which is replaced as a whole for each row that is put in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Key, dict[str, str]] = {}
        refuse_other_file(path, ",step_ms,", "the table of a session")
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = {key_of(row): row for row in csv.DictReader(file)}

    def row(self, case: Case) -> dict[str, str] | None:
        """The case's row, as text; None if it has none."""
        return self.rows.get(key_of(case.as_dict()))

    def status(self, case: Case) -> str | None:
        """The case's status; None if it has no row."""
        row = self.row(case)
        return None if row is None else row["status"]

    def put(self, case: Case, values: Mapping[str, Any]) -> None:
        """Put in the row of a case, in the place of an older one if there is."""
        row = {**case.as_dict(), **values}
        unknown = set(row) - set(COLUMNS)
        if unknown:
            raise ValueError(f"no such column: {sorted(unknown)}")
        self.rows[key_of(row)] = {name: _text(row.get(name)) for name in COLUMNS}
        with (
            atomic_file(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())
