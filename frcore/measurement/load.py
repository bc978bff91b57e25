"""Processor time used by other programs while something was timed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
"""Of `psutil.cpu_times`, in seconds of all processors. "steal" is what other guests of the same
host took; "user" has the time of own guests already."""

WATCH_SECONDS = 0.5
"""The system counts processor time in ticks of 10 ms: over less time it would count those."""

OTHERS_SHARE = 1 / 8
"""Others that take more than this share of the machine's processors disturb: a quarter of a core
on two cores."""

WAITED_PERCENT = 10.0
"""A row disturbs whose threads were ready to run, but on no processor, for more of the time."""

TASKS = Path("/proc/self/task")


def host_disturbances(others_cores: float | None, waited_percent: float | None) -> list[str]:
    """Why times taken under such a load are not those of the machine alone."""
    found = []
    if others_cores is not None and others_cores > OTHERS_SHARE * cores():
        found.append(f"other programs took {others_cores:.2g} of {cores()} cores")
    if waited_percent is not None and waited_percent > WAITED_PERCENT:
        found.append(f"waited {waited_percent:.0f} % of the time for a processor")
    return found


def cores() -> int:
    """Logical processors of the machine."""
    return psutil.cpu_count() or 1


class HostWatch:
    """Watches other programs from its creation on."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._own = time.process_time()
        self._busy, self._all = _processor_seconds()
        self._waited = _waited_seconds()

    def seconds(self) -> float:
        """Since the watch began."""
        return time.perf_counter() - self._start

    def load(
        self, threads: int, total: Callable[[float], float] = float
    ) -> dict[str, float | None]:
        """The load by other programs so far, for a process that computes with `threads` threads.

        Args:
            threads: of this process.
            total: of a number the sum over the processes that are measured together.

        Returns:
            `others_cores`: processor time of all other programs, over the time. `waited_percent`:
            time that this process's threads were ready to run and did not, over the time and the
            threads. None: the system does not report it.
        """
        seconds, own = self.seconds(), total(time.process_time() - self._own)
        busy, everything = _processor_seconds()
        busy, everything = busy - self._busy, everything - self._all
        others = percent = None
        # Some containers show idle processors: not even this process's own work is counted.
        if everything > 0 and busy >= own / 2:
            others = max(0.0, busy - own) / seconds
        waited = _waited_seconds()
        if waited is not None and self._waited is not None:
            percent = 100 * max(0.0, waited - self._waited) / (seconds * threads)
        return {"others_cores": others, "waited_percent": percent}


def _processor_seconds() -> tuple[float, float]:
    """Time of all processors so far: busy, and busy or idle."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in BUSY)), float(sum(times))


def _waited_seconds() -> float | None:
    """Time this process's threads were ready to run without a processor; Linux only."""
    ran = waited = 0
    with contextlib.suppress(OSError):
        for task in TASKS.iterdir():
            with contextlib.suppress(OSError, ValueError):  # a thread may just end
                # Of the kernel's sched-stats: ns on a processor, ns waiting for one, how often.
                on_processor, waiting, _ = (task / "schedstat").read_text().split()
                ran, waited = ran + int(on_processor), waited + int(waiting)
    # A kernel that does not count shows zeros, also for the thread that is reading them.
    return waited / 1e9 if ran else None
