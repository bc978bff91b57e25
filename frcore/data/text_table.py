"""Lists in text files, read fast and strictly: one line is one row, one separator between fields.

pyarrow does the parsing: 15.7 million rows in a second or two, accepting only lines as declared.
Only if it refuses a file, or values are wrong, are lines read one by one, to report them with the
reason. Lines end in LF or CRLF, the text is UTF-8, and a byte-order mark is allowed.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from numpy.typing import NDArray

from frcore.data.pixels.align import unusable_landmarks
from frcore.data.refusal import reading, refuse
from frcore.errors import UserError

Kind = Literal["name", "id", "flag", "number"]
Bools = NDArray[np.bool_]
Check = tuple[Bools, str | Callable[[int], str]]
"""The wrong rows (N,), and the problem: the same for all, or a function of the row."""


def is_number(field: str) -> bool:
    """Whether Python can parse a field as a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


_NUMBERS: Mapping[str, tuple[pa.DataType, float, float, str]] = {
    "id": (pa.int32(), 0, 2**31 - 1, f"a whole number from 0 to {2**31 - 1:,}"),
    "flag": (pa.int8(), 0, 1, "0 or 1"),
    "number": (pa.float64(), -sys.float_info.max, sys.float_info.max, "a finite number"),
}
"""For each kind except names: type, smallest and largest value, and a description."""


POINT_COLUMNS: Mapping[str, Kind] = {f"{axis}{point}": "number"
                                     for point in range(1, 6) for axis in "xy"}  # fmt: skip
"""Five landmarks."""

_FILLER = "after the last separator"
"""Some programs write a separator after every field, so that every line ends in one."""

_SEPARATORS = {" ": "space", "\t": "tab", ",": "comma", ";": "semicolon"}
_WHOLE_LINE = "\x1f"
"""The separator of lines that are not split: it is in no text."""
_LARGEST_FILE = 4 * 2**30
_LONGEST_LINE = 2**16
_SHOWN = 10
_ENOUGH = 1000
"""Number of wrong lines after which counting stops."""
_UNSAFE = r"(^|/)\.{0,2}(/|$)|\\|^[A-Za-z]:|[\x00-\x1f\x7f]"


