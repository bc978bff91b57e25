"""Atomic output: written next to its destination, then renamed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from frcore.errors import UserError
from frcore.machine.faults import refusals_told
from frcore.machine.leftovers import ASIDE, give_back, make_room, prefix


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it into place if the block succeeds.

    The suffix is kept, because writers such as pandas and matplotlib choose a format by it.
    """
    path = Path(path)
    make_room(path.parent)
    handle, name = tempfile.mkstemp(prefix=prefix(path.stem), suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    _share(temporary, 0o666)
    try:
        with refusals_told(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that a command writes, to distinguish its files from anybody else's.

    Attributes:
        title: what it is, for messages: 'a prepared data set'.
        marker: a file that every such folder has; None: a folder without one is such a folder too.
        names: what it may have in it, as patterns in which `*` is for `/` as well. Empty: the
            marker lists what was written.
    """

    title: str
    marker: str | None
    names: tuple[str, ...] = ()


@contextlib.contextmanager
def atomic_directory(path: str | Path, kind: FolderKind) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; swap it into place if the block succeeds.

    An older folder at `path` stays readable until the new one is complete. A link to a folder
    stays one: what it points to is replaced.

    Raises:
        UserError: `path` is something other than a folder of this kind.
    """
    path = Path(os.path.realpath(path))
    refuse_other_folder(path, kind)
    make_room(path.parent)
    temporary = Path(tempfile.mkdtemp(prefix=prefix(path.name), dir=path.parent))
    _share(temporary, 0o777)
    try:
        with refusals_told(path):
            yield temporary
            if kind.marker is not None and not kind.names:
                write_json(temporary / kind.marker, {"files": _files(temporary)})
            # Somebody may have put something there in the meantime.
            refuse_other_folder(path, kind)
            _swap_in(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_other_folder(path: Path, kind: FolderKind) -> None:
    """Accept what a folder of `kind` may replace: nothing, an empty folder, one of the kind.

    Raises:
        UserError: something would be lost; it is named.
    """
    while True:
        try:
            before = path.stat()
            if not stat.S_ISDIR(before.st_mode):
                raise UserError(
                    f"{path} is not a folder, as {kind.title} must be; give another name"
                )
            others = _others(path, kind)
            # Another writer may have replaced the folder, and removed what was listed here.
            if others and not os.path.samestat(before, path.stat()):
                continue
        except FileNotFoundError:
            if path.exists():
                continue
            return
        if not others:
            return
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        raise UserError(
            f"{path} contains {', '.join(others[:3])}{more}, which would be deleted; allowed is a "
            f"folder that is new, empty, or {kind.title} without other files: give another, or "
            "move its content"
        )


def _others(folder: Path, kind: FolderKind) -> list[str]:
    """What in `folder` is not of the kind."""
    entries = sorted(path.name for path in folder.iterdir() if not _is_of_the_system(path.name))
    if kind.marker is not None and kind.marker not in entries:
        return entries
    files = _files(folder)
    if kind.names:
        return [name for name in files if not any(fnmatchcase(name, p) for p in kind.names)]
    assert kind.marker is not None
    try:
        written = {kind.marker, *read_json(folder / kind.marker)["files"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return files
    return [name for name in files if name not in written]


def _files(folder: Path) -> list[str]:
    """The files in `folder` and below, and links to folders, relative to it."""
    found = []
    for place, folders, files in os.walk(folder):
        below = Path(place).relative_to(folder)
        links = [name for name in folders if Path(place, name).is_symlink()]
        found += [below / name for name in files + links if not _is_of_the_system(name)]
    return sorted(path.as_posix() for path in found)


def _is_of_the_system(name: str) -> bool:
    """What file managers and file systems put anywhere."""
    return name in (".DS_Store", "Thumbs.db", "desktop.ini") or name.startswith(".nfs")


def refuse_other_file(path: Path, mark: str | None, title: str) -> None:
    """Let pass what may be replaced by a file of ours: nothing, an empty one, one with the mark.

    Args:
        path: of the file.
        mark: a text that is within the first 4096 bytes of every such file; None: there is none.
        title: what it is, for the message: 'an evaluation'.

    Raises:
        UserError: another file exists there.
    """
    if not os.path.lexists(path):
        return
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(4096)
        if not head or (mark is not None and mark.encode() in head):
            return
    raise UserError(
        f"{path} exists and is not {title}, so it is not overwritten; give another name, or move "
        "it away"
    )


def refuse_overlap(out: Path, sources: Iterable[Path], *, inside: bool = True) -> None:
    """Refuse a folder that is or contains a source or, if `inside`, is inside one.

    Raises:
        UserError: the output would replace its source, or become a part of it.
    """
    place = Path(os.path.realpath(out))
    for source in sources:
        other = Path(os.path.realpath(source))
        if other.is_relative_to(place) or (inside and place.is_relative_to(other)):
            raise UserError(
                f"the output {out} and its source {source} are one folder, or one is in the other; "
                "give a separate folder"
            )


def _swap_in(temporary: Path, path: Path) -> None:
    """Move the folder `temporary` to `path`; if that fails, the old folder is restored.

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
        aside = Path(tempfile.mkdtemp(prefix=prefix(path.name), suffix=ASIDE, dir=path.parent))
        try:
            with contextlib.suppress(FileNotFoundError):  # another writer has just moved it
                path.rename(aside / path.name)
            temporary.rename(path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            give_back(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places at once, if the system and the file system can."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # no Linux, or an old one
        return False
    here = ctypes.c_int(-100)  # AT_FDCWD: paths are relative to the working directory
    at_once = ctypes.c_uint(2)  # RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), at_once) == 0)


def _share(temporary: Path, mode: int) -> None:
    """`tempfile` makes things private to the user; results are meant to be read by colleagues."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(mode & ~umask)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        # Bytes of file names that are not text become escapes, which JSON reads back.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def as_json(value: Any) -> str:
    """`value` as indented JSON; NaN is refused because JSON has none."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused because JSON has none."""
    write_text(path, as_json(value))


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
