"""Handing out the GPUs of one machine to the jobs on it.

Snakemake's local executor counts GPUs but does not assign them to jobs. So a job takes a lease: an
operating-system lock on a file named after the board. A killed process releases its locks, so
nothing is ever left to clean up.

The processes of one `torchrun` have distinct boards: the first takes all of them at once, and holds
them for the others.

Training and measuring both use their board exclusively (`exclusive=True`): each reports times, and
a second job on the board would change them.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynvml

from frcore.errors import UserError
from frcore.machine.nvml import Nvml
from frcore.machine.visible import visible_boards, visible_entries

log = logging.getLogger(__name__)

LOCK_FOLDER = "frcore-gpu-leases"
COMMON_FOLDER = Path("/tmp")
"""POSIX's folder for temporary files (IEEE Std 1003.1, 10.1): there for all, the same for all."""

POLL_SECONDS = 0.5
SAY_SECONDS = 60.0

WHOLE_MACHINE = "all"
"""The lease where the boards cannot be distinguished: one job at a time."""

COLLECTING = "several"
"""The lock of a launcher that collects boards for several processes."""

_held: list[str] = []
"""What this process has leased: nothing or one board."""


def lock_folder() -> Path:
    """The folder of the locks, made on first use, which all users of the machine share.

    It is in the system's folder for temporary files, whatever TMPDIR says: workflows and users set
    it, but must see each other's locks. FRCORE_LEASES is for machines on which jobs have separate
    system folders.
    """
    given = os.environ.get("FRCORE_LEASES")
    folder = Path(given) if given else _common_folder() / LOCK_FOLDER
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        # Sticky, as the temporary folder itself: all may add files, none may remove another's.
        folder.chmod(0o777 | stat.S_ISVTX)
    return folder


def _common_folder() -> Path:
    """Where every user of the machine may write."""
    return COMMON_FOLDER if os.access(COMMON_FOLDER, os.W_OK) else Path(tempfile.gettempdir())


def enumerate_gpus(library: Any = pynvml) -> list[str]:
    """The boards that this process may use, by UUID; CUDA_VISIBLE_DEVICES is respected.

    Does not start CUDA, which would make a later choice of the board impossible. Where NVML cannot
    distinguish the boards, the result is `[WHOLE_MACHINE]`; without a GPU it is empty.
    """
    if visible_entries() == []:
        return []
    if Nvml.why_not(library) is not None:
        return [WHOLE_MACHINE] if _cuda_works() else []
    with Nvml(library) as nvml:
        boards = visible_boards(nvml)
        if boards is None:
            return [WHOLE_MACHINE]
        return [board.uuid or WHOLE_MACHINE for board in boards]


def _cuda_works() -> bool:
    """Whether torch can use a GPU; asked in another process, so that CUDA stays off in this one."""
    question = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", question], capture_output=True).returncode == 0


@contextlib.contextmanager
def lease_gpu(
    device: str = "cuda",
    *,
    exclusive: bool = True,
    gpus: Callable[[], list[str]] = enumerate_gpus,
    folder: Path | None = None,
) -> Iterator[str | None]:
    """Hold one GPU for the block and make it the only one that CUDA sees, as `cuda:0`.

    Call it before anything starts CUDA in this process; child processes inherit the choice. Waits,
    saying so, while all boards are taken. Inside another lease of this process it changes nothing.

    Args:
        device: 'cpu' leases nothing.
        exclusive: False shares the board with other leases that are not exclusive.
        gpus: lists the boards; another one only in tests.
        folder: of the locks; `lock_folder()` by default.

    Yields:
        The board's UUID; None for a CPU.

    Raises:
        UserError: the device is a GPU and there is none, or fewer than processes of this launcher.
        RuntimeError: CUDA runs in this process already, so that the board cannot be chosen.
    """
    if not device.startswith("cuda"):
        yield None
        return
    if _held:
        # A second lock of one process would wait for the first for ever.
        yield _held[-1]
        return
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("lease_gpu must come before the first use of CUDA in this process")
    candidates = gpus()
    if not candidates:
        raise UserError(
            f"device '{device}' but this process sees no NVIDIA GPU ({_why_none()}); allowed here "
            "is 'cpu': set `device: cpu` in the study, or run on a machine with a GPU"
        )
    with _one_of(candidates, folder or lock_folder(), exclusive) as uuid, _visible(uuid):
        yield uuid


