"""Large text tables, read fast and strictly: one line is one row, one space or tab between fields.

pyarrow parses; it takes 15.7 million rows in a second or two and accepts no line that is not as
declared. Only where it refuses a file, or a check of its values does, are lines read one by one,
to say which and why. Lines end in LF or CRLF, and a byte-order mark is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from numpy.typing import ArrayLike, NDArray

from frcore.data.pixels.images import refuse
from frcore.errors import UserError

Kind = Literal["name", "id", "flag", "number"]
"""Of a column: text; a whole number from 0; 0 or 1; a finite number."""

_TYPES: Mapping[Kind, pa.DataType] = {
    "name": pa.string(),
    "id": pa.int32(),
    "flag": pa.int8(),
    "number": pa.float64(),
}
_LARGEST_ID = 2**31 - 1
_LARGEST_FILE = 4 * 2**30
_LONGEST_LINE = 2**16
_SHOWN = 10
_ENOUGH = 1000
"""Lines that are no rows, after which no more are counted."""
_UNSAFE = r"(^|/)\.{0,2}(/|$)|\\|^[A-Za-z]:|[\x00-\x1f\x7f]"
_FILLER = "(nothing)"
"""The column after a space at the end of each line."""


class TextTable:
    """A parsed file: columns by name, and errors that name its lines.

    Args:
        path: the file.
        columns: name and kind of each column, in the file's order.
        remedy: what the user can do about a wrong line.
        separator: between two fields, a space or a tab; None: a tab where the first line has one.

    Raises:
        UserError: the file is missing, empty or too large, or lines are not as declared.
    """

    def __init__(self, path: Path, columns: Mapping[str, Kind], remedy: str, *,
                 separator: Literal[" ", "\t"] | None = " "):  # fmt: skip
        self.path, self.columns, self.remedy = path, dict(columns), remedy
        first = _first_line(path)
        self._separator = separator or ("\t" if b"\t" in first else " ")
        if first.endswith(self._separator.encode()):
            # Some programs write one after every field; then it stands in every line.
            self.columns[_FILLER] = "name"
        try:
            self._table = _parse(path, self.columns, self._separator)
        except pa.ArrowInvalid as error:
            self._refuse_lines(str(error))
        self._found: list[tuple[int, str]] = []
        self._total = 0
        self._check_values()

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._table.num_rows)

    def values(self, column: str) -> NDArray[Any]:
        """A column of numbers (N,): int32 for ids, int8 for flags, float64 for numbers."""
        return np.asarray(self._table.column(column).to_numpy())

    def texts(self, column: str) -> pa.ChunkedArray:
        """A column of names (N,)."""
        return self._table.column(column)

    def note(self, wrong: ArrayLike, problem: str | Callable[[int], str]) -> None:
        """Remember that the rows where `wrong` (N,) is true have `problem`; `refuse_noted` raises.

        Args:
            wrong: bool (N,), or the numbers of the rows.
            problem: the same for all rows, or a function of the row.
        """
        mask = np.asarray(wrong)
        rows = np.flatnonzero(mask) if mask.dtype == np.bool_ else mask
        self._total += len(rows)
        for row in rows[:_SHOWN].tolist():
            self._found.append((row, problem if isinstance(problem, str) else problem(row)))

    def refuse_noted(self) -> None:
        """Raise a `UserError` with the first ten lines that `note` got, if there are any."""
        first = sorted(self._found)[:_SHOWN]
        lines = dict(_lines_at(self.path, {row for row, _ in first}))
        problems = [f"{self.path}:{row + 1}: {why}, got {lines[row]!r}" for row, why in first]
        refuse("lines are wrong", problems, self.remedy, total=self._total)

    def note_repeats(self, keys: NDArray[np.int64], what: str) -> None:
        """Note each row whose key (N,) stood in an earlier row."""
        rows, earlier = repeats(keys)
        line = dict(zip(rows[:_SHOWN].tolist(), earlier[:_SHOWN].tolist(), strict=True))
        self.note(rows, lambda row: f"{what} stands already in line {line[row] + 1}")

    def _check_values(self) -> None:
        for name, kind in self.columns.items():
            if kind == "id":
                self.note(self.values(name) < 0, f"{name} must not be negative")
            elif kind == "flag":
                values = self.values(name)
                self.note((values != 0) & (values != 1), f"{name} must be 0 or 1")
            elif kind == "number":
                wrong = np.logical_not(np.isfinite(self.values(name)))
                self.note(wrong, f"{name} must be a finite number")
            elif name == _FILLER:
                filled = pa.compute.not_equal(self.texts(name), "").to_numpy()
                self.note(filled, f"{len(self.columns) - 1} fields are due")

    def _refuse_lines(self, reason: str) -> None:
        found: list[str] = []
        total = 0
        for number, text in _lines(self.path):
            problem = _problem(text, self.columns, number, self._separator)
            if problem is not None:
                total += 1
                if len(found) < _SHOWN:
                    found.append(f"{self.path}:{number}: {problem}, got {_short(text)!r}")
            if total == _ENOUGH:
                break
        what = "lines are wrong" if total < _ENOUGH else "lines or more are wrong"
        refuse(what, found, self.remedy, total=total)
        raise UserError(f"{self.path} cannot be read: {reason}. {self.remedy}")


def unsafe_names(names: pa.ChunkedArray) -> NDArray[np.bool_]:
    """True for names (N,) that are no path below a folder on every system.

    >>> unsafe_names(pa.chunked_array([["a/b.jpg", "../b.jpg", "/b", "a//b", "C:b", ""]])).tolist()
    [False, True, True, True, True, True]
    """
    return np.asarray(pa.compute.match_substring_regex(names, _UNSAFE).to_numpy(), bool)


def repeats(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows (R,) whose key (N,) stood in an earlier row, ascending, and the first such row (R,).

    >>> [rows.tolist() for rows in repeats(np.array([5, 7, 5, 5, 7]))]
    [[2, 3, 4], [0, 0, 1]]
    """
    in_order = np.sort(keys)
    twice = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    if not twice.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = np.flatnonzero(np.isin(keys, twice))
    _, first, which = np.unique(keys[rows], return_index=True, return_inverse=True)
    earlier = rows[first[which]]
    again = rows != earlier
    return rows[again], earlier[again]


