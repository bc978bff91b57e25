"""The tables of fields in docs/formats.md, from the records themselves; `frcore docs` writes them.

A field's description is the docstring below it in its class.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from frcore.errors import UserError
from frcore.records.base import Environment, Record
from frcore.records.claims import ClaimRow
from frcore.records.comparison import ComparedCost, ComparedNumber, ComparisonRecord
from frcore.records.diagnostics import (
    CenterAngles,
    ConflictRow,
    Conflicts,
    CosineHistogram,
    DiagnosticsRecord,
    Group,
)
from frcore.records.evaluation import EvaluationRecord, JudgedData, JudgedModel, NumberRow
from frcore.records.manifest import Manifest
from frcore.records.measurement import MeasuredRow, MeasurementRecord
from frcore.records.metrics import EpochEvent, StartEvent, StepEvent
from frcore.records.run import FailureRecord, LockRecord, ResultRecord, RunRecord, TrainingData

RECORDS: Mapping[str, Sequence[type[Record]]] = {
    "manifest": (Manifest,),
    "run": (RunRecord, TrainingData, Environment),
    "metrics": (StartEvent, StepEvent, EpochEvent),
    "result": (ResultRecord, FailureRecord, LockRecord),
    "diagnostics": (DiagnosticsRecord, CenterAngles, Group, Conflicts, ConflictRow,
                    CosineHistogram),
    "evaluation": (EvaluationRecord, NumberRow, JudgedData, JudgedModel),
    "measurement": (MeasurementRecord, MeasuredRow),
    "claims": (ClaimRow,),
    "comparison": (ComparisonRecord, ComparedNumber, ComparedCost),
}  # fmt: skip
"""By region of the page: the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`."""

NAMES: Mapping[Any, str] = {
    str: "text", int: "integer", float: "number", bool: "true or false",
    dict: "object", Any: "anything",
}  # fmt: skip


def with_tables(page: str) -> str:
    """`page` with the tables of every record between its markers.

    Raises:
        UserError: markers are missing.
    """
    for name, records in RECORDS.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise UserError(f"docs/formats.md needs the lines {begin} and {end}")
        page = before + "\n\n".join([begin, *map(table, records), end]) + after
    return page


def table(record: type[Record]) -> str:
    """A record as Markdown: its description, and one row per field."""
    about = descriptions(record)
    rows = [
        f"| `{name}` | {type_words(field.annotation)} | {about[name]} |"
        for name, field in record.model_fields.items()
    ]
    summary = inspect.cleandoc(record.__doc__ or "")
    return "\n".join([summary, "", "| key | type | meaning |", "| --- | --- | --- |", *rows])


def descriptions(record: type[BaseModel]) -> dict[str, str]:
    """Field -> the docstring below it, on one line."""
    source = textwrap.dedent(inspect.getsource(record))
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for line, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr):
            assert isinstance(line.target, ast.Name)
            found[line.target.id] = " ".join(str(ast.literal_eval(after.value)).split())
    return found


def type_words(annotation: Any) -> str:
    """An annotation as a JSON type in words; that a value may be null is not mentioned.

    >>> type_words(dict[str, float] | None)
    'object of numbers'
    """
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind in (Union, UnionType):
        return " or ".join(type_words(part) for part in parts if part is not NoneType)
    if kind is Annotated:
        return type_words(parts[0])
    if kind is Literal:
        return type_words(type(parts[0]))
    if kind in (list, tuple, dict):
        inner = type_words(parts[-1 if kind is dict else 0])
        what = "object" if kind is dict else "list"
        return what if inner == "anything" else f"{what} of {inner}s"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    return NAMES[annotation]
