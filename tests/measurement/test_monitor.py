"""What is watched around timed steps, on simulated boards; the real one under `gpu`."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pynvml
import pytest
import torch

from frcore.machine.board import MIB
from frcore.machine.nvml import Nvml
from frcore.measurement import monitor
from frcore.measurement.monitor import (
    BoardWatch,
    board_memory,
    opened_board,
    time_steps,
)
from tests.measurement.simulated import GIB, SimulatedBoard, SimulatedNvml


def process(memory: int, pid: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(pid=os.getpid() if pid is None else pid, usedGpuMemory=memory)


class OnCuda:
    """Steps that say they are on a GPU; none is there, so nothing is computed."""

    device = torch.device("cuda", 0)
    done = 0

    def __call__(self) -> None:
        self.done += 1

    def synchronize(self) -> None:
        pass


@pytest.fixture
def timed(monkeypatch):
    """Time steps on a simulated board that changes while the GPU is at them."""

    def run(board: SimulatedBoard, during=lambda board: None, after=lambda board: None):
        def queue(step, count, device, *, look):
            during(board)
            look()
            after(board)
            return {"step_ms": 3.0, "step_ms_low": 2.0, "step_ms_high": 4.0, "cpu_ms_per_step": 0.5}

        monkeypatch.setattr(monitor, "time_on_cuda", queue)
        with Nvml(SimulatedNvml(board)) as nvml:
            return time_steps(
                OnCuda(), 5, nvml.boards()[0], threads=1, reserved_mib=100.0, energy_seconds=0.3
            )

    return run


def change(**values):
    def apply(board):
        for name, value in values.items():
            setattr(board, name, value)

    return apply


@pytest.mark.slow
def test_an_undisturbed_row_says_so_and_what_was_read(timed):
    columns = timed(SimulatedBoard(processes=[process(600 * MIB)], clock_events=0x5))
    assert columns["disturbed"] is None
    assert columns["throttle_reasons"] == "sw_power_cap"  # a board at its power limit is at work
    assert columns["throttled_ms"] == 0
    assert columns["other_processes"] == 0
    assert columns["power_limit_watts"] == 700
    assert columns["utilisation_percent"] == 97
    assert columns["temperature_start_celsius"] == columns["temperature_celsius"] == 61
    assert columns["clock_mhz"] == 1980
    assert columns["energy_seconds"] >= 0.3
    assert columns["energy_mj_per_step"] is None  # the simulated counter stands still
    assert columns["nvml_process_mib"] == 600
    assert columns["step_ms"] == 3.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "told"),
    [(0x8, "hw_slowdown"), (0x20, "sw_thermal_slowdown"), (0x40, "hw_thermal_slowdown"),
     (0x80, "hw_power_brake_slowdown"), (1 << 20, "unknown_0x100000")],
)  # fmt: skip
def test_clocks_held_back_only_while_steps_were_timed_are_seen(timed, bits, told):
    board = SimulatedBoard(processes=[process(GIB)])
    columns = timed(board, change(clock_events=bits | 0x4), change(clock_events=0x4))
    assert columns["disturbed"] == f"clocks throttled ({told})"
    assert told in columns["throttle_reasons"]


@pytest.mark.slow
def test_heat_between_two_looks_is_seen_by_its_counter(timed):
    board = SimulatedBoard(processes=[process(GIB)], thermal_ns=7_000_000)
    columns = timed(board, after=change(thermal_ns=9_500_000))
    assert columns["throttled_ms"] == 2.5
    assert columns["disturbed"] == "thermally throttled for 2.5 ms"
    assert columns["throttle_reasons"] == "none"


@pytest.mark.slow
def test_a_process_that_came_and_went_is_seen(timed):
    mine, theirs = process(GIB), process(GIB, pid=1)
    board = SimulatedBoard(processes=[mine])
    columns = timed(board, change(processes=[mine, theirs]), change(processes=[mine]))
    assert columns["other_processes"] == 1
    assert columns["disturbed"] == "1 other process on the board"


@pytest.mark.slow
def test_the_hottest_look_counts(timed):
    board = SimulatedBoard(temperature=55)
    columns = timed(board, change(temperature=84), change(temperature=70))
    assert columns["temperature_start_celsius"] == 55
    assert columns["temperature_celsius"] == 84


@pytest.mark.slow
def test_what_a_board_does_not_tell_is_none_and_disturbs_nothing(timed):
    deaf = dict.fromkeys(
        ("energy", "power", "power_limit", "utilisation", "clock", "temperature", "clock_events",
         "thermal_ns", "processes"), pynvml.NVMLError_NotSupported)  # fmt: skip
    columns = timed(SimulatedBoard(**deaf))
    told = {"step_ms", "step_ms_low", "step_ms_high", "cpu_ms_per_step", "nvml_device_mib",
            "energy_seconds", "others_cores", "waited_percent"}  # fmt: skip
    assert {name for name, value in columns.items() if value is not None} == told


def test_a_mig_instance_says_what_is_counted_for_the_whole_board():
    with Nvml(SimulatedNvml(SimulatedBoard(is_mig=1))) as nvml:
        board = nvml.boards()[0]
        columns = BoardWatch(board).columns()
        notes = " ".join(board.why_missing())
    for name, counter in [("throttled_ms", "thermal_ns"), ("power_limit_watts", "power_limit"),
                          ("utilisation_percent", "utilisation")]:  # fmt: skip
        assert columns[name] is None
        assert f"{counter}: counted for the whole board, not for a MIG instance" in notes


def test_a_process_with_less_than_torch_reserved_is_somebody_elses():
    with Nvml(SimulatedNvml(SimulatedBoard(used=GIB, processes=[process(600 * MIB)]))) as nvml:
        board = nvml.boards()[0]
        columns = board_memory(board.read(), board, 700.0)
        assert columns == {"nvml_device_mib": 1024, "nvml_process_mib": None}
        assert "not this process" in board.missing["process_memory"]


def test_a_cpu_has_no_board_and_no_complaint():
    with opened_board(torch.device("cpu")) as found:
        assert found == (None, None)


class Products:
    """Real work for a real board."""

    device = torch.device("cuda", 0)

    def __init__(self):
        self.matrix = torch.randn(4096, 4096, device=self.device)

    def __call__(self):
        self.matrix @ self.matrix

    def synchronize(self):
        torch.cuda.synchronize(self.device)


COMPANY = """
import sys, torch
keep = torch.ones(1 << 20, device="cuda")
print("there", flush=True)
sys.stdin.readline()
"""


@pytest.mark.gpu
def test_real_company_on_a_real_board_is_seen():
    step = Products()
    other = subprocess.Popen(
        [sys.executable, "-c", COMPANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "there\n"
        with opened_board(step.device) as (board, _):
            columns = time_steps(step, 20, board, threads=1, energy_seconds=1.0)
            notes = " ".join(board.why_missing())
    finally:
        other.communicate("\n")
    if columns["other_processes"] is None:
        assert "processes" in notes  # a container hides them, and the row says so
    else:
        assert columns["other_processes"] >= 1
        assert "on the board" in columns["disturbed"]


@pytest.mark.gpu
def test_a_real_board_under_real_steps():
    step = Products()
    with opened_board(step.device) as (board, reason):
        assert reason is None
        columns = time_steps(step, 20, board, threads=1, energy_seconds=2.0)
        notes = " ".join(board.why_missing())
    assert columns["energy_seconds"] >= 2
    # Each counter has a number that can be, or says why it has none.
    for name, counter, low, high in [
        ("utilisation_percent", "utilisation", 50, 100),
        ("temperature_celsius", "temperature", 10, 110),
        ("power_limit_watts", "power_limit", 50, 2000),
        ("clock_mhz", "sm_clock", 200, 4000),
        ("throttled_ms", "thermal_ns", 0, 1e5),
        ("other_processes", "processes", 0, 1e3),
    ]:
        value = columns[name]
        assert f"{counter}" in notes if value is None else low <= value <= high, name
    assert columns["throttle_reasons"] is not None or "clock_events" in notes
