"""The conditions of a row: a cool board, steady steps, and another attempt if it was disturbed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from frcore.machine.board import Reading, disturbing
from frcore.records.measurement import MeasuredRow
from frcore.study.expansion import MeasurementSpec

Columns = dict[str, Any]
"""Columns of a row by their names."""

COOL_CELSIUS = 50
"""No waiting at this temperature: it is far below where any board throttles itself."""

LOOK_SECONDS = 1.0
STILL_LOOKS = 3
"""A board whose temperature has not fallen for this many samples has cooled as far as it will."""

BLOCK_MS = (100.0, 1000.0)
"""A block of steps lasts between about these times: clocks that are still rising show within it,
and a step of many seconds is a block by itself."""

BLOCK_STEPS = (3, 200)
"""The least and most steps of a block, of which an outlier may be one."""

TOLERANCE = 0.05
"""Two blocks agree when their medians differ by no more than this share."""

BLOCKS = 4
"""So many blocks, and twice the asked number of steps more, are waited for steadiness."""

PAUSE_SECONDS = 1.0
"""Before another attempt: what disturbed the last one may be over."""


def new_row(spec: MeasurementSpec, identities: int) -> MeasuredRow:
    """A row before anything was measured, with only the request filled in."""
    given = spec.measurement
    return MeasuredRow(
        identities=identities,
        device=given.device,
        batch_size=given.batch_size,
        dim=given.dim,
        steps=given.steps,
        loss_precision=given.loss_precision,
        center_format=given.center_format,
        attempts=1,
    )


def cool_down(
    read: Callable[[], Reading],
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float | None:
    """Wait until the board is cool or no longer cools, and is not thermally throttled.

    Args:
        read: reads a board with nothing to do.
        seconds: the longest to wait.
        clock: a clock; another one only in tests.
        sleep: waits; another one only in tests.

    Returns:
        The seconds waited; None where the board reports no temperature.
    """
    start = clock()
    seen: list[int] = []
    while True:
        reading = read()
        if reading.temperature_celsius is None:
            return None
        seen.append(reading.temperature_celsius)
        waited = clock() - start
        held_back = bool(disturbing(reading.clock_events or ()))
        if waited >= seconds or (_settled(seen) and not held_back):
            return waited
        sleep(LOOK_SECONDS)


def _settled(celsius: list[int]) -> bool:
    if celsius[-1] <= COOL_CELSIUS:
        return True
    return len(celsius) > STILL_LOOKS and celsius[-1] >= celsius[-1 - STILL_LOOKS]


@dataclass(frozen=True)
class WarmUp:
    """How many steps it took, and whether the last two blocks agreed."""

    steps: int
    steady: bool


def warm_up(median_ms: Callable[[int], float], at_least: int) -> WarmUp:
    """Run steps until the medians of two consecutive blocks agree, or the bound is reached.

    Args:
        median_ms: runs that many steps and returns the median of their times in milliseconds.
        at_least: steps before the first block: they include compiling, loading and first
            allocations.

    Returns:
        The steps that were run: at most three times `at_least` and four blocks.
    """
    last, done, steady = median_ms(at_least), at_least, False
    before: float | None = None
    while not steady:
        block = _block(last)
        if done + block > 3 * at_least + BLOCKS * block:
            break
        before, last = last if done > at_least else None, median_ms(block)
        done += block
        steady = before is not None and abs(last - before) <= TOLERANCE * max(last, before)
    return WarmUp(done, steady)


def _block(step_ms: float) -> int:
    short, long = (math.ceil(time / max(step_ms, 1e-6)) for time in BLOCK_MS)
    least, most = BLOCK_STEPS
    return min(max(short, least), long, most)


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
        The row to report, with `attempts`, and the others. It is the first clean one; if none
        is, the least disturbed one. Times never decide: the fastest of several would be too
        fast.
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
