"""What the system refuses (space, permission, memory), reported like a user's mistakes.

An exception is classified by its errno, or by that of an exception behind it: torch
and zipfile fail again, with another error, while they close a file on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from frcore.errors import UserError

AGAIN = "then run the same command again: nothing that was finished is lost"
"""True of every command: files are replaced whole, and training resumes from its checkpoint."""

_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
_NO_PATH = frozenset((errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP))
_BROKEN = (errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ENOTCONN)
_MESSAGES = {
    (errno.EROFS,): "its file system is mounted read-only; choose a folder that can be written, or "
    "have it mounted for writing",
    (errno.EACCES, errno.EPERM): "permission denied, as it belongs to another user or is "
    "protected; choose another folder, or change the owner or the rights (ls -ld, chown, chmod)",
    (errno.EMFILE, errno.ENFILE): "{reason_lower}{files}; raise the limit (ulimit -n 4096)",
    _BROKEN: "the disk, or the network "
    "behind it, fails ({reason}); see what the system says about it (dmesg) and whether it is "
    "mounted",
    (errno.EDQUOT,): "your quota on this file system is used up (quota -s); delete there what you "
    "do not need, or choose a folder elsewhere",
    (errno.EFBIG,): "the file becomes larger than its file system or the limit on files "
    "allows{size}; choose another folder, or raise the limit (ulimit -f unlimited)",
}
"""What each errno means for a file, and what to do; `AGAIN` follows."""

_OPENCV_NO_MEMORY = -4

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class RefusedError(UserError):
    """The system refused space, permission or memory: neither input nor program is to blame."""


@contextlib.contextmanager
def refusals_told(place: Path) -> Iterator[None]:
    """Report at once what the system refuses while something is written at `place`.

    Not at the end of the command: by then what was half-written has been removed, and a full disk
    has room again.

    Raises:
        RefusedError: instead of the error of the system or of a library.
    """
    try:
        yield
    except Exception as error:
        refused = refusal(error, place)
        if refused is None or refused is error:
            raise
        raise refused from error


def refusal(
    error: BaseException, place: Path | None = None, *, of_paths: bool = True
) -> RefusedError | None:
    """What the system refused, if that is behind `error`.

    Args:
        error: anything that was raised.
        place: what was being written, for errors that do not say which file they are about.
        of_paths: whether a path that names no such file is one. It is not behind a `UserError`,
            which says more about it; whose remedy, "prepare the data again", is none for the rest.
    """
    for cause in _chain(error):
        if isinstance(cause, RefusedError):
            return cause
        of_paths = of_paths and not isinstance(cause, UserError)
        message = _memory(str(cause)) if is_out_of_memory(cause) else None
        if message is None and isinstance(cause, OSError):
            message = _of_file(cause, place, of_paths)
        if message is not None:
            return RefusedError(message)
    return None


def raise_refusal(error: BaseException) -> None:
    """Raise what the system refused, if that is behind `error`.

    For code that skips unreadable files: one that could not be opened for lack of memory is not
    damaged.

    Raises:
        RefusedError: permission, memory or file handles were refused, or the disk fails.
    """
    refused = refusal(error, of_paths=False)
    if refused is not None:
        raise refused from error


def ended_worker(code: int | None = None) -> UserError:
    """The error to raise when a worker process of this one died.

    Args:
        code: its exit code as `multiprocessing` reports it, if known.
    """
    name = signal.Signals(-code).name if code is not None and code < 0 else ""
    how = f" by {name}" if name else "" if code is None else f", with exit code {code}"
    if name == "SIGBUS":
        why = "a full or failing disk: check its free space (df) and the system's log (dmesg)"
    else:
        why = "lack of memory: give it more, or let it use fewer processes (--cores, --processes)"
    return UserError(
        f"a process of this command was ended from outside{how}; the usual cause is {why}, {AGAIN}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the system refused memory; torch's own errors are known by name."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or getattr(error, "code", None) == _OPENCV_NO_MEMORY
        or any(part in str(error) for part in (*_NO_MEMORY, *_NO_THREAD))
    )


_NO_MEMORY = ("can't allocate memory", "std::bad_alloc", "failed to map segment from shared object")
_NO_THREAD = ("can't start new thread", "Failed to launch worker thread")
"""Texts of torch, C++ and the loader of libraries (an ImportError); and of Python and pyarrow."""


def bytes_asked(message: str) -> int | None:
    """The size of the refused allocation, from an allocator's message.

    >>> bytes_asked("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has ...")
    1610612736
    >>> bytes_asked("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.")
    4096
    >>> bytes_asked("Unable to allocate 7.45 GiB for an array with shape (1000000000,)")
    7999376588
    """
    found = re.search(rf"(?:ried|nable) to allocate ([\d.]+) ({'|'.join(_UNITS)})", message)
    return None if found is None else int(float(found[1]) * _UNITS[found[2]])


def reserve(path: Path, size: int) -> None:
    """Give the file `path` its `size` bytes on the disk.

    A file that was only extended has holes, and when the disk is full, writing into a hole of a
    mapped file kills the process by SIGBUS without a message.

    Raises:
        RefusedError: the disk does not have enough space.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot reserve
            return
        message = _full(path, size) if error.errno == errno.ENOSPC else None
        raise (RefusedError(message) if message else error) from error


