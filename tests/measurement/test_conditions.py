"""Cooling, warming up and measuring again."""

from __future__ import annotations

import pytest

from frcore.measurement.conditions import (
    BLOCK_STEPS,
    BLOCKS,
    COOL_CELSIUS,
    STILL_LOOKS,
    cool_down,
    until_clean,
    warm_up,
)
from tests.measurement.test_timing import reading


class Cooling:
    """A board whose temperature follows a list, a second for each; its clock and its sleep."""

    def __init__(self, celsius, events=()):
        self.celsius, self.events = list(celsius), list(events)
        self.now = 0.0

    def read(self):
        place = int(self.now)
        events = self.events[min(place, len(self.events) - 1)] if self.events else ()
        return reading(
            temperature_celsius=self.celsius[min(place, len(self.celsius) - 1)],
            clock_events=events,
        )

    def wait(self, seconds=30.0):
        return cool_down(self.read, seconds, clock=lambda: self.now, sleep=self._sleep)

    def _sleep(self, seconds):
        self.now += seconds


def test_a_cool_board_is_not_waited_for():
    assert Cooling([COOL_CELSIUS]).wait() == 0


def test_a_hot_board_is_waited_for_until_it_is_cool():
    assert Cooling(range(COOL_CELSIUS + 20, 20, -2)).wait() == 10


def test_or_until_it_cools_no_further():
    warm = [80, 75, 71, 68, *[66] * 30]
    assert Cooling(warm).wait() == 4 + STILL_LOOKS


def test_but_not_without_end():
    assert Cooling(range(200, 0, -1)).wait(seconds=7) == 7
    assert Cooling([90], events=[("hw_thermal_slowdown",)]).wait(seconds=20) == 20


@pytest.mark.parametrize(
    ("event", "seconds"), [("sw_thermal_slowdown", 6), ("hw_power_brake_slowdown", 6),
                           ("sw_power_cap", 0), ("gpu_idle", 0)],
)  # fmt: skip
def test_a_cool_board_that_holds_its_clocks_back_is_waited_for(event, seconds):
    assert Cooling([40], events=[(event,)] * 6 + [()]).wait() == seconds


def test_a_board_without_a_thermometer_is_none_not_zero():
    assert Cooling([None]).wait() is None


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


def row(disturbed=None, status="ok", **known):
    return {"status": status, "disturbed": disturbed, **known}


def taken(*rows, most=3):
    left = list(rows)
    kept, others = until_clean(lambda: left.pop(0), most, sleep=lambda _: None)
    return kept, others, len(left)


def test_a_clean_row_is_measured_once():
    kept, others, left = taken(row(step_ms=2.0), row())
    assert (kept["attempts"], kept["step_ms"], others, left) == (1, 2.0, [], 1)


def test_the_first_clean_one_stands_though_a_disturbed_one_was_faster():
    kept, others, left = taken(row("heat", step_ms=1.0), row(step_ms=2.0), row())
    assert (kept["attempts"], kept["step_ms"], left) == (2, 2.0, 1)
    assert [other["disturbed"] for other in others] == ["heat"]


@pytest.mark.parametrize("column", ["other_processes", "throttled_ms", "waited_percent",
                                    "others_cores"])  # fmt: skip
def test_where_none_is_clean_the_least_disturbed_stands_marked(column):
    rows = [row("x", step_ms=k, **{column: seen}) for k, seen in enumerate((2.0, 0.5, 3.0))]
    kept, others, _ = taken(*rows)
    assert (kept["disturbed"], kept["attempts"], kept[column]) == ("x", 3, 0.5)
    assert [other[column] for other in others] == [2.0, 3.0]


def test_a_row_with_numbers_goes_before_one_without():
    kept, others, _ = taken(row("company"), row(status="failed"))
    assert (kept["status"], kept["attempts"]) == ("ok", 2)
    assert [other["status"] for other in others] == ["failed"]


def test_a_lack_of_memory_with_company_on_the_board_is_tried_again():
    kept, _, _ = taken(row("1 other process on the board", "oom", other_processes=1), row())
    assert kept["status"] == "ok"


def test_a_failure_is_not_repeated():
    assert taken(row(status="failed"), row())[2] == 1
