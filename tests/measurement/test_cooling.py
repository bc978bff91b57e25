from __future__ import annotations

import pytest

from frcore.measurement.cooling import COOL_CELSIUS, STILL_LOOKS, cool_down
from tests.measurement.test_timing import reading


class Cooling:
    """A board whose temperature follows a list, a second for each; its clock and its sleep."""

    def __init__(self, celsius, events=()):
        self.celsius, self.events = list(celsius), list(events)
        self.now = 0.0

    def read(self, pid=None):
        place = int(self.now)
        events = self.events[min(place, len(self.events) - 1)] if self.events else ()
        return reading(
            temperature_celsius=self.celsius[min(place, len(self.celsius) - 1)],
            clock_events=events,
        )

    def energy_mj(self):
        return None

    def wait(self, seconds=30.0):
        return cool_down(self, seconds, clock=lambda: self.now, sleep=self._sleep)

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
