"""The process's own figures: peak of its resident memory, and its processor time."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLING_SECONDS = 0.002
STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""proc(5): writing 5 to clear_refs resets the peak resident set size (VmHWM)."""

TOLERANCE_BYTES = 4 * 1024 * 1024
"""The kernel's resident counters lag by some pages for each thread."""


def _number(file: Path, key: str) -> int:
    """The number after `key` in a file of the kernel's.

    Raises:
        OSError: it has none.
    """
    for line in file.read_text().splitlines():
        if line.startswith((f"{key} ", f"{key}:")):
            return int(line.split()[1])
    raise OSError(f"{file} has no {key}")


def _status_bytes(key: str) -> int:
    return _number(STATUS, key) * 1024


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
    """Reset the kernel's peak of resident memory; False where that is impossible."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
        return _status_bytes("VmHWM") <= _status_bytes("VmRSS") + TOLERANCE_BYTES
    except OSError:
        return False


@dataclass
class Peak:
    """Resident memory of this process over a block.

    Attributes:
        start_bytes: when the block began.
        peak_bytes: the largest; set at the block's end.
        method: "kernel", or "sampled", which can miss shorter peaks.
    """

    start_bytes: int
    peak_bytes: int
    method: str


@contextlib.contextmanager
def peak_memory(*, sample: bool = False) -> Iterator[Peak]:
    """The largest resident memory of this process inside the block.

    On Linux the kernel keeps the peak and nothing is missed. Elsewhere, or where a container
    forbids resetting it, or with `sample`, a thread samples.
    """
    now = rss_bytes()
    if not sample and reset_peak():
        peak = Peak(now, now, "kernel")
        yield peak
        peak.peak_bytes = max(now, _status_bytes("VmHWM"))
        return
    peak, stop = Peak(now, now, "sampled"), threading.Event()

    def watch() -> None:
        while not stop.wait(SAMPLING_SECONDS):
            peak.peak_bytes = max(peak.peak_bytes, rss_bytes())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.peak_bytes = max(peak.peak_bytes, rss_bytes())


def available_bytes() -> int:
    """Memory this process can still take: of the machine, or of its container if that is less."""
    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text())  # "max", no limit, is a ValueError
        used = int((group / "memory.current").read_text())
        # Cached files are given back before anything is refused.
        used -= _number(group / "memory.stat", "inactive_file")
        free = min(free, max(0, limit - used))
    return free


def limit_data_to(extra_bytes: int) -> bool:
    """Let this process take `extra_bytes` more, after which an allocation fails.

    Without it, Linux overcommits memory and later kills some process, perhaps not
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
    """If memory runs out, let the kernel kill this process rather than its neighbours."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def oom_kills() -> int | None:
    """How many processes the kernel has ended for memory since boot; None where that is unknown."""
    with contextlib.suppress(OSError, ValueError):
        return _number(Path("/proc/vmstat"), "oom_kill")
    return None
