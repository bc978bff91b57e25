"""Timers around steps: each step by itself, and a long window for energy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch

from frcore.machine.board import Reading

LOW_PERCENTILE, HIGH_PERCENTILE = 20, 80

WINDOW_SECONDS = 5.0
"""The energy counter is renewed about every 0.1 s: shorter windows would measure that."""

LOOK_SECONDS = 0.5
"""How often the board is looked at during the window."""


@dataclass(frozen=True)
class StepTimes:
    """Durations of the timed steps, in milliseconds."""

    median: float
    low: float
    high: float
    cpu: float

    @classmethod
    def of(cls, milliseconds: Sequence[float], cpu_seconds: float) -> StepTimes:
        """Summarise; `cpu_seconds` is the processor time of all threads over all the steps."""
        low, median, high = np.percentile(
            milliseconds, [LOW_PERCENTILE, 50, HIGH_PERCENTILE]
        ).tolist()
        return cls(median, low, high, 1e3 * cpu_seconds / len(milliseconds))


def time_on_cpu(step: Callable[[], None], steps: int) -> StepTimes:
    """Time `steps` calls with the host's clock."""
    milliseconds = []
    cpu_start = time.process_time()
    for _ in range(steps):
        start = time.perf_counter()
        step()
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return StepTimes.of(milliseconds, time.process_time() - cpu_start)


def time_on_cuda(
    step: Callable[[], None],
    steps: int,
    device: torch.device,
    *,
    look: Callable[[], object] = lambda: None,
) -> StepTimes:
    """Time `steps` calls with CUDA events in the stream, back to back as in training.

    There is one synchronisation, at the end: one for each step would leave the GPU idle while the
    host prepares the next.

    Args:
        step: queues one step.
        steps: how many.
        device: a GPU.
        look: called once when all steps are queued and the GPU is still at them, so that looking
            takes nothing from them.
    """
    stream = torch.cuda.current_stream(device)
    events = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    torch.cuda.synchronize(device)
    cpu_start = time.process_time()
    events[0].record(stream)
    for event in events[1:]:
        step()
        event.record(stream)
    cpu_seconds = time.process_time() - cpu_start
    look()
    torch.cuda.synchronize(device)
    milliseconds = [before.elapsed_time(after) for before, after in pairwise(events)]
    return StepTimes.of(milliseconds, cpu_seconds)


class Observed(Protocol):
    """What the energy window needs of a board."""

    def energy_mj(self) -> int | None:
        """Millijoules since some moment."""
        ...

    def read(self, pid: int | None = None) -> Reading:
        """All counters now."""
        ...


@dataclass(frozen=True)
class EnergyWindow:
    """What a board did over some seconds of back-to-back steps; None: it cannot tell."""

    seconds: float
    steps: int
    energy_mj_per_step: float | None
    power_watts: float | None


def observe_window(
    step: Callable[[], None],
    synchronize: Callable[[], None],
    board: Observed,
    *,
    seconds: float = WINDOW_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> EnergyWindow:
    """Run steps back to back for at least `seconds` and take the energy from end to end.

    The board is looked at while steps are queued, so that what it says is of the work. Energy is
    the whole board's, idle power included; the mean power is energy over time where there is an
    energy counter, and otherwise the mean of the looks.
    """
    synchronize()
    looks: list[Reading] = []
    done = 0
    energy_start, start = board.energy_mj(), clock()
    next_look = start + LOOK_SECONDS / 2
    while clock() - start < seconds:
        step()
        done += 1
        if clock() >= next_look:
            looks.append(board.read())
            # Steps are queued faster than they run: without this the window would not end.
            synchronize()
            next_look = clock() + LOOK_SECONDS
    synchronize()
    elapsed, energy_end = clock() - start, board.energy_mj()
    energy = None
    if energy_start is not None and energy_end is not None and energy_end > energy_start:
        energy = float(energy_end - energy_start)
    watts = [look.power_watts for look in looks if look.power_watts is not None]
    power = energy / 1e3 / elapsed if energy is not None else _mean(watts)
    return EnergyWindow(
        seconds=elapsed,
        steps=done,
        energy_mj_per_step=None if energy is None else energy / done,
        power_watts=power,
    )


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
