"""Pydantic models with strict numbers, for studies and parameters of components."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


def _exact(node: Any) -> Any:
    if isinstance(node, list | tuple):
        return type(node)(map(_exact, node))
    if not isinstance(node, dict):
        return node
    kind = node.get("type")
    if kind in ("int", "float", "bool") and not node.get("strict"):
        strict: Any = {**node, "strict": True}
        if kind == "bool":
            return strict
        return core_schema.no_info_before_validator_function(_plain_number, strict)
    if kind == "literal" and {type(one) for one in node["expected"]} == {int}:
        return core_schema.no_info_before_validator_function(_no_truth_value, node)
    kept = ("metadata", "serialization", "default")
    return {key: part if key in kept else _exact(part) for key, part in node.items()}


def _plain_number(value: Any) -> Any:
    """A number as Python's own, whole ones as `int`; anything else unchanged."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return int(number) if number.is_integer() else number


def _no_truth_value(value: Any) -> Any:
    """`true` as a text, which no number is: in Python it equals 1."""
    return str(value) if isinstance(value, bool) else value


class ExactNumbers(BaseModel):
    """A model whose numbers must be finite numbers, not `true` or text, and vice versa.

    Pydantic by itself reads `true` as 1, '10' as 10 and 1 as `true`. A whole number may be
    written as a float (1e6), and numpy's numbers are accepted.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema, with every number and truth value in it made strict."""
        made: CoreSchema = _exact(handler(source))
        return made
