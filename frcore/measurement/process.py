"""The process's own figures: peak of its resident memory, and its processor time."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil

SAMPLING_SECONDS = 0.002
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""proc(5): writing 5 to clear_refs resets the peak resident set size (VmHWM)."""

TOLERANCE_BYTES = 4 * 1024 * 1024
"""The kernel's resident counters lag by some pages for each thread."""


def _status_bytes(key: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no {key}")


def rss_bytes() -> int:
    """The resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def peak_rss_bytes() -> int:
    """The largest resident memory of this program so far.

    The kernel's VmHWM where there is one: `ru_maxrss` also has what the parent held at the fork.
    """
    try:
        return _status_bytes("VmHWM")
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak() -> bool:
    """Start the kernel's peak of resident memory anew; False where it does not do that."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
        return _status_bytes("VmHWM") <= _status_bytes("VmRSS") + TOLERANCE_BYTES
    except OSError:
        return False


class PeakMemory:
    """The largest resident memory of this process inside a `with` block.

    On Linux the kernel keeps the peak and nothing is missed. Elsewhere, or where a container
    forbids resetting it, a thread samples, so that shorter peaks can be missed; `method` says
    which it was.

    Attributes:
        start_bytes: resident memory when the block began.
        peak_bytes: the peak in the block; set at its end.
        method: "kernel" or "sampled".
    """

    def __init__(self, *, sample: bool = False):
        self._sample = sample
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.start_bytes = 0
        self.peak_bytes = 0
        self.method = "kernel"

    def __enter__(self) -> PeakMemory:
        self.start_bytes = self.peak_bytes = rss_bytes()
        if self._sample or not reset_peak():
            self.method = "sampled"
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._stop.is_set():
            self.peak_bytes = max(self.peak_bytes, int(process.memory_info().rss))
            time.sleep(SAMPLING_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            last = rss_bytes()
        else:
            last = _status_bytes("VmHWM")
        self.peak_bytes = max(self.peak_bytes, last)


def available_bytes() -> int:
    """Memory this process can still take: of the machine, or of its container if that is less."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())  # "max", no limit, is a ValueError
        used = int((group / "memory.current").read_text())
        # Cached files are given back before anything is refused.
        for line in (group / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                used -= int(line.split()[1])
        free = min(free, max(0, limit - used))
    return free


def limit_data_to(extra_bytes: int) -> bool:
    """Let this process take `extra_bytes` more, after which an allocation fails.

    Without it, Linux promises memory that is not there and later kills some process, perhaps not
    this one. True where the system has such a limit (Linux).
    """
    try:
        import resource

        now = _status_bytes("VmData")
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        soft = now + extra_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard < 0 else min(soft, hard), hard))
    except (ImportError, OSError, ValueError):
        return False
    return True


def volunteer_for_the_oom_killer() -> None:
    """Should memory run out, let the kernel end this process rather than its neighbours."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def oom_kills() -> int | None:
    """How many processes the kernel has ended for memory since boot; None where it is not told."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None
