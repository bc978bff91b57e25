"""How a command begins and ends: the process that its log names, and the signals that stop it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

import psutil

BY = {
    signal.SIGINT: "by Ctrl-C",
    signal.SIGTERM: "by a scheduler or `kill`",
    signal.SIGHUP: "since the terminal was closed",
}
"""The signals that ask a command to stop, and who sends them."""

SAME_START_SECONDS = 2.0
"""The system counts the start of a process in ticks since it booted, and rounds."""


class Stopped(SystemExit):
    """Somebody asked this command to stop; its exit code is 128 + the signal's number.

    No `Exception`: it is no failure, and nothing is to go on after it. Who knows what is kept and
    how to go on says so in a note (`add_note`).
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.by = f"{BY[signal.Signals(number)]} ({signal.Signals(number).name})"

    def __str__(self) -> str:
        notes = getattr(self, "__notes__", ["the same command does it again"])
        return f"{self.by}; {'; '.join(notes)}"


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` where one of those signals arrives, once; a second Ctrl-C kills at once.

    A signal that is ignored stays ignored: `nohup`, and jobs that a script started with `&`.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for other in before:  # cleaning up is not to be cut short by the same request
            signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
        raise Stopped(number)

    before = {one: signal.getsignal(one) for one in BY if signal.getsignal(one) != signal.SIG_IGN}
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@dataclass(frozen=True)
class Process:
    """A process on some machine.

    Attributes:
        host: name of the machine.
        pid: its number there.
        started: seconds since 1970, since numbers are used again.
    """

    host: str
    pid: int
    started: float

    @classmethod
    def here(cls) -> Process:
        """This one."""
        own = psutil.Process()
        return cls(socket.gethostname(), own.pid, own.create_time())

    @classmethod
    def named_in(cls, line: str) -> Process | None:
        """The one that a line by `__str__` names; None if it is no such line."""
        match = re.fullmatch(r"process (\d{1,9}) on (\S+), started at (\d{1,12}\.\d\d)", line)
        return None if match is None else cls(match[2], int(match[1]), float(match[3]))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started at {self.started:.2f}"

    def is_alive(self) -> bool | None:
        """Whether it runs; None where it cannot be known, on another machine."""
        if self.host != socket.gethostname():
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None


def sign_log() -> None:
    """Name this process in the first line of a job's log, so that others see whether it lives."""
    print(Process.here(), file=sys.stderr, flush=True)
