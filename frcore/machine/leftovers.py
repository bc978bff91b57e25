"""Names of temporary files and folders that say whose they are, and removing what is left over."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path

from frcore.machine.processes import Owner, this_process

ASIDE = ".old"

_TEMPORARY = re.compile(
    r"\..*\.frcore-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-(?P<started>\d+)-[a-z0-9_]{8}(\..*)?"
)

ABANDONED_SECONDS = 24 * 3600.0
"""What a process of another machine has not touched for so long is taken for left over."""


def prefix(name: str) -> str:
    """How the temporary neighbour of `name` begins; it says whose it is."""
    short = os.fsencode(name)[:150].decode(errors="ignore")  # a name has 255 bytes at most
    return ".{}.frcore-{}-{}-{}-".format(short, *this_process())


def make_room(folder: Path) -> None:
    """Make `folder`; where it is there, remove what killed processes left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # it may be read by nobody
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if ".frcore-" in entry.name]
        for found in filter(None, map(_TEMPORARY.fullmatch, names)):
            owner = Owner(found["host"], int(found["pid"]), int(found["started"]))
            with contextlib.suppress(OSError):  # another writer may do the same just now
                path = folder / found[0]
                if owner.lives if owner.is_here else _age(path) < ABANDONED_SECONDS:
                    continue
                if not path.is_dir():
                    path.unlink(missing_ok=True)
                elif path.suffix == ASIDE:
                    give_back(path)
                else:
                    shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    """Seconds since a file, or a folder or something directly in it, was changed."""
    inside = list(path.iterdir()) if path.is_dir() else []
    return time.time() - max(file.lstat().st_mtime for file in (path, *inside))


def give_back(aside: Path) -> None:
    """Put what was moved into `aside` back, or remove it where something took its place."""
    for old in aside.iterdir():
        place = aside.parent / old.name
        # Other writers may fill the place, and clear it, between any two lines.
        for _ in range(100):
            if os.path.lexists(place):
                shutil.rmtree(old, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    old.rename(place)
            if not os.path.lexists(old):
                break
    with contextlib.suppress(OSError):
        aside.rmdir()
