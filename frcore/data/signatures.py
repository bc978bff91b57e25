"""Short signatures of the content of data and models, which do not depend on their location.

Snakemake compares the parameters of a rule. Paths are not among them
(`frcore.study.section.Place`); instead there is a signature of all files that a section of a study
is read from, as listed by its source (`frcore.data.source.Source.files`). By content it changes
with any byte or name; by stat with sizes, modification times and names, which is fast for millions
of files. What stat can miss: docs/data.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from frcore.data.refusal import refuse
from frcore.data.source import File, open_source, place_of
from frcore.errors import UserError
from frcore.files import sha256_of_file, write_text

By = Literal["auto", "content", "stat"]

MEMORY = Path(".snakemake/frcore")
"""Cache between calls, next to Snakemake's own records."""

CONTENT_BYTES, CONTENT_FILES = 2**30, 50_000
"""Sources up to this size are compared by content if `signature` is auto: reading them for the
first time takes about as long as starting Snakemake."""

_NOT_ABOUT_FILES = {
    "check", "fars", "identities", "json_key", "label", "labels", "min_images", "on_bad_image",
    "published_as", "repeated_pairs", "storage",
}  # fmt: skip
"""Settings that do not decide which files are read."""

_SETTLED_NS = 2 * 10**9
"""A file changed this recently can change again without a new modification time."""


class Signature(NamedTuple):
    """What files contain.

    Attributes:
        by: `content` or `stat`.
        digest: hexadecimal digits.
    """

    by: Literal["content", "stat"]
    digest: str

    def __str__(self) -> str:
        return f"{self.by}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Signature:
        """The signature with this text.

        Raises:
            UserError: it is not a signature.
        """
        by, _, digest = text.partition(":")
        if by == "content" or by == "stat":
            return cls("content" if by == "content" else "stat", digest)
        raise UserError(
            f"--signature '{text}'; allowed is content:DIGITS or stat:DIGITS, as passed by "
            "Snakemake; omit the option"
        )


NOTHING = Signature("content", "none")
"""The signature of synthetic data, which are read from no file."""


def sign(data: Any, by: By = "auto") -> Signature:
    """The signature of what a data section of a study is read from.

    Args:
        data: the section.
        by: what to compare; `auto` chooses by size.

    Raises:
        UserError: a file is missing, cannot be read, or should list other files but does not, so
            that the study is impossible.
    """
    if place_of(data) is None:
        return NOTHING
    return sign_files(open_source(data).files(), by, data)


def sign_files(files: Iterable[File], by: By, section: Any) -> Signature:
    """As `sign`, for the `files` that any `section` of a study is read from."""
    try:
        return _signed(_stamped(files), by, section)
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read: {error.strerror}; the study needs it: put it there "
            "or make it readable"
        ) from error


def _signed(stamped: Iterator[Stamped], by: By, section: Any) -> Signature:
    if by == "auto":
        first = _while_small(stamped)
        by = "content" if first and first[-1] is None else "stat"
        stamped = itertools.chain((one for one in first if one is not None), stamped)
    if by == "stat":
        return Signature("stat", _digest(
            f"{name}\0{stat.st_size} {stat.st_mtime_ns}\n" if stat else f"{name}\0\n"
            for name, _, stat in stamped
        ))  # fmt: skip
    with Hashes.beside_snakemake(section) as hashes:
        return Signature("content", _digest(
            f"{name}\0{hashes.of(path, stat) if stat else ''}\n" for name, path, stat in stamped
        ))  # fmt: skip


def _digest(lines: Iterator[str]) -> str:
    """A hash of lines of text, possibly millions."""
    digest = hashlib.sha256()
    while block := "".join(itertools.islice(lines, 1000)):
        digest.update(block.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:24]


Stamped = tuple[str, str | Path, os.stat_result | None]
"""Name, path and stat of a file; None if only the name matters."""


def _stamped(files: Iterable[File]) -> Iterator[Stamped]:
    problems: list[str] = []
    for name, path in files:
        if path is None:
            yield name, "", None
            continue
        try:
            stat = os.stat(path)  # noqa: PTH116  # a Path for each of a million files takes longer
        except OSError as error:
            problems.append(f"{path}: {error.strerror}")
            continue
        yield name, path, stat
    refuse("files cannot be read", problems,
           "Complete the data, or remove them from the list that names them")  # fmt: skip


def _while_small(stamped: Iterator[Stamped]) -> list[Stamped | None]:
    """The first files up to the limits of `auto`; None at the end if these are all."""
    first: list[Stamped | None] = []
    size = 0
    for one in stamped:
        first.append(one)
        size += one[2].st_size if one[2] else 0
        if size > CONTENT_BYTES or len(first) > CONTENT_FILES:
            return first
    return [*first, None]


def files_key(section: Any) -> str:
    """Equal for sections that are read from the same files."""
    return str(section.model_dump_json(exclude=_NOT_ABOUT_FILES))


class Hashes:
    """Cached sha256 of files, recomputed only if a file's size or times differ.

    A file is identified by its inode, which it keeps when it is moved.

    Args:
        memory: the cache file; None: no cache.
        update: whether to write the requested hashes to the cache.
    """

    def __init__(self, memory: Path | None, *, update: bool = True):
        self._memory, self._update = memory, update
        self._known: dict[str, list[Any]] = {}
        self._used: dict[str, list[Any]] = {}

    @classmethod
    def beside_snakemake(cls, section: Any, *, update: bool = True) -> Hashes:
        """The hashes of a section, cached if Snakemake's folder exists."""
        if not MEMORY.parent.is_dir():
            return cls(None)
        key = hashlib.sha256(files_key(section).encode()).hexdigest()[:16]
        return cls(MEMORY / "hashes" / f"{key}.json", update=update)

    def __enter__(self) -> Hashes:
        if self._memory is not None:
            with contextlib.suppress(OSError, ValueError, TypeError):
                self._known = dict(json.loads(self._memory.read_text(encoding="utf-8")))
        return self

    def __exit__(self, *_: object) -> None:
        if self._memory is not None and self._update and self._used != self._known:
            # What cannot be cached is computed again next time.
            with contextlib.suppress(OSError):
                write_text(self._memory, json.dumps(self._used))

    def of(self, path: str | Path, stat: os.stat_result) -> str:
        """The sha256 of the file `path`, in hexadecimal digits.

        Raises:
            OSError: it cannot be read.
        """
        number = f"{stat.st_dev}:{stat.st_ino}"
        # Unlike the modification time, ctime cannot be set by a program.
        stamps = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        known = self._known.get(number)
        if known is None or known[:-1] != stamps:
            try:
                known = [*stamps, sha256_of_file(path)]
            except PermissionError:
                return "cannot be read"  # Its reader reports it or leaves it out.
        if time.time_ns() - max(stamps[1:]) > _SETTLED_NS:
            self._used[number] = known
        return str(known[-1])
