"""Which process something belongs to, and whether that process still lives."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """One process, distinct from every other.

    Attributes:
        host: eight hexadecimal digits, of this boot of a machine as its processes see it.
        pid: its number there.
        started: when it did, in a unit of the system's; numbers of processes are used again.
    """

    host: str
    pid: int
    started: int

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, so that `lives` is known."""
        return self.host == this_host()

    @property
    def lives(self) -> bool:
        """Whether it does, if it `is_here`."""
        import psutil  # takes a while to import, and is seldom needed

        if not psutil.pid_exists(self.pid):
            return False
        started = _started(self.pid)
        # None: some systems hide the processes of other users.
        return started is None or started == self.started


@functools.cache
def this_host() -> str:
    """The machine since it was booted; a container counts as a separate machine.

    Two with one name are distinguished by their boot, two containers of one machine by their
    namespace of processes: a process that this one cannot see is never taken for dead.
    """
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # another system than Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def this_process() -> Owner:
    """The calling process; a fork is another one."""
    return Owner(this_host(), os.getpid(), _started(os.getpid()) or 0)


def started_with() -> int:
    """How many processes `torchrun` started together with this one, itself among them."""
    return int(os.environ["WORLD_SIZE"]) if "RANK" in os.environ else 1


def rank() -> int:
    """Of this process among those that `torchrun` started together; 0 for one that it did not."""
    return int(os.environ["RANK"]) if started_with() > 1 else 0


def _started(pid: int) -> int | None:
    """When `pid` was started, 0 if it has ended and its parent has not noticed; None: not known."""
    try:
        # proc_pid_stat(5): after the name in brackets, field 3 is the state and 22 the ticks since
        # boot, which unlike psutil's seconds do not move when the clock is set.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return 0 if fields[0] in "ZX" else int(fields[19])
    except (OSError, IndexError, ValueError):
        pass
    import psutil

    try:
        return int(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