def _first_line(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.readline(_LONGEST_LINE)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if size > _LARGEST_FILE:
        raise UserError(
            f"{path} has {size:,} bytes; a list of at most {_LARGEST_FILE:,} is read: give the "
            "list of one benchmark"
        )
    if not first.strip():
        raise UserError(f"{path}:1: the list is empty; give one row per line, without a header")
    return first.rstrip(b"\r\n")


def _parse(path: Path, columns: Mapping[str, Kind], separator: str) -> pa.Table:
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(column_names=list(columns), block_size=4 * 2**20),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=separator, quote_char=False, double_quote=False, ignore_empty_lines=False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: _TYPES[kind] for name, kind in columns.items()},
            null_values=[],
            strings_can_be_null=False,
        ),
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line; one that never ends is cut."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            yield number, line.removesuffix("\n")


def _lines_at(path: Path, rows: set[int]) -> Iterator[tuple[int, str]]:
    """The rows, from 0, and texts of some lines."""
    left = len(rows)
    for number, text in _lines(path):
        if not left:
            return
        if number - 1 in rows:
            left -= 1
            yield number - 1, _short(text)


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"


def _problem(text: str, columns: Mapping[str, Kind], number: int, separator: str) -> str | None:
    """What is wrong with a line, if anything is."""
    names = [name for name in columns if name != _FILLER]
    if len(text) >= _LONGEST_LINE - 1:
        return f"the line is longer than {_LONGEST_LINE:,} characters"
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        return "the line is not UTF-8"
    if not text.strip():
        return "the line is empty"
    fields = text.split(separator)
    if len(fields) != len(columns):
        return _wrong_count(text, len(fields), names, separator)
    for name, field in zip(names, fields, strict=False):
        wrong = _wrong_field(field, columns[name])
        if wrong and number == 1 and not any(is_number(field) for field in fields):
            return f"the first line looks like a header; the list has none ({name} {wrong})"
        if wrong:
            return f"{name} {wrong}"
    return None if len(names) == len(fields) or not fields[-1] else f"{len(names)} fields are due"


def _wrong_count(text: str, count: int, names: list[str], separator: str) -> str:
    what = "space" if separator == " " else "tab"
    due = f"{len(names)} fields are due ({' '.join(names)})"
    for other, others in (("\t", "tabs"), (",", "commas"), (";", "semicolons"), (" ", "spaces")):
        if other != separator and len(text.split(other)) == len(names):
            return f"{due} with one {what} between them, not {others}"
    if len(text.split()) == len(names):
        return f"{due} with one {what} between them, not several, and none at the ends"
    return f"{due}, not {count}"


def is_number(field: str) -> bool:
    """Whether Python reads a field as a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def _wrong_field(field: str, kind: Kind) -> str | None:
    if kind == "name":
        return None
    if kind == "number":
        right = is_number(field) and np.isfinite(float(field))
        return None if right else "must be a finite number"
    limit = 1 if kind == "flag" else _LARGEST_ID
    right = field.isascii() and field.isdigit() and len(field) < 20 and int(field) <= limit
    return None if right else f"must be a whole number from 0 to {limit:,}"
