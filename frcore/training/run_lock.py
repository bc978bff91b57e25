"""One training at a time in a run's folder: `running.json` identifies its owner.

The lock is the operating system's, which is released when a process is killed. Some file systems
support it on one machine only or not at all; there only the file counts, which its owner touches
regularly.
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
"""An owner on another machine that has not touched its file for this long is considered dead."""

POLL_SECONDS = 2.0

_WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class BusyError(UserError):
    """Another process is using this folder; `frcore` exits with `exit_code`."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: the same command may succeed later."""


class RunLock:
    """Holds the folder of a run for the block. Use as a context manager.

    A second process is refused at once, because the first may take days. An owner on another
    machine cannot be queried: its file is watched for at most `SILENT_SECONDS`, by the clock of the
    file system, as the clocks of two machines may differ.

    Raises:
        BusyError: on entry, if another process trains here; the message names it.
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
        """Check, before writing final results, that the folder still belongs to this process.

        Raises:
            BusyError: the lock was deleted, or another process considered this one dead.
        """
        if not self._is_own():
            raise BusyError(
                f"{self.path} no longer belongs to this process: it was deleted, or another "
                "training has taken over; this one stops, and nothing is lost up to its last "
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
                # The previous owner may have removed the file after it was opened here.
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
            return  # killed before it could identify itself
        if owner.is_here:
            if owner.lives and owner != this_process():
                raise self._busy()  # a file system without locks
            return
        touched = self._touched()
        left = SILENT_SECONDS - (_now_at(self.path.parent) - touched) / 1e9
        if left > 0:
            log.warning("%s; waiting up to %.0f s for a sign of life", self._holder(), left)
        until = time.monotonic() + left
        while time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            if self._touched() != touched:
                raise self._busy()

    def _touched(self) -> int:
        # Reopened, which makes NFS query the server.
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
            f"{self._holder()}; only one training may use a run's folder at a time: wait for it or "
            "end it there and start again, which resumes from its last checkpoint. If "
            f"{self.path} is deleted, that training stops by itself before its next one"
        )

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # such as a file server that is briefly unreachable
                os.utime(self.path)


def holder(folder: Path) -> Owner | None:
    """The present or killed owner of the run folder; None if not recorded."""
    record = _record(folder / NAME)
    if record.host is None or record.pid is None or record.started is None:
        return None
    return Owner(record.host, record.pid, record.started)


def _record(path: Path) -> LockRecord:
    """The content of the lock file; empty if it cannot be read."""
    try:
        return LockRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return LockRecord()


def _lock(handle: int) -> bool:
    """Whether the system's lock is now held; True if the file system does not support locks."""
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
    """The present time by the file system's clock in `folder`, nanoseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime_ns
