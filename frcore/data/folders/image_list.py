"""Training sets given by a list: a text file with the path and label of each image.

Three layouts, detected by their fields:

- `path label`, `path,label` or tab-separated: the separator is the first of tab, comma and space
  that every line has; the label follows the last one, so that paths may contain spaces. If every
  line ends in an image suffix it is `label path`, and the label precedes the first separator.
- im2rec's `.lst`: index, label, path, separated by tabs (mxnet `tools/im2rec.py`).
- InsightFace's older `.lst`: aligned (0 or 1), path, label and possibly a box and landmarks,
  separated by tabs (insightface `deploy/face2rec2.py`). Only aligned images are used.
"""

from __future__ import annotations

import functools
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from frcore.data.contents import Contents, EncodedFiles
from frcore.data.labels import labelled, of_texts
from frcore.data.names import NamesOnDisk
from frcore.data.pixels.picture_kinds import SUFFIXES
from frcore.data.refusal import folder_at, refuse
from frcore.data.source import File, Source, below
from frcore.data.text_table import Bools, TextTable, is_number, unsafe_names
from frcore.errors import UserError


class Entries(NamedTuple):
    """The lines of a list, except empty ones."""

    table: TextTable
    paths: pd.Series
    """Below the root, with `/`; the index is the row of the table (N,)."""
    labels: pd.Series
    """Texts (N,)."""

    def where(self, place: int) -> str:
        """File and line of an entry."""
        return f"{self.table.path}:{self.paths.index[place] + 1}"

    def rows(self, chosen: pd.Series) -> Bools:
        """Which rows of the table are the `chosen` entries."""
        return np.isin(np.arange(len(self.table)), chosen.index[chosen])

    def refuse_duplicates(self) -> None:
        """Refuse an image with two entries."""
        keys = np.full(len(self.table), -1)
        keys[self.paths.index] = pd.factorize(self.paths)[0]
        again, problem = self.table.repeated(keys, "the image")
        self.table.refuse_where((again & (keys >= 0), problem))


class ListSource(Source):
    """A training set from a list of images."""

    def read(self) -> Contents:
        path = below(self.section.root, self.section.list)
        root = folder_at(self.section.root, "give the one that the list's paths are relative to")
        entries = found_on_disk(root, read_list(path))
        labels = of_texts(entries.labels, self.section, entries.where, f"list/{path.stem}")
        return labelled(EncodedFiles(root, entries.paths), labels)

    def files(self) -> Iterator[File]:
        root, path = self.section.root, below(self.section.root, self.section.list)
        yield f"list {path.name}", path
        on_disk = NamesOnDisk(Path(root).resolve())
        for name in read_list(path).paths:
            yield name, f"{root}/{on_disk.actual(name)}"


def read_list(path: Path) -> Entries:
    """Read a list; empty lines are skipped.

    Raises:
        UserError: it is missing, empty or not UTF-8, a line is malformed, a path leads out of the
            root or is a duplicate.
    """
    table = TextTable(path, {"line": "name"}, "Correct these lines")
    lines = table.texts("line").to_pandas().astype("str")
    lines = lines[lines.str.strip() != ""]
    if lines.empty:
        raise UserError(f"{path} is empty; a list has a line `path label` for each image")
    # The whole list decides about its columns, so that one exceptional line does not.
    tabs = lines.str.count("\t")
    if tabs.min() < 2:
        columns = _two_columns(lines, has_tabs=tabs.min() == 1)
    else:
        columns = _columns_of_a_tool(path, lines)
    paths, labels, odd, why = columns
    paths, labels = paths.str.strip().str.removeprefix("./"), labels.str.strip()
    absent = ~odd & (paths.isna() | labels.isna() | (labels == ""))
    unsafe = unsafe_names(pa.chunked_array([pa.array(paths.fillna(""), pa.string())]))
    entries = Entries(table, paths, labels)
    table.refuse_where(
        (entries.rows(odd), why),
        (entries.rows(absent),
         "a line must be a path and a label, separated by a tab, a comma or a space"),
        (entries.rows(~odd & ~absent & unsafe),
         "the path must lead below `root`, without '..', '.' and empty parts"),
    )  # fmt: skip
    entries.refuse_duplicates()
    return entries


