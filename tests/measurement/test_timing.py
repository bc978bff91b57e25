from __future__ import annotations

import dataclasses
import itertools
import time

import pytest

from frcore.machine.board import Reading
from frcore.measurement.timing import observe_window, time_columns, time_on_cpu


def reading(**known) -> Reading:
    names = (field.name for field in dataclasses.fields(Reading))
    return Reading(**{**dict.fromkeys(names), **known})


class Machine:
    """A clock, steps and a board that agree: a step takes 10 ms and draws 400 W."""

    def __init__(self, *, counts_energy: bool = True):
        self.now = 100.0
        self.done = self.synchronised = 0
        self.counts_energy = counts_energy
        self.looks = itertools.cycle(
            [
                reading(power_watts=390.0, sm_clock_mhz=1900, clock_events=("gpu_idle",)),
                reading(power_watts=410.0, sm_clock_mhz=1700, clock_events=("sw_power_cap",)),
            ]
        )

    def step(self) -> None:
        self.now += 0.010
        self.done += 1

    def synchronize(self) -> None:
        self.synchronised += 1

    def energy_mj(self) -> int | None:
        return round(400e3 * self.now) if self.counts_energy else None

    def read(self, pid: int | None = None) -> Reading:
        return next(self.looks)


def observe(machine: Machine):
    return observe_window(
        machine.step, machine.synchronize, machine.read, machine.energy_mj,
        clock=lambda: machine.now,
    )  # fmt: skip


def test_energy_and_power_of_a_known_machine():
    machine = Machine()
    window = observe(machine)
    assert 5.0 <= window["energy_seconds"] < 5.02
    assert window["energy_mj_per_step"] == pytest.approx(400e3 * 0.010, rel=1e-3)
    assert window["power_watts"] == pytest.approx(400, rel=1e-3)
    assert machine.synchronised >= 2


def test_without_the_counter_there_is_power_but_no_energy():
    window = observe(Machine(counts_energy=False))
    assert window["energy_mj_per_step"] is None
    assert window["power_watts"] == pytest.approx(400)


def test_a_board_that_tells_nothing_gives_none():
    machine = Machine(counts_energy=False)
    machine.looks = itertools.repeat(reading())
    window = observe(machine)
    assert window["power_watts"] is window["energy_mj_per_step"] is None


def test_a_counter_that_stands_still_is_not_zero_energy():
    machine = Machine()
    machine.energy_mj = lambda: 7
    assert observe(machine)["energy_mj_per_step"] is None


def test_percentiles():
    times = time_columns([5.0, 1.0, 3.0, 2.0, 4.0, 100.0], cpu_seconds=0.012)
    assert (times["step_ms_low"], times["step_ms"], times["step_ms_high"]) == (2.0, 3.5, 5.0)
    assert times["cpu_ms_per_step"] == pytest.approx(2.0)


def test_sleeping_takes_time_but_no_processor():
    times = time_on_cpu(lambda: time.sleep(0.02), 5)
    assert 20 <= times["step_ms"] < 60
    assert times["cpu_ms_per_step"] < 10


def test_the_processor_time_is_that_of_the_steps():
    def spin() -> None:
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    assert 20 <= time_on_cpu(spin, 5)["cpu_ms_per_step"] < 30