class TextTable:
    """A parsed file: columns by name, and errors that name its lines.

    Args:
        path: the file.
        columns: name and kind of each column, in the file's order: text; a whole number from 0; 0
            or 1; a finite number. A single column is the whole line.
        remedy: what the user can do about a wrong line.
        separator: between two fields; None: a tab where the first line has one, else a space.
            Fields may be quoted where it is a comma.
        header: whether the first line names the columns; it is skipped.

    Raises:
        UserError: the file is missing, empty or too large, or lines are not as declared.
    """

    def __init__(self, path: Path, columns: Mapping[str, Kind], remedy: str, *,
                 separator: str | None = " ", header: bool = False):  # fmt: skip
        self.path, self.remedy = path, remedy
        self._kinds: dict[str, str] = dict(columns)
        self._header = header
        first = first_line(path)
        self._separator = separator or ("\t" if "\t" in first else " ")
        if len(columns) == 1:
            self._separator = _WHOLE_LINE
        if first.endswith(self._separator):
            self._kinds[_FILLER] = "nothing"
        try:
            self._table = self._parse()
        except pa.ArrowInvalid as error:
            self._refuse_lines(str(error))
        if not all(self._is_allowed(name, kind) for name, kind in self._kinds.items()):
            self._refuse_lines("a value is not allowed")

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def values(self, column: str) -> NDArray[Any]:
        """A column of numbers (N,): int32 for ids, int8 for flags, float64 for numbers."""
        return np.asarray(self._table.column(column).to_numpy())

    def texts(self, column: str) -> pa.ChunkedArray:
        """A column of names (N,)."""
        return self._table.column(column)

    def refuse_where(self, *checks: Check) -> None:
        """Raise a `UserError` with the first ten wrong lines, if there are any."""
        found = sorted((int(row), place) for place, (wrong, _) in enumerate(checks)
                       for row in np.flatnonzero(wrong)[:_SHOWN])[:_SHOWN]  # fmt: skip
        if not found:
            return
        wanted = {row for row, _ in found}
        texts = {row: text for row, text in enumerate(self._lines()) if row in wanted}
        reasons = [checks[place][1] for _, place in found]
        problems = [
            self._at(
                row, f"{why if isinstance(why, str) else why(row)}, got {_short(texts[row])!r}"
            )
            for (row, _), why in zip(found, reasons, strict=True)
        ]
        total = sum(int(np.count_nonzero(wrong)) for wrong, _ in checks)
        refuse("lines are wrong", problems, self.remedy, total=total)

    def repeated(self, keys: NDArray[np.int64], what: str) -> Check:
        """A check for rows whose key (N,) also occurs in an earlier row."""
        in_order = np.sort(keys)
        again = np.zeros(len(keys), bool)
        if (in_order[1:] == in_order[:-1]).any():
            # Takes much more time and memory than sorting.
            again = pd.Series(keys).duplicated().to_numpy()

        def problem(row: int) -> str:
            first = int((keys == keys[row]).argmax())
            return f"{what} is a duplicate of line {first + 1 + self._header}"

        return again, problem

    def _is_allowed(self, name: str, kind: str) -> bool:
        """Whether all values of a column that pyarrow parsed are allowed."""
        if kind not in _NUMBERS:
            column = self.texts(name)
            return kind == "name" or not pa.compute.any(pa.compute.not_equal(column, "")).as_py()
        values = self.values(name)
        _, low, high, _ = _NUMBERS[kind]
        return bool(((low <= values) & (values <= high)).all())

    def _at(self, row: int, problem: str) -> str:
        return f"{self.path}:{row + 1 + self._header}: {problem}"

    def _parse(self) -> pa.Table:
        may_quote = self._separator == ","
        return pyarrow.csv.read_csv(
            self.path,
            read_options=pyarrow.csv.ReadOptions(
                column_names=list(self._kinds), skip_rows=int(self._header), block_size=4 * 2**20
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._separator, quote_char='"' if may_quote else False,
                double_quote=may_quote, ignore_empty_lines=False,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={name: _NUMBERS[kind][0] if kind in _NUMBERS else pa.string()
                              for name, kind in self._kinds.items()},
                null_values=[],
                strings_can_be_null=False,
            ),
        )  # fmt: skip

    def _lines(self) -> Iterator[str]:
        """The text of each row; overlong lines are split."""
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            if self._header:
                file.readline(_LONGEST_LINE)
            while line := file.readline(_LONGEST_LINE):
                yield line.removesuffix("\n")

    def _refuse_lines(self, reason: str) -> None:
        problems = (self._at(row, f"{problem}, got {_short(text)!r}")
                    for row, text in enumerate(self._lines())
                    if (problem := self._problem(text, row)))  # fmt: skip
        found = list(itertools.islice(problems, _ENOUGH))
        what = "lines are wrong" if len(found) < _ENOUGH else "lines or more are wrong"
        refuse(what, found, self.remedy)
        raise UserError(f"{self.path} cannot be read: {reason}. {self.remedy}")

    def _problem(self, text: str, row: int) -> str | None:
        """What is wrong with a line, if anything."""
        if len(text) >= _LONGEST_LINE - 1:
            return f"the line is longer than {_LONGEST_LINE:,} characters"
        if any("\udc80" <= letter <= "\udcff" for letter in text):
            return "the line is not UTF-8"
        if self._separator == _WHOLE_LINE:
            return "a control character" if _WHOLE_LINE in text else None
        if not text.strip():
            return "the line is empty"
        quoted = self._separator == ","
        fields = next(csv.reader([text])) if quoted else text.split(self._separator)
        if len(fields) != len(self._kinds) or (_FILLER in self._kinds and fields[-1]):
            return self._wrong_count(text, len(fields))
        for (name, kind), field in zip(self._kinds.items(), fields, strict=True):
            if kind in _NUMBERS and not _accepts(field, kind):
                problem = f"{name} must be {_NUMBERS[kind][3]}"
                if row == 0 and not self._header and not any(map(is_number, fields)):
                    return f"the first line looks like a header; the list has none ({problem})"
                return problem
        return None

    def _wrong_count(self, text: str, count: int) -> str:
        names = [name for name in self._kinds if name != _FILLER]
        due = (f"expected {len(names)} fields ({' '.join(names)}) with one "
               f"{_SEPARATORS[self._separator]} between them")  # fmt: skip
        for other, name in _SEPARATORS.items():
            if other != self._separator and len(text.split(other)) == len(names):
                return f"{due}, not {name}s"
        if len(text.split()) == len(names):
            return f"{due}, not several, and none at the ends"
        return f"{due}, not {count}"


def _accepts(field: str, kind: str) -> bool:
    _, low, high, _ = _NUMBERS[kind]
    if kind == "number":
        return is_number(field) and low <= float(field) <= high
    return field.isascii() and field.isdigit() and len(field) < 20 and int(field) <= high


def unsafe_names(names: pa.ChunkedArray) -> Bools:
    """True for names (N,) that are not a path below a folder on every system.

    >>> unsafe_names(pa.chunked_array([["a/b.jpg", "../b.jpg", "/b", "a//b", "C:b", ""]])).tolist()
    [False, True, True, True, True, True]
    """
    return np.asarray(pa.compute.match_substring_regex(names, _UNSAFE).to_numpy(), bool)


def landmarks_of(table: TextTable) -> tuple[NDArray[np.float64], Check]:
    """The landmarks (N, 5, 2) of a table with `POINT_COLUMNS`, and where no face can be aligned."""
    points = np.stack([table.values(name) for name in POINT_COLUMNS], axis=1).reshape(-1, 5, 2)
    reasons = unusable_landmarks(points)
    return points, (np.isin(np.arange(len(points)), list(reasons)), reasons.__getitem__)


def first_line(path: Path) -> str:
    """The first line of a text file.

    Raises:
        UserError: the file is empty, too large for a list, or cannot be read.
    """
    with reading(path, "correct the path, or put the list there"):
        size = path.stat().st_size
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            first = file.readline(_LONGEST_LINE).rstrip("\n")
    if size > _LARGEST_FILE:
        raise UserError(
            f"{path} has {size:,} bytes, but a list may have at most {_LARGEST_FILE:,}: give the "
            "list of one data set"
        )
    if not size:
        raise UserError(f"{path}:1: the list is empty; give one row per line")
    return first


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"