def readable(count: float) -> str:
    """Bytes in a readable unit.

    >>> readable(0), readable(1536), readable(3 * 2**30)
    ('0 bytes', '1.5 KiB', '3.0 GiB')
    """
    for unit, factor in reversed(_UNITS.items()):
        if count >= factor > 1:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from or while handling."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        yield at
        seen.add(id(at))
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)


def _of_file(error: OSError, place: Path | None, of_paths: bool) -> str | None:
    """The file or folder, its problem and what to do; None if the system is not the cause."""
    # The second is the target of a copy; only that can run out of space.
    named = error.filename2 if error.errno in _FULL and error.filename2 else error.filename
    path = Path(os.fsdecode(named)) if isinstance(named, str | bytes | os.PathLike) else place
    code, reason = error.errno, error.strerror
    if code is None and "requested and" in str(error):  # numpy counts, and does not say why
        code = errno.ENOSPC
    if code in _FULL and place is not None and (path is None or _mount(place) == _mount(path)):
        path = place  # the file that the user knows, not the temporary one beside it
    where = "a file" if path is None else str(path)
    if code == errno.ENOSPC:
        return _full(path)
    for codes, message in _MESSAGES.items():
        if code in codes:
            message = message.format(
                reason=reason, reason_lower=str(reason).lower(),
                files=_limit("RLIMIT_NOFILE"), size=_limit("RLIMIT_FSIZE"),
            )  # fmt: skip
            return f"{where}: {message}, {AGAIN}"
    if of_paths and code in _NO_PATH:
        return f"{where}: {str(reason).lower()}; give another path"
    if code == errno.ENOENT and "temporary directory" in str(error):
        return (
            "no folder for temporary files can be written; free some space in "
            f"{os.environ.get('TMPDIR', '/tmp')}, or set TMPDIR to a folder with room, {AGAIN}"
        )
    return None


def _full(path: Path | None, size: int | None = None) -> str:
    """The message that `path` is full: how much is free, and what to do."""
    if path is None:  # not a file: standard output
        return (
            "no space left for the output of this command, a log or the file behind `>`; "
            f"free some there, {AGAIN}"
        )
    mount = _mount(path)
    found = os.statvfs(mount)
    if found.f_files and not found.f_favail:
        return (
            f"{path}: the file system at {mount} can hold no more files (all its "
            f"{found.f_files:,} inodes are in use); delete files there, or choose a folder "
            f"elsewhere, {AGAIN}"
        )
    needed = "" if size is None else f"{readable(size)} are needed, "
    free, total = (readable(n * found.f_frsize) for n in (found.f_bavail, found.f_blocks))
    return (
        f"{path}: no space left on the file system at {mount} ({needed}{free} of {total} are "
        f"free); free some, or choose a folder elsewhere, {AGAIN}"
    )


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _mount(path: Path) -> Path:
    """Where the file system of `path`, which need not exist, is mounted."""
    path = existing(path).resolve()
    while not path.is_mount():
        path = path.parent
    return path


def _memory(text: str) -> str:
    """The message that memory ran out: how much was requested, and what to do."""
    asked = bytes_asked(text)
    more = "" if asked is None else f" when {readable(asked)} more were requested"
    if "CUDA" in text:
        message = (
            f"the memory of the GPU ran out{more}; use a smaller batch_size, or end other programs "
            "on the GPU (nvidia-smi)"
        )
    elif any(part in text for part in _NO_THREAD):
        message = (
            "the system cannot start more threads: memory, or the limit on processes"
            f"{_limit('RLIMIT_NPROC')}, is exhausted; end other programs, or raise it (ulimit -u)"
        )
    else:
        limit = _limit("RLIMIT_AS", "RLIMIT_DATA", size=True)
        message = (
            f"memory ran out{more}{limit}; give the job more (mem_mb on a cluster, ulimit -v), run "
            "fewer at once (--cores, --processes), or use a smaller batch_size"
        )
    return f"{message}, {AGAIN}"


def _limit(*names: str, size: bool = False) -> str:
    """The lowest of this process's limits, in brackets; empty if there is none."""
    with contextlib.suppress(ImportError):
        import resource

        limits = [resource.getrlimit(getattr(resource, name))[0] for name in names]
        finite = [limit for limit in limits if limit != resource.RLIM_INFINITY]
        if finite:
            return f" (the limit is {readable(min(finite)) if size else f'{min(finite):,}'})"
    return ""
