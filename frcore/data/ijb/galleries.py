"""The 1:N lists of IJB-B and IJB-C, which also say whom a template shows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from numpy.typing import ArrayLike

from frcore.data.ijb.layout import Ids, Name, enrolment_files, rows_of
from frcore.data.pixels.images import refuse
from frcore.errors import UserError

_FIELDS = ("TEMPLATE_ID", "SUBJECT_ID")
_LARGEST_HEADER = 2**16
_REMEDY = "Correct these rows, or take the list as it was released"
_EMPTY = {"list": np.int8, "template": np.int32, "subject": np.int32}


def read_enrolled(root: Path, name: Name, known: Ids) -> tuple[pd.DataFrame, list[str]]:
    """The galleries and probes: one row per template, and warnings about lists that are missing.

    Args:
        root: the folder that has `meta`.
        name: which benchmark.
        known: ids of all templates that have images, ascending.

    Raises:
        UserError: a list is malformed, names a template without images or gives it two subjects,
            or a gallery has two templates of one subject.
    """
    paths = enrolment_files(root, name)
    missing = [path.name for path in paths.values() if not path.is_file()]
    tables = [_read_list(path, number, known) for number, path in paths.items() if path.is_file()]
    warnings = []
    if missing:
        warnings.append(f"no {', '.join(missing)} in meta/, so 1:N search cannot be judged")
    if not tables:
        return pd.DataFrame({key: np.empty(0, kind) for key, kind in _EMPTY.items()}), warnings
    enrolled = pd.concat(tables, ignore_index=True)
    _refuse_two_subjects(enrolled, paths)
    return enrolled, warnings


def _read_list(path: Path, number: int, known: Ids) -> pd.DataFrame:
    """The distinct templates of one list, in its order, with the line each stands in first."""
    columns, places = _header(path)
    try:
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=columns, skip_rows=1),
            parse_options=pyarrow.csv.ParseOptions(ignore_empty_lines=False),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(places),
                column_types={column: pa.int32() for column in places},
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        raise _bad_row(path, columns, places, str(error)) from error
    template, subject = (table.column(column).to_numpy() for column in places)
    rows = pd.DataFrame({"list": np.int8(number), "template": template, "subject": subject})
    rows["line"] = np.arange(2, len(rows) + 2)
    rows = rows.drop_duplicates(["template", "subject"], ignore_index=True)
    problems = _problems(path, rows, number, known)
    refuse("rows are wrong", problems, _REMEDY)
    return rows


def _problems(path: Path, rows: pd.DataFrame, number: int, known: Ids) -> list[str]:
    absent = rows_of(known, rows["template"].to_numpy()) < 0
    checks: list[tuple[ArrayLike, str]] = [
        (absent, "template {template} has no image"),
        (rows["subject"] < 0, "subject {subject} must not be negative"),
    ]
    if number:
        twice = rows.duplicated("subject") & ~rows.duplicated("template")
        checks.append((twice, "subject {subject} has another template in this gallery already"))
    return [
        f"{path}:{row['line']}: {problem.format(**row)}"
        for wrong, problem in checks
        for row in _records(rows.iloc[np.flatnonzero(wrong)])
    ]


def _records(rows: pd.DataFrame) -> list[dict[str, int]]:
    return [{str(key): int(value) for key, value in row.items()}
            for row in rows.to_dict("records")]  # fmt: skip


def _header(path: Path) -> tuple[list[str], tuple[str, str]]:
    """Names of all columns, and of those of template and subject."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(_LARGEST_HEADER)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}; take it as it was released") from error
    fields = next(csv.reader([first]), [])
    if len(fields) < 2 or any(field.strip().lstrip("-").isdigit() for field in fields[:2]):
        raise UserError(
            f"{path}:1: {first.strip()[:100]!r} is no header; the first line must name the "
            f"columns, {', '.join(_FIELDS)} and any others, with commas between them"
        )
    given = [field.strip().upper() for field in fields]
    # As InsightFace reads them: the first two columns, unless the header says otherwise.
    where = [given.index(name) for name in _FIELDS] if set(_FIELDS) <= set(given) else [0, 1]
    # Arrow needs names that differ.
    columns = [f"{place} {name}" for place, name in enumerate(given)]
    return columns, (columns[where[0]], columns[where[1]])


def _bad_row(path: Path, columns: list[str], places: tuple[str, str], reason: str) -> UserError:
    """The first row that is not as declared."""
    at = [columns.index(place) for place in places]
    with path.open(encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for fields in rows:
            line = rows.line_num
            if len(fields) != len(columns):
                problem = f"{len(columns)} fields are due, not {len(fields)}"
                return UserError(f"{path}:{line}: {problem}. {_REMEDY}")
            for what, place in zip(("template", "subject"), at, strict=True):
                value = fields[place]
                if not (value.isascii() and value.isdigit() and int(value) < 2**31):
                    problem = f"{what} must be a whole number from 0, not {value[:50]!r}"
                    return UserError(f"{path}:{line}: {problem}. {_REMEDY}")
    return UserError(f"{path} cannot be read: {reason}. {_REMEDY}")


def _refuse_two_subjects(enrolled: pd.DataFrame, paths: dict[int, Path]) -> None:
    distinct = enrolled.drop_duplicates(["template", "subject"])
    others = distinct[distinct.duplicated("template")]
    first = distinct.drop_duplicates("template").set_index("template")["subject"]
    problems = [
        f"{paths[row['list']]}:{row['line']}: template {row['template']} has the subject "
        f"{row['subject']} here, but {first[row['template']]} before"
        for row in _records(others)
    ]
    refuse("rows contradict others", problems, _REMEDY)
