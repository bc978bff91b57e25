"""What differs between the two sides of a comparison besides the head."""

from __future__ import annotations

import pandas as pd

NAMES = {
    "commit": "commit of frcore", "platform": "platform", "cpu": "processor", "cores": "cores",
    "device": "device", "gpu_name": "GPU", "gpu_driver": "driver",
    "gpu_power_limit_watts": "power limit",
}  # fmt: skip


def differing(candidate: pd.DataFrame, baseline: pd.DataFrame, sides: tuple[str, str]) -> list[str]:
    """One line for each condition in which the rows of two sides differ.

    Args:
        candidate, baseline: rows with provenance, as of training.
        sides: what to call them.
    """
    columns = [str(name) for name in (*candidate, *baseline)]
    versions = dict.fromkeys(name for name in columns if name.startswith("version_"))
    titles = NAMES | {name: name.removeprefix("version_") for name in versions}
    lines = []
    for name, title in titles.items():
        values = [_values(frame, name) for frame in (candidate, baseline)]
        if values[0] != values[1]:
            lines.append(f"{title}: {values[0]} ({sides[0]}), {values[1]} ({sides[1]})")
    return lines


def _values(frame: pd.DataFrame, name: str) -> str:
    """The values of a column, each once; a dash where there is none."""
    if name not in frame:
        return "—"
    return ", ".join(sorted({str(value) for value in frame[name].dropna()})) or "—"


def other_data(candidate: pd.DataFrame, baseline: pd.DataFrame) -> list[str]:
    """The benchmarks of two sides' evaluation rows whose content is not the same."""
    shared = sorted({*candidate["benchmark"].dropna()} & {*baseline["benchmark"].dropna()})
    return [name for name in shared if not same_data(candidate, baseline, str(name))]


def same_data(candidate: pd.DataFrame, baseline: pd.DataFrame, benchmark: str) -> bool:
    """Whether all rows of both sides were judged on one content of a benchmark."""
    both = pd.concat([f[f["benchmark"] == benchmark]["data_sha256"] for f in (candidate, baseline)])
    return both.notna().all() and both.nunique() == 1
