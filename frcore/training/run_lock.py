"""One training at a time in a run's folder: `running.json` there says whose it is.

The lock is the operating system's, which a process that is killed loses by itself. Some file
systems give it on one machine only or not at all; there the file alone decides, which its owner
touches while it lives.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from frcore.errors import UserError
from frcore.files import as_json
from frcore.machine.faults import refusals_told
from frcore.machine.processes import Owner, this_process
from frcore.records.run import LockRecord

log = logging.getLogger(__name__)

NAME = "running.json"

BEAT_SECONDS = 15.0
SILENT_SECONDS = 120.0
"""An owner on another machine that has not touched its file for so long is taken for dead."""

POLL_SECONDS = 2.0

_WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class BusyError(UserError):
    """Another process is at work in this folder; `frcore` ends with `exit_code`."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: the same command may succeed later."""


class RunLock:
    """Holds the folder of a run for the block. Use as a context manager.

    Who comes second is refused at once, because the first may take days. An owner on another
    machine cannot be asked: its file is watched for `SILENT_SECONDS` at most, on the clock of the
    file system, as those of two machines may differ.

    Raises:
        BusyError: on entry, another process trains here, and which.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._handle = -1
        self._text = b""
        self._over = threading.Event()

    def __enter__(self) -> RunLock:
        """Take the folder."""
        self._handle = self._open()
        record = LockRecord(
            **this_process()._asdict(),
            machine=platform.node(),
            job=os.environ.get("SLURM_JOB_ID"),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._text = as_json(record.model_dump()).encode()
        try:
            with refusals_told(self.path):
                os.ftruncate(self._handle, 0)
                os.pwrite(self._handle, self._text, 0)
        except BaseException:
            self.path.unlink(missing_ok=True)
            os.close(self._handle)
            raise
        threading.Thread(target=self._beat, name="run-lock", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the folder back."""
        self._over.set()
        with contextlib.suppress(OSError):
            if self._is_own():
                self.path.unlink()
        os.close(self._handle)

    def check(self) -> None:
        """Before something is written for good: whether the folder is still this process's.

        Raises:
            BusyError: somebody deleted the lock, or took this process for dead and goes on for it.
        """
        if not self._is_own():
            raise BusyError(
                f"{self.path} is not this process's any more: it was deleted, or another training "
                "goes on in its place; this one stops, and nothing of it is lost up to its last "
                "checkpoint"
            )

    def _is_own(self) -> bool:
        try:
            return self.path.read_bytes() == self._text
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                if not _lock(handle):
                    raise self._busy()
                # The owner before may have removed the file while it was opened here.
                if self.path.exists() and os.path.samestat(os.fstat(handle), self.path.stat()):
                    self._wait_for_silence()
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)

    def _wait_for_silence(self) -> None:
        """Return if the owner in the file is dead."""
        owner = holder(self.path.parent)
        if owner is None:
            return  # killed before it had written who it is
        if owner.is_here:
            if owner.lives and owner != this_process():
                raise self._busy()  # a file system without locks
            return
        touched = self._touched()
        left = SILENT_SECONDS - (_now_at(self.path.parent) - touched) / 1e9
        if left > 0:
            log.warning("%s; up to %.0f s for a sign of life of it", self._holder(), left)
        until = time.monotonic() + left
        while time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            if self._touched() != touched:
                raise self._busy()

    def _touched(self) -> int:
        # Opened anew, because NFS asks the server then.
        with self.path.open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns

    def _holder(self) -> str:
        record = _record(self.path)
        job = f" (Slurm job {record.job})" if record.job else ""
        return (
            f"{self.path.parent} is being trained by process {record.pid or '?'} on "
            f"{record.machine or '?'}{job} since {record.since or '?'}"
        )

    def _busy(self) -> BusyError:
        return BusyError(
            f"{self._holder()}; a run's folder has one training at a time: wait for it, or end it "
            f"there and start again, which goes on after its last epoch. If {self.path} is deleted "
            "that training stops by itself after its present epoch"
        )

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # such as a server that is away for a while
                os.utime(self.path)


def holder(folder: Path) -> Owner | None:
    """Whose the run folder is, or was when it was killed; None where nobody says so."""
    record = _record(folder / NAME)
    if record.host is None or record.pid is None or record.started is None:
        return None
    return Owner(record.host, record.pid, record.started)


def _record(path: Path) -> LockRecord:
    """What the lock's file says; nothing where it cannot be read."""
    try:
        return LockRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return LockRecord()


def _lock(handle: int) -> bool:
    """Whether the system's lock is held now; True where the file system has none."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True


def _now_at(folder: Path) -> int:
    """The time by the clock that stamps files in `folder`, nanoseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime_ns
