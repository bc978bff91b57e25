"""The description of a component, as data: for `frcore heads`, docs/heads.md and editors.

Types, limits and defaults come from the constructor's signature (through pydantic), the meaning of
each parameter from the section "Args" of the class's docstring, the rest from class attributes.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pydantic
from docstring_parser import DocstringStyle, parse

LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
"""The words of JSON Schema for the ends of an interval."""

JSON_TYPES = {
    str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null",
}  # fmt: skip

SECTION = re.compile(r"^(?:Args|Attributes|Raises|Returns|Examples?):$", re.MULTILINE)
"""Where a docstring's prose ends."""


class Parameter(TypedDict):
    """One parameter of a component's constructor."""

    type: str
    """In JSON's terms: "number", "integer or null"."""
    required: bool
    default: NotRequired[Any]
    """Absent where the parameter is required."""
    limits: dict[str, float]
    """Ends of the interval of a number, by `LIMITS`; often empty."""
    choices: list[Any]
    """The allowed values of a type whose values are listed; often empty."""
    description: str
    """Its meaning, as one line; "" if the docstring has none."""
    dialect: bool
    """Published codes of one name differ in it."""


class Component(TypedDict):
    """One head or sampler; JSON-able."""

    name: str
    place: str
    """module:Class."""
    summary: str
    """The docstring's first sentence or paragraph, as one line."""
    doc: str
    details: str
    """The docstring between the summary and the section "Args", unchanged."""
    source: dict[str, Any] | None
    """Fields of `frcore.heads.base.Source`, and `url`; None if there is nothing to cite."""
    formula: dict[str, str] | None
    """The `target` and `negative` logits; None without a formula."""
    parameters: dict[str, Parameter]


def describe(name: str, place: str, component: Any, schema: type[pydantic.BaseModel]) -> Component:
    """The description of `component`.

    Args:
        name: in the catalogue, or module:Class.
        place: module:Class.
        component: the class, or a function that builds it.
        schema: a model of the constructor's parameters.
    """
    doc = inspect.getdoc(component) or ""
    dialects = getattr(component, "dialects", ())
    # Not inherited: a class that derives from a head does so to compute something else.
    formula = vars(component).get("formula")
    return Component(
        name=name,
        place=place,
        summary=" ".join(doc.partition("\n\n")[0].split()),
        doc=doc,
        details=SECTION.split(doc.partition("\n\n")[2])[0].strip("\n"),
        source=_source(getattr(component, "source", None)),
        formula=formula and dict(zip(("target", "negative"), formula, strict=True)),
        parameters={
            key: _parameter(value, dialect=key in dialects)
            for key, value in properties(component, schema).items()
        },
    )


def properties(component: Any, schema: type[pydantic.BaseModel]) -> dict[str, dict[str, Any]]:
    """JSON Schema of each constructor parameter, its meaning as `description`."""
    texts = argument_texts(component)
    found: dict[str, dict[str, Any]] = schema.model_json_schema().get("properties", {})
    for key, value in found.items():
        value.pop("title", None)
        if key in texts:
            value["description"] = texts[key]
    return found


def argument_texts(component: Any) -> dict[str, str]:
    """The section "Args" of a class's docstring, completed from its bases'."""
    texts: dict[str, str] = {}
    # A component may also be a function, which has no ancestors.
    for ancestor in getattr(component, "__mro__", (component,)):
        texts = {**own_texts(ancestor.__doc__ or ""), **texts}
    return texts


def own_texts(doc: str) -> dict[str, str]:
    """The section "Args" of one docstring: name -> text on one line."""
    # Only what has the section: parsing the long texts of torch.nn.Module takes its time.
    if "Args:" not in doc:
        return {}
    entries = parse(inspect.cleandoc(doc), style=DocstringStyle.GOOGLE).params
    return {
        entry.arg_name: " ".join(entry.description.split())
        for entry in entries
        if entry.args[0] == "param" and entry.description
    }


def _parameter(schema: Mapping[str, Any], *, dialect: bool) -> Parameter:
    # A union lists its alternatives; a limit of one of them is the limit there is.
    alternatives = schema.get("anyOf", [schema])
    choices = [[item["const"]] if "const" in item else item.get("enum", [])
               for item in alternatives]  # fmt: skip
    described = Parameter(
        type=" or ".join(dict.fromkeys(item.get("type", "any") for item in alternatives)),
        required="default" not in schema,
        limits={key: item[key] for item in alternatives for key in LIMITS if key in item},
        choices=[value for some in choices for value in some],
        description=schema.get("description", ""),
        dialect=dialect,
    )
    if "default" in schema:
        described["default"] = schema["default"]
    return described


def _source(source: Any) -> dict[str, Any] | None:
    if source is None:
        return None
    url = f"https://arxiv.org/abs/{source.arxiv}" if source.arxiv else ""
    return {**dataclasses.asdict(source), "url": url}


# --- in words, the same in the terminal and in the documentation --------------------------------


def allowed(parameter: Parameter) -> str:
    """The allowed values of a parameter.

    >>> limits = {"minimum": 0, "exclusiveMaximum": math.pi}
    >>> allowed({"type": "number", "limits": limits, "choices": []})
    'number in [0, π)'
    >>> allowed({"type": "string", "limits": {}, "choices": ["full", "detached"]})
    'full, detached'
    >>> above_zero = {"exclusiveMinimum": 0}
    >>> allowed({"type": "string or number", "limits": above_zero, "choices": ["norm"]})
    'norm, number > 0'
    """
    listed = [value_text(value) for value in parameter["choices"]]
    of_choices = {JSON_TYPES[type(value)] for value in parameter["choices"]}
    free = [word for word in parameter["type"].split(" or ") if word not in of_choices]
    if free:
        listed.append(" or ".join(free) + interval(parameter["limits"]))
    return ", ".join(listed)


def interval(limits: Mapping[str, float]) -> str:
    """Limits as text that follows a type: " > 0", " in [0, 1]"; "" where there are none."""
    low = limits.get("minimum", limits.get("exclusiveMinimum"))
    high = limits.get("maximum", limits.get("exclusiveMaximum"))
    open_low, open_high = "exclusiveMinimum" in limits, "exclusiveMaximum" in limits
    if low is not None and high is not None:
        return f" in {'[('[open_low]}{value_text(low)}, {value_text(high)}{'])'[open_high]}"
    if low is not None:
        return f" {'≥>'[open_low]} {value_text(low)}"
    return "" if high is None else f" {'≤<'[open_high]} {value_text(high)}"


def value_text(value: Any) -> str:
    """A value as written in a study's YAML, except that π is π."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        over_pi = value / math.pi
        if value and math.isclose(over_pi, round(over_pi * 2) / 2, rel_tol=1e-9):
            return {1.0: "π", 0.5: "π/2"}.get(over_pi, f"{over_pi:g}π")
        return f"{value:g}"
    return str(value)


def citation(source: Mapping[str, Any] | None, *, link: bool = False) -> str:
    """A source in one line: authors, year, equation; with `link` also the address, as Markdown."""
    if source is None:
        return ""
    who = f"{source['authors']} {source['year']}"
    if link and source["url"]:
        who = f"[{who}]({source['url']})"
    return ", ".join(filter(None, (who, source["equation"])))
