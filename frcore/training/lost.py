"""What the processes of a training say to each other where one of them fails, ends or hangs.

A process that fails, or gives up waiting, leaves a note in the store through which the processes
found each other. That of `torchrun` and of `frcore train` outlives them. So the others end with the
one's error, and know which of them is silent.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import sys
import threading
import time
from collections.abc import Iterable

import torch.distributed as dist
from torch.distributed import Store

from frcore.errors import UserError
from frcore.machine.faults import refusal

POLL_SECONDS = 0.05
"""How often a process looks whether the others have started."""

AFTER_SECONDS = 5.0
"""How long after it a process that waits in the same place notices the same."""

_RESUMES = "the same command resumes from the last checkpoint"


class LostError(UserError):
    """Another process of the training ended or hangs; `frcore` exits with `exit_code`."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: the same command may succeed later."""


class OtherFailedError(UserError):
    """Another process of the training failed, with what this says and with that exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Notes:
    """What this process tells the others, and what they have told.

    Args:
        store: of all of them.
        rank: of this process.
        size: number of processes.
        minutes: `training.timeout_minutes`.
    """

    def __init__(self, store: Store, rank: int, size: int, minutes: float) -> None:
        self._store, self.rank, self.size, self._minutes = store, rank, size, minutes
        self._limit = f"{minutes:g} minutes (training.timeout_minutes)"

    @property
    def name(self) -> str:
        """Of this process, in messages."""
        return self._named([self.rank])

    def wait_for_all(self) -> None:
        """Until every process has come here.

        In Python, as a wait within torch would let no signal through.

        Raises:
            LostError: some did not come in time.
        """
        self._store.set(f"started/{self.rank}", "")
        deadline = time.monotonic() + 60 * self._minutes
        while missing := self._without("started"):
            if time.monotonic() > deadline:
                raise LostError(
                    f"{self._named(missing)} did not start within {self._limit}; {_RESUMES}"
                )
            time.sleep(POLL_SECONDS)

    def failed(self, error: Exception) -> None:
        """Tell the others why this process ends."""
        shown = refusal(error) or error
        text, code = f"{type(error).__name__}: {error}", 1
        if isinstance(shown, UserError):
            text, code = str(shown), shown.exit_code
        note = json.dumps([f"{self.name} failed: {text}", code])
        with contextlib.suppress(dist.DistError):  # the store may be gone with another process
            self._store.compare_set("failed", "", note)

    def failure(self) -> OtherFailedError | None:
        """What the first process that failed has told, if any."""
        with contextlib.suppress(dist.DistError):  # as above
            if self._store.check(["failed"]):
                return OtherFailedError(*json.loads(self._store.get("failed")))
        return None

    def explained(self, error: Exception) -> UserError:
        """What is behind an error of a collective: another process failed, hangs, or is gone."""
        found = "another process of this training ended, as its own message says"
        with contextlib.suppress(dist.DistError):  # as above
            self._store.set(f"waited/{self.rank}", "")
            if failure := self.failure():
                return failure
            if _is_timeout(error):
                found = f"{self._silent()} for {self._limit}, and has shown above where, if it can"
        return LostError(f"{found}; {_RESUMES}. Here: {error}")

    def _silent(self) -> str:
        deadline = time.monotonic() + AFTER_SECONDS
        while (silent := self._without("waited")) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return f"{self._named(silent)} hangs: it did nothing" if silent else "each process waited"

    def _without(self, note: str) -> list[int]:
        return [rank for rank in range(self.size) if not self._store.check([f"{note}/{rank}"])]

    def _named(self, ranks: Iterable[int]) -> str:
        names = ", ".join(str(rank) for rank in ranks)
        return f"process {names} of {self.size} (counted from 0)"


def is_of_another(error: Exception) -> bool:
    """Whether an error says that another process of the training is gone or silent."""
    signs = ("gloo", "NCCL", "Connection closed", "Connection reset")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)


def _is_timeout(error: Exception) -> bool:
    text = str(error).lower()
    return "timed out" in text or "timeout" in text


class Alarm:
    """Shows where all threads of this process are when it has not moved for a while.

    Args:
        name: of this process.
        seconds: after which the others give up.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._over = threading.Event()
        self.put_off()
        threading.Thread(target=self._watch, name="alarm", daemon=True).start()

    def put_off(self) -> None:
        """This process moves."""
        self._deadline = time.monotonic() + 0.8 * self._seconds
        # If no other thread runs any more, as somebody keeps Python's lock; without the name.
        faulthandler.dump_traceback_later(0.9 * self._seconds, file=sys.stderr)

    def stop(self) -> None:
        """Show nothing from here on."""
        self._over.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._over.wait(max(0.0, self._deadline - time.monotonic())):
            if time.monotonic() < self._deadline:
                continue
            self._deadline += self._seconds
            faulthandler.cancel_dump_traceback_later()
            print(
                f"{self._name} has finished no step for {0.8 * self._seconds:.0f} s; it is here:",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            faulthandler.dump_traceback(file=sys.stderr)