Columns = tuple[pd.Series, pd.Series, pd.Series, str | Callable[[int], str]]
"""Path and label of each line, whether it cannot be used for another reason, and this reason."""


def _two_columns(lines: pd.Series, *, has_tabs: bool) -> Columns:
    """The columns of lines with a path and a label, in either order."""
    lines = lines.str.strip()
    separator = "\t" if has_tabs else "," if lines.str.contains(",").all() else None
    if lines.str.lower().str.endswith(tuple(SUFFIXES)).all():
        fields = lines.str.split(separator, n=1, expand=True).reindex(columns=[1, 0])
    else:
        fields = lines.str.rsplit(separator, n=1, expand=True).reindex(columns=[0, 1])
    first, second = (fields[at].astype("str") for at in fields)
    return first, second, pd.Series(False, lines.index), ""


def _columns_of_a_tool(path: Path, lines: pd.Series) -> Columns:
    """The columns of lines that im2rec or InsightFace's tools wrote."""
    fields = lines.str.split("\t", expand=True)
    is_index, is_label = (pd.to_numeric(fields[at], errors="coerce").notna().all() for at in (0, 1))
    if not is_index:
        raise UserError(
            f"{path}: lines have three or more tab-separated fields, but the first is not a "
            "number. Allowed are index<TAB>label<TAB>path (im2rec), 1<TAB>path<TAB>label "
            "(InsightFace), and path<TAB>label: remove the other fields"
        )
    if not is_label:
        reason = "the image is not aligned (the first field is not 1)"
        return fields[1], fields[2], fields[0].str.strip() != "1", reason

    def why(row: int) -> str:
        given = lines[row].split("\t")
        count = f"{len(given)} tab-separated fields"
        if all(map(is_number, given[:-1])):
            return (
                f"{count} are an index, {len(given) - 2} labels and a path (im2rec), but which "
                "label is the identity is unknown: keep only that one"
            )
        return f"{count}, expected index, label and path (im2rec)"

    return fields[2], fields[1], fields.notna().sum(axis=1) != 3, why


def found_on_disk(root: Path, entries: Entries) -> Entries:
    """The entries with the names of their files on disk, which mostly are those in the list.

    Raises:
        UserError: images are missing, or symbolic links lead out of the folder.
    """
    inside = root.resolve()
    on_disk = NamesOnDisk(inside)

    @functools.cache
    def leads_out(folder: str) -> bool:
        return not (inside / folder).resolve().is_relative_to(inside)

    def why_not(name: str) -> str | None:
        file = inside / name
        if leads_out(str(PurePosixPath(name).parent)) or (file.is_symlink() and leads_out(name)):
            return "leads out of the folder by a symbolic link"
        try:
            return None if stat.S_ISREG(file.stat().st_mode) else "is not a file"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    problems: list[str] = []
    others: dict[int, str] = {}
    for place, name in enumerate(entries.paths):
        actual = on_disk.actual(name)
        if reason := why_not(actual):
            hint = _hint(name, is_first=entries.paths.index[place] == 0)
            problems.append(f"{entries.where(place)}: {name!r} {reason}{hint}")
        elif actual != name:
            others[place] = actual
    refuse(f"images of the list cannot be found below {root}", problems,
           "Complete the folder, or correct `root` or the list")  # fmt: skip
    if others:
        entries.paths.iloc[list(others)] = list(others.values())
        entries.refuse_duplicates()
    return entries


def _hint(name: str, *, is_first: bool) -> str:
    """What may be wrong with the line of a file that does not exist."""
    if name[0] == name[-1] and name[0] in "\"'":
        return "; write the path without quotation marks"
    if is_first and not PurePosixPath(name).suffix:
        return "; a list has no header"
    if "," in name:
        return "; a line has two fields, path and label: remove the others"
    return ""
