"""The files of a data set that lies in several: which ones, and in what order."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from frcore.errors import UserError

_BRACES = re.compile(r"\{([^{}]*)\}")


def find_shards(root: str | Path, pattern: str, what: str) -> list[Path]:
    """The file `root`, or the files below the folder `root` that match `pattern`, sorted by name.

    Hidden files and folders are left out.

    Args:
        root: a file or folder.
        pattern: a glob, in which `{a,b}` stands for either.
        what: they should be, for messages.

    Raises:
        UserError: there is none, or the pattern leads out of the folder.
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
            f"{root} holds no file that matches {pattern!r}; correct `root` or `pattern`"
        )
    return [root.resolve() / path.relative_to(root) for path in sorted(shown)]


def expanded(pattern: str) -> list[str]:
    """The patterns that one with braces stands for.

    >>> expanded("train-*.{parquet,arrow}")
    ['train-*.parquet', 'train-*.arrow']
    """
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [one for choice in braces[1].split(",") for one in expanded(before + choice + after)]


def shard_names(shards: list[Path]) -> list[str]:
    """A short name of each that no other has: the file's, or else its path below a common folder.

    >>> shard_names([Path("/d/a/0.tar"), Path("/d/b/0.tar")])
    ['a/0.tar', 'b/0.tar']
    """
    names = [path.name for path in shards]
    if len(set(names)) == len(names):
        return names
    depth = next(
        at
        for at, parts in enumerate(zip(*(path.parts for path in shards), strict=False))
        if len(set(parts)) > 1
    )
    return ["/".join(path.parts[depth:]) for path in shards]
