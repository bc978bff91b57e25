"""Warming up until the times of steps stand still."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

BLOCK_MS = (100.0, 1000.0)
"""A block of steps lasts between about these times: clocks that are still rising show within it,
and a step of many seconds is a block by itself."""

BLOCK_STEPS = (3, 200)
"""The least and most steps of a block, of which an outlier may be one."""

TOLERANCE = 0.05
"""Two blocks agree when their medians differ by no more than this share."""

BLOCKS = 4
"""So many blocks, and twice the asked number of steps more, are waited for steadiness."""


@dataclass(frozen=True)
class WarmUp:
    """How many steps it took, and whether the last two blocks agreed."""

    steps: int
    steady: bool


def warm_up(median_ms: Callable[[int], float], at_least: int) -> WarmUp:
    """Run steps until the medians of two blocks in a row agree, or the bound is reached.

    Args:
        median_ms: runs so many steps and gives the median of their times in milliseconds.
        at_least: steps before the first block: compiling, loading and first allocations are in
            them.

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
