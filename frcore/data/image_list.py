"""Training sets given by a list: a text file with path and label of each image.

Three layouts, found by their fields:

- `path label`, `path,label` or a tab between: the separator is the first of tab, comma and space
  that every line has; the label is what follows the last one, so that paths may hold spaces.
- im2rec's `.lst`: index, label, path, separated by tabs (mxnet `tools/im2rec.py`).
- InsightFace's older `.lst`: aligned (0 or 1), path, label and perhaps a box and landmarks,
  separated by tabs (insightface `deploy/face2rec2.py`). Only aligned images are taken.

Lines end in LF or CRLF; a byte-order mark is allowed; the text is UTF-8.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.encoded import EncodedFiles
from frcore.data.images import refuse
from frcore.data.labels import of_texts, write_labelled
from frcore.data.text_table import is_number
from frcore.data_config import Image, ImageList
from frcore.errors import UserError

_BLOCK_BYTES = 2**24
"""Of lines that are taken apart at once."""
_LONGEST_LINE = 65_536
_COLUMNS = {"line": "int64", "path": "str", "label": "str"}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Entries(NamedTuple):
    """The lines of a list."""

    paths: pd.Series
    """(N,): below the root, with `/`."""
    labels: pd.Series
    """(N,), text."""
    lines: NDArray[np.int64]
    """(N,): line numbers from 1."""


def write_list(spec: ImageList, image: Image, out: Path, about: dict[str, Any],
               workers: int | None) -> None:  # fmt: skip
    """Write a training set from a list of images to the folder `out`."""
    root = Path(spec.root)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give the one that the list's paths start from")
    path = root / spec.list if (root / spec.list).is_file() else Path(spec.list)
    entries = read_list(path)
    refuse_missing(root, path, entries)

    def where(row: int) -> str:
        return f"{path}:{entries.lines[row]}"

    labels = of_texts(entries.labels, spec, where, f"list/{path.stem}")
    source = EncodedFiles(root, entries.paths)
    write_labelled(source, labels, spec, image, out, about, workers)


def read_list(path: Path) -> Entries:
    """Read a list; empty lines are passed over.

    Raises:
        UserError: it is missing, empty, not UTF-8, a line is malformed, a path leads out of its
            root, or stands twice.
    """
    layout = _Layout.of(path)
    parts: list[pd.DataFrame] = []
    problems: list[str] = []
    for number, block in _blocks(path):
        good: list[tuple[int, str, str]] = []
        for at, text in enumerate(block, number):
            if not text.strip():
                continue
            entry = layout.split(text)
            if isinstance(entry, str):
                problems.append(f"{path}:{at}: {entry}, got {text[:100]!r}")
            else:
                good.append((at, *entry))
        # As columns a line takes a tenth of what it takes as Python objects.
        parts.append(pd.DataFrame(good, columns=["line", "path", "label"]).astype(_COLUMNS))
    refuse("lines of the list cannot be used", problems, "Correct these lines")
    table = pd.concat(parts, ignore_index=True)
    entries = Entries(table["path"], table["label"], table["line"].to_numpy(np.int64))
    _refuse_twice(path, entries)
    return entries


class _Layout(NamedTuple):
    """How a line is taken apart."""

    separator: str | None
    """None: any run of blanks."""
    path: int | None = None
    """Which field is the path; None: all before the last separator."""
    label: int = 1
    aligned: int | None = None
    """Which field says whether the image is aligned."""
    fields: int | None = None
    """How many there must be."""

    @classmethod
    def of(cls, path: Path) -> _Layout:
        """Look through the whole list: one exceptional line must not decide."""
        tabs, commas, count, numeric = set(), True, 0, True
        for _, block in _blocks(path):
            for text in block:
                if not text.strip():
                    continue
                count += 1
                tabs.add(text.count("\t"))
                commas = commas and "," in text
                if numeric and text.count("\t") >= 2:
                    numeric = is_number(text.split("\t")[1])
        if not count:
            raise UserError(f"{path} is empty; a list has a line `path label` for each image")
        if min(tabs) >= 2 and numeric:
            return cls("\t", path=2, label=1, fields=3)
        if min(tabs) >= 2:
            return cls("\t", path=1, label=2, aligned=0)
        if min(tabs) == 1:
            return cls("\t")
        return cls("," if commas else None)

    def split(self, text: str) -> tuple[str, str] | str:
        """Path and label of a line, or what is wrong with it."""
        if self.path is None:
            parts = text.strip().rsplit(self.separator, 1)
            if len(parts) != 2 or not parts[1].strip():
                return "a line is a path and a label"
            path, label = parts[0].strip(), parts[1].strip()
        else:
            parts = text.split("\t")
            if len(parts) <= max(self.path, self.label) or len(parts) > (self.fields or len(parts)):
                return f"{len(parts)} fields between tabs, but other lines have another number"
            if self.aligned is not None and parts[self.aligned].strip() != "1":
                return "the image is not aligned (the first field is not 1)"
            path, label = parts[self.path].strip(), parts[self.label].strip()
        return _why_outside(path) or (path.removeprefix("./"), label)


def _why_outside(path: str) -> str | None:
    """Why a path of the list may not be used."""
    if not path or _CONTROL.search(path):
        return "the path is empty or has control characters"
    if path.startswith(("/", "\\")) or path[1:2] == ":":
        return "the path is absolute; paths must be relative to `root`"
    parts = path.removeprefix("./").replace("\\", "/").split("/")
    if ".." in parts:
        return "the path leads out of its folder"
    # Otherwise one image could stand twice under two names.
    return "the path has an empty part or a '.'" if "" in parts or "." in parts else None


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a text file, some at a time: the number of the first, and their texts."""
    number, rest = 1, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_BLOCK_BYTES):
                *block, rest = (rest + chunk).split(b"\n")
                yield number, [_text(path, number + at, raw) for at, raw in enumerate(block)]
                number += len(block)
                if len(rest) > _LONGEST_LINE:
                    break
        yield number, [_text(path, number, rest)]
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; check `list`, which is looked for below "
            "`root` and from the current folder"
        ) from error


