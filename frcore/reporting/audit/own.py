"""A user's own results table: read as text, checked, and turned into the rows of an audit."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

import pandas as pd

from frcore.errors import UserError
from frcore.reporting.audit.benchmarks import SAME, SIZES, trials
from frcore.reporting.audit.differences import GROUP

REQUIRED = ("method", "benchmark", "value")
OPTIONAL = ("metric", "table", "backbone", "train_data", "trials", "people")
LARGEST = 2_000
"""Rows of one table; every two of a ranking are compared."""


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a CSV file, with `trials` and `people`; nothing in it is executed or fetched.

    Raises:
        UserError: names the line, what it has and what is allowed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            _check_columns(path, columns)
            first = itertools.islice(reader, LARGEST + 1)
            rows = [_row(path, reader.line_num, row) for row in first]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: {error}; needs a CSV file in UTF-8") from error
    if not 1 < len(rows) <= LARGEST:
        number = f"more than {LARGEST:,}" if rows[1:] else len(rows)
        raise UserError(f"{path} has {number} rows; allowed are 2 to {LARGEST:,}")
    frame = pd.DataFrame(rows)
    if frame["value"].max() <= 1:
        raise UserError(f"{path}: no value is above 1; give percent, such as 99.83")
    twice = frame[frame.duplicated([*GROUP, "method"])]
    if len(twice):
        one = twice.iloc[0]
        raise UserError(
            f"{path}: {one['method']} has two values of {one['benchmark']} {one['metric']}; give "
            "their mean, or tell the rows apart by method, table, backbone or train_data"
        )
    for (benchmark, metric), group in frame.groupby(["benchmark", "metric"]):
        if group[["trials", "people"]].nunique().max() > 1:
            raise UserError(f"{path}: {benchmark} {metric} has several numbers of trials or people")
    return frame


def _check_columns(path: Path, columns: list[str]) -> None:
    wrong = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    missing = [name for name in REQUIRED if name not in columns]
    if missing or wrong or len({*columns}) < len(columns):
        raise UserError(
            f"{path} has the columns {', '.join(columns) or 'of an empty file'}; needs "
            f"{', '.join(REQUIRED)}, and may have {', '.join(OPTIONAL)}, each once"
        )


def _row(path: Path, line: int, given: dict[str, str]) -> dict[str, object]:
    where = f"{path}, line {line}"
    if None in given or None in given.values():
        raise UserError(f"{where}: has another number of fields than the first line")
    row: dict[str, object] = {name: given.get(name, "").strip()
                              for name in ("method", *GROUP)}  # fmt: skip
    row["metric"] = row["metric"] or "accuracy"
    row["benchmark"] = SAME.get(str(row["benchmark"]), row["benchmark"])
    row["value"] = _number(where, "value", given["value"], 0, 100, "percent from 0 to 100")
    known = trials(str(row["benchmark"]), str(row["metric"]))
    for place, name in enumerate(("trials", "people")):
        text = given.get(name, "").strip()
        if text:
            row[name] = int(_number(where, name, text, 2, 1e12, "a whole number from 2"))
        elif known:
            row[name] = known[place]
        elif name == "people":
            row[name] = row["trials"]
        else:
            raise UserError(
                f"{where}: how many trials {row['benchmark']} {row['metric']} is a share of is not "
                f"known; give a column trials, and people. Known: accuracy and TAR@FAR=… of "
                f"{', '.join(SIZES)}; of IJB and MFR only TAR@FAR=…"
            )
    return row


def _number(where: str, name: str, text: str, low: float, high: float, allowed: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    whole = name == "value" or value.is_integer()
    if not (low <= value <= high and whole):  # NaN too
        raise UserError(f"{where}: {name} is '{text}'; allowed is {allowed}")
    return value
