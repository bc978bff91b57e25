"""Training sets given by a list: a text file with the path and label of each image.

Three layouts, detected by their fields:

- `path label`, `path,label` or tab-separated: the separator is the first of tab, comma and space
  that every line has; the label follows the last one, so that paths may contain spaces. If every
  line ends in an image suffix it is `label path`, and the label precedes the first separator.
- im2rec's `.lst`: index, label, path, separated by tabs (mxnet `tools/im2rec.py`).
- InsightFace's older `.lst`: aligned (0 or 1), path, label and possibly a box and landmarks,
  separated by tabs (insightface `deploy/face2rec2.py`). Only aligned images are used.

Lines end in LF or CRLF; a byte-order mark is allowed; the text is UTF-8.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.contents import Contents, EncodedFiles
from frcore.data.labels import labelled, of_texts
from frcore.data.names import NamesOnDisk
from frcore.data.pixels.picture_kinds import SUFFIXES
from frcore.data.refusal import refuse
from frcore.data.source import File, Source, below
from frcore.data.text_table import is_number
from frcore.errors import UserError

_BLOCK_BYTES = 2**24
"""Size of the blocks of lines that are parsed at once."""
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


class ListSource(Source):
    """A training set from a list of images."""

    def read(self) -> Contents:
        root, path = Path(self.section.root), below(self.section.root, self.section.list)
        if not root.is_dir():
            raise UserError(
                f"{root} is not a folder; give the folder that the list's paths are relative to"
            )
        entries = found_on_disk(root, path, read_list(path))

        def where(row: int) -> str:
            return f"{path}:{entries.lines[row]}"

        labels = of_texts(entries.labels, self.section, where, f"list/{path.stem}")
        return labelled(EncodedFiles(root, entries.paths), labels)

    def files(self) -> Iterator[File]:
        root, path = self.section.root, below(self.section.root, self.section.list)
        yield f"list {path.name}", path
        on_disk = NamesOnDisk(Path(root).resolve())
        for name in read_list(path).paths:
            place = f"{root}/{name}"
            if not name.isascii() and not Path(place).exists():
                place = f"{root}/{on_disk.find(name) or name}"
            yield name, place

    def needed(self) -> list[tuple[str, Path]]:
        return [*super().needed(), ("list", below(self.section.root, self.section.list))]


def read_list(path: Path) -> Entries:
    """Read a list; empty lines are skipped.

    Raises:
        UserError: it is missing, empty or not UTF-8, a line is malformed, a path leads out of the
            root or is a duplicate.
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
        # Columns take a tenth of the memory of Python objects.
        parts.append(pd.DataFrame(good, columns=["line", "path", "label"]).astype(_COLUMNS))
    refuse("lines of the list cannot be used", problems, "Correct these lines")
    table = pd.concat(parts, ignore_index=True)
    entries = Entries(table["path"], table["label"], table["line"].to_numpy(np.int64))
    _refuse_twice(path, entries)
    return entries