def _text(path: Path, line: int, raw: bytes) -> str:
    if len(raw) > _LONGEST_LINE or b"\0" in raw:
        raise UserError(f"{path}:{line}: not a line of text; is this the list, and not an image?")
    try:
        return raw.decode("utf-8-sig" if line == 1 else "utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{line}: not UTF-8; save the list as UTF-8 text") from error


def _refuse_twice(path: Path, entries: Entries) -> None:
    again = np.flatnonzero(entries.paths.duplicated())
    if not len(again):
        return
    of = entries.paths.iloc[again]
    first = entries.paths[entries.paths.isin(set(of))].drop_duplicates()
    lines = dict(zip(first, entries.lines[first.index], strict=True))
    refuse(
        "images stand twice in the list",
        [
            f"{path}:{entries.lines[row]}: {name!r} stands already in line {lines[name]}"
            for row, name in zip(again, of, strict=True)
        ],
        "Leave one line of each",
    )


def refuse_missing(root: Path, path: Path, entries: Entries) -> None:
    """Refuse images that are not there, or that symbolic links lead out of the folder to.

    Raises:
        UserError: there are such images.
    """
    inside = root.resolve()
    folders: dict[str, bool] = {}

    def is_inside(folder: str) -> bool:
        if folder not in folders:
            folders[folder] = (inside / folder).resolve().is_relative_to(inside)
        return folders[folder]

    problems = []
    for line, name in zip(entries.lines, entries.paths, strict=True):
        reason = _why_missing(inside, name, is_inside(str(PurePosixPath(name).parent)))
        if reason:
            problems.append(f"{path}:{line}: {name!r} {reason}")
    refuse(f"images of the list cannot be found below {root}", problems,
           "Complete the folder, or correct `root` or the list")  # fmt: skip


def _why_missing(root: Path, name: str, folder_is_inside: bool) -> str | None:
    leads_out = "leads out of the folder by a symbolic link"
    if not folder_is_inside:
        return leads_out
    file = root / name
    try:
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            if not file.resolve().is_relative_to(root):
                return leads_out
            mode = file.stat().st_mode
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if stat.S_ISREG(mode) else "is not a file"
