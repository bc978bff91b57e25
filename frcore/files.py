"""Output that appears whole or not at all: written beside its place, then renamed into it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frcore.faults import refusals_told
from frcore.processes import Owner, this_process


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place if the block succeeds.

    The suffix is kept, because writers such as pandas and matplotlib choose a format by it.
    """
    path = Path(path)
    _make_room(path.parent)
    handle, name = tempfile.mkstemp(prefix=_prefix(path.stem), suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    _share(temporary, 0o666)
    try:
        with refusals_told(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(path: str | Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; swap it into place if the block succeeds.

    An older folder at `path` stays readable until the new one is complete. A link to a folder
    stays one: what it points to is replaced.
    """
    path = Path(os.path.realpath(path))
    _make_room(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=_prefix(path.name), dir=path.parent))
    _share(temporary, 0o777)
    try:
        with refusals_told(path):
            yield temporary
            _swap_in(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap_in(temporary: Path, path: Path) -> None:
    """Put the folder `temporary` at `path`; if that fails, what was there is there again.

    Others may do the same at the same time: each moves whole folders, and the last one stays.
    """
    while True:
        try:
            temporary.rename(path)  # where nothing or an empty folder is
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if _exchange(temporary, path):
            return
        aside = Path(tempfile.mkdtemp(prefix=_prefix(path.name), suffix=_ASIDE, dir=path.parent))
        try:
            with contextlib.suppress(FileNotFoundError):  # another writer has just moved it
                path.rename(aside / path.name)
            temporary.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            _give_back(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once, if the system and the file system can."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # no Linux, or an old one
        return False
    here = ctypes.c_int(-100)  # AT_FDCWD: paths are relative to the working directory
    at_once = ctypes.c_uint(2)  # RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), at_once) == 0)


_ASIDE = ".old"

_TEMPORARY = re.compile(
    r"\..*\.frcore-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<started>\d+)-[a-z0-9_]{8}(\..*)?"
)

ABANDONED_SECONDS = 24 * 3600.0
"""What a process of another machine has not touched for so long is taken for left over."""


def _prefix(name: str) -> str:
    """How the temporary neighbour of `name` begins; it says whose it is."""
    short = os.fsencode(name)[:150].decode(errors="ignore")  # a name has 255 bytes at most
    return ".{}.frcore-{}-{}-{}-".format(short, *this_process())


def _make_room(folder: Path) -> None:
    """Make `folder`; where it is there, remove what killed processes left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # it may be read by nobody
        names = [path.name for path in folder.iterdir() if ".frcore-" in path.name]
        for found in filter(None, map(_TEMPORARY.fullmatch, names)):
            owner = Owner(found["host"], int(found["pid"]), int(found["started"]))
            with contextlib.suppress(OSError):  # another writer may do the same just now
                path = folder / found[0]
                if not (owner.lives if owner.is_here else _age(path) < ABANDONED_SECONDS):
                    _remove(path)


def _age(path: Path) -> float:
    """Seconds since a file, or a folder or something directly in it, was changed."""
    inside = list(path.iterdir()) if path.is_dir() else []
    return time.time() - max(file.lstat().st_mtime for file in (path, *inside))


def _remove(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif path.suffix == _ASIDE:
        _give_back(path)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _give_back(aside: Path) -> None:
    """Put what was moved into `aside` back, or remove it where something took its place."""
    for old in aside.iterdir():
        place = aside.parent / old.name
        with contextlib.suppress(OSError):
            if not os.path.lexists(place):
                old.rename(place)
        if os.path.lexists(place):
            shutil.rmtree(old, ignore_errors=True)
    with contextlib.suppress(OSError):
        aside.rmdir()


def _share(temporary: Path, mode: int) -> None:
    """`tempfile` makes things private to the user; results are meant to be read by colleagues."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(mode & ~umask)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        # Bytes of file names that are no text become escapes, which JSON reads back.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256_of_file(path: str | Path) -> str:
    """The sha256 of a file, in hexadecimal digits, as `sha256sum` gives it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_json(value: Any) -> str:
    """A hash of a JSON-able value that does not depend on key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
