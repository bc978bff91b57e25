"""Data sets in several files: which files, in which order, and the images in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np
import pandas as pd

from frcore.data.contents import EncodedImages
from frcore.data.source import File, Source
from frcore.errors import UserError

_BRACES = re.compile(r"\{([^{}]*)\}")


class ShardSource(Source):
    """A data section with the `root` and `pattern` of several files."""

    what: ClassVar[str]
    """What to call a file of this kind in messages."""

    def paths(self) -> list[Path]:
        """The files, in order."""
        return find_shards(self.section.root, self.section.pattern, self.what)

    def files(self) -> Iterator[File]:
        root = Path(self.section.root).resolve()
        for path in self.paths():
            yield path.relative_to(root).as_posix() if root.is_dir() else path.name, path


class ShardImages(EncodedImages):
    """The encoded images in several files.

    Args:
        paths: the files.
        table: for each image, the index of its file in `paths` and its position in that file.
        settings: of the reader, JSON.
    """

    file_column: ClassVar[str]
    """The column of the table with the index of the file."""

    def __init__(self, paths: Sequence[str | Path], table: pd.DataFrame, **settings: str):
        super().__init__({"paths": [str(path) for path in paths], **settings}, table)
        self.paths = [Path(path) for path in paths]
        self.file = table[self.file_column].to_numpy(np.int64)
        if len(table) and not (self.file.min() >= 0 and self.file.max() < len(paths)):
            raise ValueError(f"{self.file_column} {self.file.max()} of {len(paths)}")

    def files(self) -> list[Path]:
        return self.paths


def find_shards(root: str | Path, pattern: str, what: str) -> list[Path]:
    """The file `root`, or the files below the folder `root` that match `pattern`, sorted by name.

    Hidden files and folders are left out.

    Args:
        root: a file or folder.
        pattern: a glob, in which `{a,b}` matches either.
        what: what to call such a file in messages.

    Raises:
        UserError: there are no such files, or the pattern leads out of the folder.
    """
    root = Path(root)
    if root.is_file():
        return [root.resolve()]
    if not root.is_dir():
        raise UserError(f"{root} does not exist; give {what}, or a folder of them, as `root`")
    parts = PurePosixPath(pattern)
    if parts.is_absolute() or ".." in parts.parts or not pattern:
        raise UserError(f"the pattern {pattern!r} leads out of {root}; give one below it")
    found = {path for each in expanded(pattern) for path in root.glob(each) if path.is_file()}
    shown = [p for p in found if not any(part[0] == "." for part in p.relative_to(root).parts)]
    if not shown:
        raise UserError(
            f"{root} contains no file that matches {pattern!r}; correct `root` or `pattern`"
        )
    return [root.resolve() / path.relative_to(root) for path in sorted(shown)]


def expanded(pattern: str) -> list[str]:
    """The patterns that a pattern with braces expands to.

    >>> expanded("train-*.{parquet,arrow}")
    ['train-*.parquet', 'train-*.arrow']
    """
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [one for choice in braces[1].split(",") for one in expanded(before + choice + after)]


def shard_names(shards: list[Path]) -> list[str]:
    """A short, unique name for each: the file name, or else the path below a common folder.

    >>> shard_names([Path("/d/a/0.tar"), Path("/d/b/0.tar")])
    ['a/0.tar', 'b/0.tar']
    """
    names = [path.name for path in shards]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath(shards)
    return [path.relative_to(common).as_posix() for path in shards]
