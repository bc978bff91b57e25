"""A file system of a few megabytes, which a test fills."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = 4096


class SmallDisk:
    """A tmpfs at `folder`; what is to be written belongs into `folder / "w"`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.work = folder / "w"
        self._ballast = folder / "ballast"

    def free(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def leave(self, free: int) -> None:
        """Fill the disk until `free` bytes are left, rounded up to whole pages."""
        self.clear()
        pages = self.free() // PAGE - -(-free // PAGE)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, pages * PAGE)

    def clear(self) -> None:
        """Take away what fills it."""
        self._ballast.unlink(missing_ok=True)

    def remount(self, options: str) -> None:
        """Change how it is mounted: `ro`, `rw`, `size=20m`."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.folder)], check=True)

    def names(self) -> set[str]:
        """All that lies below `work`, folders too."""
        return {path.relative_to(self.work).as_posix() for path in self.work.rglob("*")}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 16 MiB, mounted for the test; skipped where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "small", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no command `mount`")
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted (root can): {done.stderr.strip()}")
    try:
        disk = SmallDisk(folder)
        disk.work.mkdir()
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
