"""Waiting before a row until the board has given off the heat of the one before."""

from __future__ import annotations

import time
from collections.abc import Callable

from frcore.machine.board import disturbing
from frcore.measurement.timing import Observed

COOL_CELSIUS = 50
"""A board this cool is not waited for: it is far below where any board slows itself down."""

LOOK_SECONDS = 1.0
STILL_LOOKS = 3
"""A board whose temperature has not fallen for so many looks has cooled as far as it will."""


def cool_down(
    board: Observed,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float | None:
    """Wait until the board is cool or no longer cools, and heat does not hold its clocks down.

    Args:
        board: with nothing to do.
        seconds: the longest to wait.
        clock: a clock; another one only in tests.
        sleep: waits; another one only in tests.

    Returns:
        The seconds waited; None where the board does not tell its temperature.
    """
    start = clock()
    seen: list[int] = []
    while True:
        reading = board.read()
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
