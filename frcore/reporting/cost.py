"""What of the measurements is shown: which memory reading, and at how many identities."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from frcore.reporting.rows import Rows

MEMORY: Mapping[str, str] = {
    "allocated_peak_mib": "peak memory of the GPU's allocator",
    "rss_extra_mib": "extra process memory at its peak",
    "rss_peak_mib": "process memory at its peak",
}
"""Memory readings in the order in which they are preferred for the figure."""

OPTIONAL: Mapping[str, str] = {
    "cpu_ms_per_step": "CPU time [ms]",
    "rss_peak_mib": "RSS peak [MiB]",
    "rss_extra_mib": "RSS extra [MiB]",
    "allocated_peak_mib": "allocated peak [MiB]",
    "reserved_peak_mib": "reserved peak [MiB]",
    "nvml_process_mib": "NVML process [MiB]",
    "nvml_device_mib": "NVML device [MiB]",
    "power_watts": "power [W]",
    "energy_mj_per_step": "energy [mJ/step]",
    "clock_mhz": "clock [MHz]",
}
"""Columns of the cost table that stand in it only where some device could tell them."""


def memory_column(measured: pd.DataFrame) -> str | None:
    """The memory reading to draw: the first of `MEMORY` that any row has."""
    return next((name for name in MEMORY if (measured[name] > 0).any()), None)


def optional_columns(measured: pd.DataFrame) -> dict[str, str]:
    """Those of `OPTIONAL` that at least one row has a value for, with their headings."""
    return {name: title for name, title in OPTIONAL.items() if measured[name].notna().any()}


def comparable_identities(rows: Rows) -> int | None:
    """The largest number of identities that the most head × sampler pairs were timed at."""
    usable = rows.usable("measurement")
    timed = usable[usable["step_ms"].notna()]
    if timed.empty:
        return None
    counts = timed["identities"].value_counts()
    return int(max(counts.index[counts == counts.max()]))