@contextlib.contextmanager
def _visible(uuid: str) -> Iterator[None]:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    _held.append(uuid)
    try:
        if uuid != WHOLE_MACHINE:
            os.environ["CUDA_VISIBLE_DEVICES"] = uuid
        yield
    finally:
        _held.remove(uuid)
        if before is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@contextlib.contextmanager
def _one_of(candidates: list[str], folder: Path, exclusive: bool) -> Iterator[str]:
    """A board for this process; `torchrun` starts several, each with another board."""
    count, rank = (int(os.environ.get(f"LOCAL_{name}", given))
                   for name, given in (("WORLD_SIZE", "1"), ("RANK", "0")))  # fmt: skip
    if count == 1:
        uuid, handle = _wait_for_one(candidates, folder, exclusive)
        try:
            yield uuid
        finally:
            os.close(handle)
        return
    if count > len(candidates):
        raise UserError(
            f"{count} processes on this machine but {len(candidates)} GPU(s) for them; each takes "
            "a GPU of its own: start fewer, or use a machine with more"
        )
    told = [folder / f"launcher-{os.getppid()}-{_restarts()}-{one}.txt" for one in range(count)]
    if rank == 0:
        with _several(candidates, folder, count) as uuids:
            for path, uuid in zip(told[1:], uuids[1:], strict=True):
                path.with_suffix(".new").write_text(uuid, encoding="utf-8")
                path.with_suffix(".new").rename(path)  # whoever looks finds all of it or none
            yield uuids[0]
    else:
        while not told[rank].exists():
            time.sleep(POLL_SECONDS)
        uuid = told[rank].read_text(encoding="utf-8")
        told[rank].unlink()
        yield uuid


def _restarts() -> str:
    """Which attempt of which launcher this is; the number of a process is used again."""
    names = ("TORCHELASTIC_RUN_ID", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
    return "-".join("".join(filter(str.isalnum, os.environ.get(name, "0"))) for name in names)


@contextlib.contextmanager
def _several(candidates: list[str], folder: Path, count: int) -> Iterator[list[str]]:
    """Hold `count` boards for all processes of a launcher.

    One launcher of the machine collects at a time: two that both have some would wait for one
    another.
    """
    with contextlib.ExitStack() as held:
        _, turn = _wait_for_one([COLLECTING], folder, True)
        try:
            uuids: list[str] = []
            while len(uuids) < count:
                left = [one for one in candidates if one not in uuids]
                uuid, handle = _wait_for_one(left, folder, True)
                held.callback(os.close, handle)
                uuids.append(uuid)
        finally:
            os.close(turn)
        yield uuids


def _why_none() -> str:
    if visible_entries() == []:
        return "CUDA_VISIBLE_DEVICES hides all"
    return Nvml.why_not() or "NVML lists none"


def _wait_for_one(candidates: list[str], folder: Path, exclusive: bool) -> tuple[str, int]:
    logged = -SAY_SECONDS
    while True:
        for uuid in candidates:
            handle = _try_lock(folder / f"{uuid}.lock", exclusive)
            if handle is not None:
                return uuid, handle
        if time.monotonic() - logged >= SAY_SECONDS:
            logged = time.monotonic()
            holders = ", ".join(_holder(folder / f"{uuid}.lock") for uuid in candidates)
            log.warning("waiting for a GPU: all %d are taken (%s)", len(candidates), holders)
        time.sleep(POLL_SECONDS)


def _open(path: Path) -> int:
    """Open the lock file, making it if needed, so that any user can do the same later."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    for _ in range(10):
        try:
            # Without O_CREAT: Linux refuses that on another user's file in a sticky folder
            # (fs.protected_regular).
            return os.open(path, flags)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(handle, 0o666)  # the umask is for files, not for this one
                return handle
    raise OSError(errno.EAGAIN, "the lock file comes and goes", str(path))


def _try_lock(path: Path, exclusive: bool) -> int | None:
    """A handle that holds the lock until it is closed, or None when the lock is taken."""
    import fcntl  # not on Windows, which has no local executor with GPUs either

    handle = _open(path)
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return f"{path.stem} by process {path.read_text().strip() or 'unknown'}"
    return path.stem
