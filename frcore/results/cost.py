"""Which measurements are shown: which memory reading, and at how many identities."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from frcore.results.rows import Rows

MEMORY: Mapping[str, str] = {
    "allocated_peak_mib": "peak memory of the GPU's allocator",
    "rss_extra_mib": "extra process memory at its peak",
    "rss_peak_mib": "process memory at its peak",
}
"""Memory readings, in order of preference for the figure."""

OPTIONAL: Mapping[str, str] = {
    "cpu_ms_per_step": "CPU time [ms]",
    "rss_peak_mib": "RSS peak [MiB]",
    "rss_extra_mib": "RSS extra [MiB]",
    "allocated_peak_mib": "allocated peak [MiB]",
    "reserved_peak_mib": "reserved peak [MiB]",
    "nvml_process_mib": "NVML process [MiB]",
    "nvml_device_mib": "NVML device [MiB]",
    "power_watts": "power [W]",
    "power_limit_watts": "power limit [W]",
    "energy_mj_per_step": "energy [mJ/step]",
    "utilisation_percent": "utilisation [%]",
    "clock_mhz": "clock [MHz]",
    "temperature_celsius": "temperature [°C]",
}
"""Columns of the cost table that are shown only if some device measured them."""


def memory_column(measured: pd.DataFrame) -> str | None:
    """The memory reading to plot: the first of `MEMORY` that any row has."""
    return next((name for name in MEMORY if (measured[name] > 0).any()), None)


def optional_columns(measured: pd.DataFrame) -> dict[str, str]:
    """Those of `OPTIONAL` with a value in at least one row, with their headings."""
    return {name: title for name, title in OPTIONAL.items() if measured[name].notna().any()}


def out_of_memory(points: pd.DataFrame) -> tuple[str, str]:
    """Label of points that ran out of memory at one size: where, and the bytes requested.

    >>> asked = [5_120_000_000, 2_560_000_000]
    >>> out_of_memory(pd.DataFrame({"identities": 10**7, "bytes_asked": asked[:1]}))
    ('OOM at C = 10,000,000', '(5,120,000,000 bytes asked)')
    >>> out_of_memory(pd.DataFrame({"identities": 10**7, "bytes_asked": asked}))[1]
    '(2,560,000,000 to 5,120,000,000 bytes asked)'
    """
    where, asked = f"OOM at C = {points['identities'].iloc[0]:,}", points["bytes_asked"].dropna()
    if asked.empty:
        return where, ""
    ends = dict.fromkeys((int(asked.min()), int(asked.max())))
    return where, f"({' to '.join(f'{count:,}' for count in ends)} bytes asked)"


def conditions(row: pd.Series) -> tuple[str, str]:
    """Caveats of a measured row, and a detail; empty if there are none.

    >>> conditions(pd.Series({"disturbed": "company", "attempts": 3, "steady": False}))
    ('disturbed, not steady', '3 attempts')
    """
    attempts, steady = row.get("attempts"), row.get("steady")
    found = ["disturbed"] if is_disturbed(row) else []
    found += ["not steady"] if pd.notna(steady) and not steady else []
    many = pd.notna(attempts) and attempts > 1
    return ", ".join(found), f"{attempts} attempts" if many else ""


def is_disturbed(row: pd.Series) -> bool:
    """Whether the machine was disturbed while the row was measured."""
    return bool(pd.notna(row.get("disturbed")))


def comparable_identities(rows: Rows) -> int | None:
    """The largest number of identities at which the most head × sampler pairs were timed."""
    usable = rows.usable("measurement")
    timed = usable[usable["step_ms"].notna()]
    if timed.empty:
        return None
    counts = timed["identities"].value_counts()
    return int(max(counts.index[counts == counts.max()]))
