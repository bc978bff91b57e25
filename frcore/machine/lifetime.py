"""How a command begins and ends: the process that its log names, and the signals that stop it."""

from __future__ import annotations

import contextlib
import platform
import re
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn, Self

from frcore.machine.processes import Owner, this_process

BY = {
    signal.SIGINT: "by Ctrl-C",
    signal.SIGTERM: "by a scheduler or `kill`",
    signal.SIGHUP: "since the terminal was closed",
    signal.SIGUSR1: "by a scheduler before its time limit",
}
"""The signals that ask a command to stop, and who sends them."""

SAME_REQUEST_SECONDS = 3.0
"""`timeout`, schedulers and launchers send a signal to a process and to its group, so it comes
twice; what arrives this soon after the first is the same request."""


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


_before: dict[int, Any] = {}
"""The handlers that `stopped_by_signals` has replaced, by signal."""


def _stop(number: int) -> NoReturn:
    for other in _before:  # cleaning up is not to be cut short by the same request
        signal.signal(other, signal.SIG_DFL if other == signal.SIGINT else signal.SIG_IGN)
    raise Stopped(number)


class Grace:
    """Within the block a request to stop is noted instead of raising `Stopped`; a second is not.

    Whoever opens the block calls `end` where it can stop without loss. Only what
    `stopped_by_signals` handles is held back. Use as a context manager.

    Attributes:
        asked: number of the signal that asked to stop; 0 while none has.
    """

    _open: Grace | None = None

    def __init__(self) -> None:
        self.asked = 0
        self._since = 0.0

    def __enter__(self) -> Self:
        """Hold requests back from here on."""
        Grace._open = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Requests stop at once again, and so does one that came too late for the block."""
        Grace._open = None
        if kind is None:
            self.end()

    def end(self) -> None:
        """Stop now, if that was asked for.

        Raises:
            Stopped: it was.
        """
        if self.asked:
            _stop(self.asked)

    def ask(self, number: int) -> None:
        """Note a request, as if that signal had come."""
        self.asked, self._since = number, time.monotonic()

    def _takes(self, number: int) -> bool:
        if not self.asked:
            self.ask(number)
            return True
        # Nobody else sends Ctrl-C again than who is tired of waiting.
        is_same = time.monotonic() - self._since < SAME_REQUEST_SECONDS
        return is_same and number != signal.SIGINT

    @staticmethod
    def takes(number: int) -> bool:
        """Whether an open block takes note of this signal, instead of being ended by it."""
        return Grace._open is not None and Grace._open._takes(number)


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Stopped` where one of those signals arrives, once; a further Ctrl-C kills at once.

    Inside a block of `Grace` the first is held back. A signal that is ignored stays ignored:
    `nohup`, and jobs that a script started with `&`.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if not Grace.takes(number):
            _stop(number)

    handlers = {one: signal.getsignal(one) for one in BY}
    _before.update((one, was) for one, was in handlers.items() if was != signal.SIG_IGN)
    for one in _before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one, handler in _before.items():
            signal.signal(one, handler)
        _before.clear()


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
