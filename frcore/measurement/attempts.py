"""Measuring a row again when it was disturbed, and which of the attempts stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Columns = dict[str, Any]

PAUSE_SECONDS = 1.0
"""Before another attempt: what disturbed the last one may be over."""


def until_clean(
    measure: Callable[[], Columns], most: int, *, sleep: Callable[[float], None] = time.sleep
) -> tuple[Columns, list[Columns]]:
    """Measure until a row is undisturbed, at most `most` times.

    Args:
        measure: gives the columns of a row: `status`, `disturbed` and what is known of its
            surroundings.
        most: attempts in all.
        sleep: waits; another one only in tests.

    Returns:
        The row that stands, with `attempts`, and the others. It is the first clean one; where none
        is, the least disturbed by what was seen around it. Its own times never decide: the fastest
        of several would be too fast.
    """
    rows = [measure()]
    while rows[-1].get("disturbed") is not None and len(rows) < most:
        sleep(PAUSE_SECONDS)
        rows.append(measure())
    kept = min(range(len(rows)), key=lambda index: _disturbance(rows[index]))
    others = [row for index, row in enumerate(rows) if index != kept]
    return {**rows[kept], "attempts": len(rows)}, others


def _disturbance(row: Columns) -> tuple[float, ...]:
    """Smaller is better. A row with numbers goes before one without."""
    seen = ("other_processes", "throttled_ms", "waited_percent", "others_cores")
    return (
        row["status"] != "ok",
        row.get("disturbed") is not None,
        *(row.get(name) or 0 for name in seen),
    )
