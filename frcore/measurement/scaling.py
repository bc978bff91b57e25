"""One row of what each of several processes measured, and how well they scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from frcore.records.measurement import MeasuredRow

LARGEST = (
    "warmup_steps", "cooldown_seconds", "others_cores", "waited_percent", "rss_peak_mib",
    "rss_extra_mib", "allocated_peak_mib", "reserved_peak_mib", "nvml_process_mib",
    "nvml_device_mib", "temperature_start_celsius", "temperature_celsius", "throttled_ms",
    "other_processes",
)  # fmt: skip
"""Columns of a row that are those of the process with the most."""

TOTAL = ("cpu_ms_per_step", "power_watts", "power_limit_watts", "energy_mj_per_step")
"""Columns that are sums over the processes."""


def one_row(rows: Sequence[MeasuredRow]) -> MeasuredRow:
    """The row of a step from what each of its processes measured.

    Times, and what is neither a sum nor a maximum, are those of the slowest process.
    """
    slowest = max(rows, key=lambda row: row.step_ms or 0.0)
    found = {name: max(known, default=None) for name, known in _known(rows, LARGEST)}
    found |= {name: sum(known) if known else None for name, known in _known(rows, TOTAL)}
    ((_, shares),) = _known(rows, ("network_percent",))
    return slowest.but(
        **found,
        rank=None,
        steady=all(row.steady for row in rows),
        network_percent=fmean(shares) if shares else None,
        disturbed=_told(rows, "disturbed"),
        notes=_told(rows, "notes"),
    )


def _known(rows: Sequence[MeasuredRow], names: Sequence[str]) -> Iterator[tuple[str, list[float]]]:
    for name in names:
        yield name, [value for row in rows if (value := getattr(row, name)) is not None]


def _told(rows: Sequence[MeasuredRow], name: str) -> str | None:
    """What the processes say, each sentence once."""
    texts = [text for row in rows for text in (getattr(row, name) or "").split("; ") if text]
    return "; ".join(dict.fromkeys(texts)) or None


def efficiency(row: MeasuredRow, alone: MeasuredRow) -> float | None:
    """t₁ / (N tₙ) for the same work, t₁ / tₙ for N times the work: what each of N processes does
    in a time, over what one alone does. None where a time is missing.

    Args:
        row: of N processes.
        alone: of one process, for the same number of identities or an N-th of it.
    """
    if not (row.step_ms and alone.step_ms):
        return None
    work = row.identities / alone.identities
    return work * alone.step_ms / (row.processes * row.step_ms)