class _Layout(NamedTuple):
    """How a line is parsed."""

    separator: str | None
    """None: any run of whitespace."""
    is_label_first: bool = False
    tool: Literal["im2rec", "InsightFace"] | None = None
    """The tool whose columns the tabs separate; None for only path and label."""

    @classmethod
    def of(cls, path: Path) -> _Layout:
        """Inspect the whole list, so that one exceptional line does not decide.

        Raises:
            UserError: it is empty, or its columns are neither tool's.
        """
        tabs, commas, ends_in_path, numbers = set(), True, True, [True, True]
        for _, block in _blocks(path):
            for text in block:
                if not text.strip():
                    continue
                tabs.add(text.count("\t"))
                commas = commas and "," in text
                ends_in_path = ends_in_path and _last_is_picture(text)
                if text.count("\t") >= 2:
                    fields = text.split("\t", 2)[:2]
                    numbers = [so_far and is_number(field)
                               for so_far, field in zip(numbers, fields, strict=True)]  # fmt: skip
        if not tabs:
            raise UserError(f"{path} is empty; a list has a line `path label` for each image")
        if min(tabs) < 2:
            return cls("\t" if min(tabs) else "," if commas else None, ends_in_path)
        if not numbers[0]:
            raise UserError(
                f"{path}: lines have three or more tab-separated fields, but the first is not a "
                "number. Allowed are index<TAB>label<TAB>path (im2rec), 1<TAB>path<TAB>label "
                "(InsightFace), and path<TAB>label: remove the other fields"
            )
        return cls("\t", tool="im2rec" if numbers[1] else "InsightFace")

    def split(self, text: str) -> tuple[str, str] | str:
        """Path and label of a line, or what is wrong with it."""
        if self.tool is not None:
            found = self._columns(text.split("\t"))
        elif self.is_label_first:
            found = text.strip().split(self.separator, 1)[::-1]
        else:
            found = text.strip().rsplit(self.separator, 1)
        if isinstance(found, str):
            return found
        if len(found) != 2 or not found[1].strip():
            return "a line must be a path and a label, separated by a tab, a comma or a space"
        path, label = (field.strip() for field in found)
        return _why_outside(path) or (path.removeprefix("./"), label)

    def _columns(self, fields: list[str]) -> list[str] | str:
        """Path and label among the fields of a tool's line, or what is wrong with them."""
        count = f"{len(fields)} tab-separated fields"
        if self.tool == "InsightFace":
            if len(fields) < 3:
                return f"{count}, expected 1, path and label (InsightFace's tools)"
            if fields[0].strip() != "1":
                return "the image is not aligned (the first field is not 1)"
            return fields[1:3]
        if len(fields) == 3:
            return fields[:0:-1]
        if len(fields) > 3 and all(is_number(field) for field in fields[:-1]):
            return (
                f"{count} are an index, {len(fields) - 2} labels and a path (im2rec), but which "
                "label is the identity is unknown: keep only that one"
            )
        return f"{count}, expected index, label and path (im2rec)"


def _last_is_picture(text: str) -> bool:
    last = re.split(r"[\t, ]", text.strip())[-1]
    return PurePosixPath(last).suffix.lower() in SUFFIXES


def _why_outside(path: str) -> str | None:
    """Why a path in the list is not allowed, if it is not."""
    if not path or _CONTROL.search(path):
        return "the path is empty or has control characters"
    if path.startswith(("/", "\\")) or path[1:2] == ":":
        return "the path is absolute; paths must be relative to `root`"
    parts = path.removeprefix("./").replace("\\", "/").split("/")
    if ".." in parts:
        return "the path leads out of its folder"
    # Otherwise one image could be listed under two names.
    return "the path has an empty part or a '.'" if "" in parts or "." in parts else None


def _blocks(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a text file in blocks: the number of the first line, and the texts."""
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
            "`root` and in the current folder"
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
        "images are duplicates in the list",
        [
            f"{path}:{entries.lines[row]}: {name!r} is a duplicate of line {lines[name]}"
            for row, name in zip(again, of, strict=True)
        ],
        "Keep one line of each",
    )


def found_on_disk(root: Path, path: Path, entries: Entries) -> Entries:
    """The entries with the names of their files on disk, which mostly are those in the list.

    Raises:
        UserError: images are missing, or symbolic links lead out of the folder.
    """
    inside = root.resolve()
    on_disk = NamesOnDisk(inside)
    folders: dict[str, bool] = {}

    def is_inside(folder: str) -> bool:
        if folder not in folders:
            folders[folder] = (inside / folder).resolve().is_relative_to(inside)
        return folders[folder]

    def why_not(name: str) -> str | None:
        return _why_missing(inside, name, is_inside(str(PurePosixPath(name).parent)))

    problems: list[str] = []
    others: dict[int, str] = {}
    for row, name in enumerate(entries.paths):
        reason = why_not(name)
        # Only if needed, because it lists folders.
        if reason and not name.isascii() and (other := on_disk.find(name)):
            reason, others[row] = why_not(other), other
        if reason:
            line = entries.lines[row]
            problems.append(f"{path}:{line}: {name!r} {reason}{_hint(name, line)}")
    refuse(f"images of the list cannot be found below {root}", problems,
           "Complete the folder, or correct `root` or the list")  # fmt: skip
    if others:
        paths = entries.paths.copy()
        paths.iloc[list(others)] = list(others.values())
        entries = entries._replace(paths=paths)
        _refuse_twice(path, entries)
    return entries


def _hint(name: str, line: int) -> str:
    """What may be wrong with the line of a file that does not exist."""
    if name[0] == name[-1] and name[0] in "\"'":
        return "; write the path without quotation marks"
    if line == 1 and not PurePosixPath(name).suffix:
        return "; a list has no header"
    if "," in name:
        return "; a line has two fields, path and label: remove the others"
    return ""


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
