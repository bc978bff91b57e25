"""Timers around steps: each step by itself, and a long window for energy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch

from frcore.machine.board import Reading
from frcore.measurement.conditions import Columns
from frcore.measurement.ranks import ALONE, Ranks
from frcore.sharding import collectives

LOW_PERCENTILE, HIGH_PERCENTILE = 20, 80

WINDOW_SECONDS = 5.0
"""The energy counter is renewed about every 0.1 s: shorter windows would measure that."""

LOOK_SECONDS = 0.5
"""How often the board is sampled during the window."""


def time_columns(milliseconds: Sequence[float], cpu_seconds: float) -> Columns:
    """Median and percentiles; `cpu_seconds` is the processor time of all threads over all steps."""
    low, median, high = np.percentile(milliseconds, [LOW_PERCENTILE, 50, HIGH_PERCENTILE]).tolist()
    return {
        "step_ms": median,
        "step_ms_low": low,
        "step_ms_high": high,
        "cpu_ms_per_step": 1e3 * cpu_seconds / len(milliseconds),
    }


def time_on_cpu(step: Callable[[], None], steps: int) -> Columns:
    """Time `steps` calls with the host's clock."""
    milliseconds = []
    cpu_start = time.process_time()
    for _ in range(steps):
        start = time.perf_counter()
        step()
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return time_columns(milliseconds, time.process_time() - cpu_start)


def time_on_cuda(
    step: Callable[[], None],
    steps: int,
    device: torch.device,
    *,
    look: Callable[[], object] = lambda: None,
) -> Columns:
    """Time `steps` calls with CUDA events in the stream, back to back as in training.

    There is one synchronisation, at the end: one for each step would leave the GPU idle while the
    host prepares the next.

    Args:
        step: queues one step.
        steps: how many.
        device: a GPU.
        look: called once when all steps are queued and the GPU is still busy, so that it costs
            them no time.
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
    return time_columns(milliseconds, cpu_seconds)


def network_percent(step: Callable[[], None], steps: int, synchronize: Callable[[], None]) -> float:
    """The share of steps that this process spends in collectives, with each of them waited for.

    Its steps are not those that are timed: waiting for a GPU slows them down.
    """
    synchronize()
    start = time.perf_counter()
    with collectives.timed() as watch:
        for _ in range(steps):
            step()
        synchronize()
    return 100 * watch.seconds / (time.perf_counter() - start)


def observe_window(
    step: Callable[[], None],
    synchronize: Callable[[], None],
    read: Callable[[], Reading],
    energy_mj: Callable[[], int | None],
    *,
    seconds: float = WINDOW_SECONDS,
    clock: Callable[[], float] = time.perf_counter,
    ranks: Ranks = ALONE,
) -> Columns:
    """Run steps back to back for at least `seconds` and take the energy from end to end.

    The board is read while steps are queued, so that the readings are of the work. Energy is the
    whole board's, idle power included; the mean power is energy over time where there is an energy
    counter, and otherwise the mean of the readings. Several processes end the window together.
    """
    synchronize()
    readings: list[Reading] = []
    done = 0
    energy_start, start = energy_mj(), clock()
    next_look = start + LOOK_SECONDS / 2
    while ranks.largest(clock() - start) < seconds:
        step()
        done += 1
        if clock() >= next_look:
            readings.append(read())
            # Steps are queued faster than they run: without this the window would not end.
            synchronize()
            next_look = clock() + LOOK_SECONDS
    synchronize()
    elapsed, energy_end = clock() - start, energy_mj()
    energy = power = None
    watts = [one.power_watts for one in readings if one.power_watts is not None]
    if energy_start is not None and energy_end is not None and energy_end > energy_start:
        energy = float(energy_end - energy_start)
        power = energy / 1e3 / elapsed
    elif watts:
        power = statistics.fmean(watts)
    return {
        "energy_seconds": elapsed,
        "energy_mj_per_step": None if energy is None else energy / done,
        "power_watts": power,
    }
