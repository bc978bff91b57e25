"""Timing steps while monitoring what could spoil the times: the board, and other programs."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from frcore.machine.board import MIB, Board, Reading, disturbing
from frcore.machine.nvml import Nvml
from frcore.machine.visible import board_of
from frcore.measurement.conditions import Columns
from frcore.measurement.load import WATCH_SECONDS, HostWatch, host_disturbances
from frcore.measurement.timing import (
    WINDOW_SECONDS,
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
    reason = Nvml.why_not() if device.type == "cuda" else None
    if device.type != "cuda" or reason is not None:
        yield None, reason
        return
    with Nvml() as nvml:
        board = board_of(nvml, str(device))
        yield board, None if board is not None else f"NVML has no board for {device}"


class BoardWatch:
    """Monitors a board from now on, and remembers every sample.

    Args:
        board: of a device on which this process has work.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.looks: list[Reading] = []
        self.start = board.read()
        self._thermal_ns = board.thermal_ns()

    def read(self) -> Reading:
        """Sample all counters now."""
        self.looks.append(self.board.read())
        return self.looks[-1]

    def columns(self) -> Columns:
        """What was seen, and in `disturbed` the part that spoils the times."""
        thermal_ns, throttled_ms = self.board.thermal_ns(), None
        if thermal_ns is not None and self._thermal_ns is not None:
            throttled_ms = (thermal_ns - self._thermal_ns) / 1e6
        every = [self.start, *self.looks]
        throttling = _known("throttle_reasons", every)
        reasons = sorted({reason for look in throttling for reason in look})
        others = max(_known("other_processes", every), default=None)
        celsius = [float(known) for known in _known("temperature_celsius", every)]
        return {
            "power_limit_watts": self.start.power_limit_watts,
            "utilisation_percent": _median(_known("utilisation_percent", self.looks)),
            "clock_mhz": _median(_known("sm_clock_mhz", self.looks)),
            "temperature_start_celsius": (
                None if self.start.temperature_celsius is None else celsius[0]
            ),
            "temperature_celsius": max(celsius, default=None),
            "throttle_reasons": (", ".join(reasons) or "none") if throttling else None,
            "throttled_ms": throttled_ms,
            "other_processes": others,
            "disturbed": "; ".join(board_disturbances(reasons, throttled_ms, others)) or None,
        }


def board_disturbances(
    reasons: Sequence[str], throttled_ms: float | None, others: int | None
) -> list[str]:
    """Why times on a board in this state are not representative; empty when they are."""
    found = []
    if held_back := disturbing(reasons):
        found.append(f"clocks throttled ({', '.join(held_back)})")
    if throttled_ms:
        found.append(f"thermally throttled for {throttled_ms:.3g} ms")
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
    """Time `count` steps, on a board also measure memory and energy, and monitor throughout.

    Args:
        step: warmed up.
        count: steps to time.
        board: of a GPU; None for a CPU, or where NVML cannot be asked.
        threads: of the CPU, with which the steps compute.
        reserved_mib: what torch's allocator holds on the board, to know this process by.
        energy_seconds: length of the energy's window.

    Returns:
        Columns of a row; None where it is not known.
    """
    host = HostWatch()
    if step.device.type != "cuda":
        times = time_on_cpu(step, count)
        # Steps too short for the system's counters: more of them, outside of the times.
        while host.seconds() < WATCH_SECONDS:
            step()
        load = host.load(threads)
        return {**times, **load, "disturbed": "; ".join(host_disturbances(**load)) or None}
    # The host only queues the work: what others do there is reported and disturbs nothing.
    if board is None:
        return {**time_on_cuda(step, count, step.device), **host.load(threads)}
    watch = BoardWatch(board)
    times = time_on_cuda(step, count, step.device, look=watch.read)
    memory = board_memory(watch.looks[-1], board, reserved_mib)
    energy = observe_window(
        step, step.synchronize, watch.read, board.energy_mj, seconds=energy_seconds
    )
    return {**times, **memory, **energy, **watch.columns(), **host.load(threads)}


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


def _known(name: str, looks: Sequence[Reading]) -> list[Any]:
    return [value for look in looks if (value := getattr(look, name)) is not None]


def _median(values: Sequence[int]) -> float | None:
    return float(statistics.median(values)) if values else None
