"""How a command begins and ends: the process that its log names, and the signals that stop it."""

from __future__ import annotations

import contextlib
import platform
import re
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from frcore.machine.processes import Owner, this_process

BY = {
    signal.SIGINT: "by Ctrl-C",
    signal.SIGTERM: "by a scheduler or `kill`",
    signal.SIGHUP: "since the terminal was closed",
}
"""The signals that ask a command to stop, and who sends them."""


class Stopped(SystemExit):
    """This command was asked to stop; its exit code is 128 + the signal's number.

    Not an `Exception`: it is not a failure, and nothing may continue after it. Code that knows what
    is kept and how to resume says so in a note (`add_note`).
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


def sign_log() -> None:
    """Name this process in the first line of a job's log, so that others can look it up."""
    own = this_process()
    print(
        f"process {own.pid} on {platform.node()} ({own.host}, {own.started})",
        file=sys.stderr, flush=True,
    )  # fmt: skip


def signed(line: str) -> Owner | None:
    """The process named in a line by `sign_log`; None for any other line."""
    match = re.fullmatch(r"process (\d{1,9}) on .* \(([0-9a-f]{8}), (\d{1,18})\)", line)
    return None if match is None else Owner(match[2], int(match[1]), int(match[3]))
