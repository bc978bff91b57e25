"""Timing steps while watching what could spoil the times: the board, and who else is about."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Protocol

import torch

from frcore.machine.board import MIB, Board, Reading, disturbing
from frcore.machine.nvml import Nvml
from frcore.machine.visible import board_of
from frcore.measurement.attempts import Columns
from frcore.measurement.load import WATCH_SECONDS, HostWatch
from frcore.measurement.timing import (
    WINDOW_SECONDS,
    StepTimes,
    observe_window,
    time_on_cpu,
    time_on_cuda,
)


class Steps(Protocol):
    """What is timed."""

    device: torch.device

    def __call__(self) -> None:
        """Run one step; on a GPU it is only queued."""
        ...

    def synchronize(self) -> None:
        """Wait until all steps are done."""
        ...


@contextlib.contextmanager
def opened_board(device: torch.device) -> Iterator[tuple[Board | None, str | None]]:
    """The board of a CUDA device for the block, or None and why there is none to ask."""
    if device.type != "cuda":
        yield None, None
        return
    reason = Nvml.why_not()
    if reason is not None:
        yield None, reason
        return
    with Nvml() as nvml:
        board = board_of(nvml, str(device))
        yield board, None if board is not None else f"NVML has no board for {device}"


class BoardWatch:
    """A board under watch from now on: it remembers every look at it.

    Args:
        board: of a device on which this process has work.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.start = board.read()
        self._thermal_ns = board.thermal_ns()
        self.looks: list[Reading] = []

    def read(self, pid: int | None = None) -> Reading:
        """Look at all counters now."""
        self.looks.append(self.board.read(pid))
        return self.looks[-1]

    def energy_mj(self) -> int | None:
        """The board's energy counter."""
        return self.board.energy_mj()

    def columns(self) -> Columns:
        """What was seen, and in `disturbed` what of it spoils the times."""
        looks = [self.start, *self.looks]
        reasons = _union([look.throttle_reasons for look in looks])
        thermal_ns = self.board.thermal_ns()
        throttled_ms = None
        if thermal_ns is not None and self._thermal_ns is not None:
            throttled_ms = (thermal_ns - self._thermal_ns) / 1e6
        others = _most([look.other_processes for look in looks])
        celsius = _most([look.temperature_celsius for look in looks])
        return {
            "power_limit_watts": self.start.power_limit_watts,
            "utilisation_percent": _median([look.utilisation_percent for look in self.looks]),
            "clock_mhz": _median([look.sm_clock_mhz for look in self.looks]),
            "temperature_start_celsius": _float(self.start.temperature_celsius),
            "temperature_celsius": _float(celsius),
            "throttle_reasons": None if reasons is None else ", ".join(reasons) or "none",
            "throttled_ms": throttled_ms,
            "other_processes": others,
            "disturbed": "; ".join(board_disturbances(reasons or (), throttled_ms, others)) or None,
        }


def board_disturbances(
    reasons: Sequence[str], throttled_ms: float | None, others: int | None
) -> list[str]:
    """Why times taken on a board in this state are not the board's own; empty when they are."""
    found = []
    held_back = disturbing(reasons)
    if held_back:
        found.append(f"clocks held back ({', '.join(held_back)})")
    if throttled_ms:
        found.append(f"heat held the clocks back for {throttled_ms:.3g} ms")
    if others:
        found.append(f"{others} other process{'es' if others > 1 else ''} on the board")
    return found


def time_steps(
    step: Steps,
    count: int,
    board: Board | None,
    *,
    threads: int,
    reserved_mib: float | None = None,
    energy_seconds: float = WINDOW_SECONDS,
) -> Columns:
    """Time `count` steps, on a board also take its memory and energy, and watch all the while.

    Args:
        step: warmed up.
        count: steps to time.
        board: of a GPU; None for a CPU, or where NVML cannot be asked.
        threads: of the CPU, with which the steps compute.
        reserved_mib: what torch's allocator holds on the board, to know this process by.
        energy_seconds: length of the energy's window.

    Returns:
        Columns of a row; what cannot be told is None.
    """
    host = HostWatch()
    if step.device.type == "cuda":
        # The host only queues the work: what others do there is told, and disturbs nothing.
        columns = _time_on_cuda(step, count, board, reserved_mib, energy_seconds)
        return {**columns, **asdict(host.load(threads))}
    times = time_on_cpu(step, count)
    # Steps too short for the system's counters: more of them, outside of the times.
    while host.seconds() < WATCH_SECONDS:
        step()
    load = host.load(threads)
    disturbed = "; ".join(load.disturbances()) or None
    return {**time_columns(times), **asdict(load), "disturbed": disturbed}


def _time_on_cuda(
    step: Steps,
    count: int,
    board: Board | None,
    reserved_mib: float | None,
    energy_seconds: float,
) -> Columns:
    if board is None:
        return time_columns(time_on_cuda(step, count, step.device))
    watch = BoardWatch(board)
    times = time_on_cuda(step, count, step.device, look=watch.read)
    memory = board_memory(watch.looks[-1], board, reserved_mib)
    window = observe_window(step, step.synchronize, watch, seconds=energy_seconds)
    return {
        **time_columns(times),
        **memory,
        "power_watts": window.power_watts,
        "energy_mj_per_step": window.energy_mj_per_step,
        "energy_seconds": window.seconds,
        **watch.columns(),
    }


def time_columns(times: StepTimes) -> Columns:
    """The columns of durations, in milliseconds."""
    return {
        "step_ms": times.median,
        "step_ms_low": times.low,
        "step_ms_high": times.high,
        "cpu_ms_per_step": times.cpu,
    }


def board_memory(reading: Reading, board: Board, reserved_mib: float | None) -> Columns:
    """What the driver counts of memory, for the board and for this process."""
    used, own = reading.memory_used_bytes, reading.process_memory_bytes
    # In a container NVML can list another process under this one's number.
    if own is not None and own / MIB < (reserved_mib or 0):
        board.missing["process_memory"] = "less than torch has reserved: not this process"
        own = None
    return {
        "nvml_device_mib": None if used is None else used / MIB,
        "nvml_process_mib": None if own is None else own / MIB,
    }


def why_missing(board: Board) -> list[str]:
    """Which counters the board did not tell, and why."""
    return [f"{key}: {why}" for key, why in sorted(board.missing.items())]


def _union(looks: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = [look for look in looks if look is not None]
    return tuple(sorted(set().union(*known))) if known else None


def _median(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(statistics.median(known)) if known else None


def _most(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
