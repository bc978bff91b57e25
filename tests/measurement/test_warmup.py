from __future__ import annotations

import pytest

from frcore.measurement.warmup import BLOCK_STEPS, BLOCKS, warm_up


class Steps:
    """Steps whose time depends on how many were run before."""

    def __init__(self, time_ms):
        self.time_ms = time_ms
        self.done = 0
        self.blocks: list[int] = []

    def median_ms(self, count: int) -> float:
        self.blocks.append(count)
        times = sorted(self.time_ms(self.done + k) for k in range(count))
        self.done += count
        return times[len(times) // 2]


def test_steps_that_are_steady_from_the_start_take_two_blocks():
    steps = Steps(lambda n: 50.0)
    found = warm_up(steps.median_ms, 2)
    assert (found.steps, found.steady) == (2 + 3 + 3, True)
    assert steps.done == found.steps


def test_a_first_step_that_compiles_is_in_no_block():
    steps = Steps(lambda n: 9000.0 if n == 0 else 50.0)
    assert warm_up(steps.median_ms, 1).steady
    assert steps.blocks == [1, 1, 3]  # as if steps were long, until one was seen that is not


def test_falling_times_are_waited_for():
    """100 ms, and 30 % less with each block: 5 % are reached when the times stop falling."""
    steps = Steps(lambda n: max(40.0, 100.0 * 0.7 ** (n // 3)))
    found = warm_up(steps.median_ms, 3)
    assert found.steady
    assert steps.time_ms(found.steps - 4) <= 1.05 * 40  # the last two blocks are level


@pytest.mark.parametrize("at_least", [1, 3, 10])
def test_what_never_settles_has_an_end_and_says_so(at_least):
    steps = Steps(lambda n: 300.0 if n // 3 % 2 else 150.0)
    found = warm_up(steps.median_ms, at_least)
    assert not found.steady
    assert at_least + 2 * BLOCK_STEPS[0] <= found.steps == steps.done
    assert found.steps <= 3 * at_least + BLOCKS * BLOCK_STEPS[0]


def test_short_steps_come_in_long_blocks_and_long_steps_in_short_ones():
    fast, slow = Steps(lambda n: 0.001), Steps(lambda n: 5000.0)
    warm_up(fast.median_ms, 2)
    warm_up(slow.median_ms, 2)
    assert fast.blocks == [2, BLOCK_STEPS[1], BLOCK_STEPS[1]]
    assert slow.blocks == [2, 1, 1]
