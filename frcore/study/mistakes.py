"""Messages about mistakes in a study: the key, what was given, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import pydantic

from frcore.errors import UserError, listed, nearest, or_rather
from frcore.study.config import Study
from frcore.study.file import parse_value
from frcore.study.section import LABEL_PATTERN, SHA256_PATTERN
from frcore.text import one_line

Location = tuple[int | str, ...]

LONGEST_LINE = 1500
"""Characters of a message; a key can be as long as the file."""


_ALLOWED: Mapping[str, str] = {
    LABEL_PATTERN: "letters, digits, '_', '.' and '+', because it becomes a file name in which '-' "
    "separates the parts",
    SHA256_PATTERN: "the 64 digits 0-9 and a-f that `sha256sum FILE` prints",
}
"""What the patterns of a study's texts mean."""


def explain(error: pydantic.ValidationError, raw: Any, source: str) -> str:
    """One line for each mistake in `raw`, the content of the file `source`."""
    schema = Study.model_json_schema()
    found: list[dict[str, Any]] = [dict(item) for item in error.errors()]
    places: set[Location] = {item["loc"] for item in found}
    kept = [item for item in found if not _follows(item, places)]
    lines = [one_line(_line(item, raw, schema), LONGEST_LINE) for item in kept]
    return f"{source}: {listed(lines)}"


def _follows(item: dict[str, Any], places: Set[Location]) -> bool:
    """Whether an error at another of `places` is the cause of this one."""
    location: Location = item["loc"]
    if item["type"] == "too_short":  # pydantic drops the items that are wrong, then counts
        return any(place[: len(location)] == location for place in places if place != location)
    # The label is made from the name.
    return location[-1:] == ("label",) and (*location[:-1], "name") in places


def _line(item: dict[str, Any], raw: Any, schema: dict[str, Any]) -> str:
    location: Location = item["loc"]
    kind, given = item["type"], item["input"]
    place = _place(location, raw)
    if kind == "extra_forbidden":
        names = _fields(schema, location[:-1])
        return f"{place}: unknown key{or_rather(str(location[-1]), names)}"
    if kind == "missing":
        about = _fields(schema, location[:-1]).get(str(location[-1]), {}).get("description")
        return f"{place}: is missing; add it" + (f" ({about})" if about else "")
    if kind == "union_tag_invalid":
        names = item["ctx"]["expected_tags"].replace("'", "").split(", ")
        tag = item["ctx"]["tag"]
        return f"{place}.kind: '{tag}' given{or_rather(tag, names)}"
    if kind == "union_tag_not_found":
        names = _node(schema, location).get("discriminator", {}).get("mapping", {})
        return f"{place}.kind: is missing; add one of {', '.join(names)}"
    if kind == "string_pattern_mismatch":
        return f"{place}: {_shown(given)} given; allowed are {_ALLOWED[item['ctx']['pattern']]}"
    if kind == "value_error":
        message = item["msg"].removeprefix("Value error, ")
        return f"{place}: {message}" if place else message
    message = item["msg"].replace("Input should be", "it should be").replace("tuple", "list")
    message = message[0].lower() + message[1:]
    constants = map(str, _node(schema, location).get("enum", []))
    hint = nearest(given, constants) if isinstance(given, str) else ""
    return f"{place}: {_shown(given)} given; {message}{hint or _spelling(kind, given, place)}"


def _shown(given: Any) -> str:
    """`given` as YAML has it where Python writes it otherwise."""
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    return one_line(repr(given), 100)


def _spelling(kind: str, given: Any, place: str) -> str:
    """How to write what may have been meant: a number in quotes, a list without brackets, ..."""
    if kind in ("list_type", "tuple_type") and isinstance(given, bool | int | float | str):
        if place == "seeds" and isinstance(given, int) and 1 < given <= 20:
            return f": for {given} seeds write {list(range(given))}"
        return f": write [{_shown(given).strip(chr(39))}]"
    if kind in ("model_type", "model_attributes_type", "dict_type") and isinstance(given, str):
        return ": a space follows the colon of `key: value`" if ":" in given else ""
    if kind == "string_type" and isinstance(given, bool | int | float):
        return f": write it in quotes, '{_shown(given)}'"
    wanted = {"int_type": int | float, "float_type": int | float, "bool_type": bool}.get(kind)
    if wanted is None or not isinstance(given, str):
        return ""
    try:
        meant = parse_value(given, "")
    except UserError:
        return ""
    is_meant = isinstance(meant, wanted) and isinstance(meant, bool) == (wanted is bool)
    return ": write it without quotes" if is_meant else ""


def _place(location: Location, raw: Any) -> str:
    """`heads[0].name` for a location, without the tags that pydantic puts into it for unions."""
    text = ""
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(raw, Mapping) and (part in raw or (last and part != "[key]")):
            text, raw = f"{text}.{part}" if text else str(part), raw.get(part)
        elif isinstance(raw, list | tuple) and isinstance(part, int):
            text, raw = f"{text}[{part}]", raw[part] if part < len(raw) else None
    return text


def _deref(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """The node behind `$ref`, and behind `X | None`."""
    if "$ref" in node:
        return _deref(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
    return _deref(schema, choices[0]) if len(choices) == 1 else node


def _node(schema: dict[str, Any], location: Location) -> dict[str, Any]:
    """The part of the JSON Schema that describes the value at `location`."""
    node = schema
    for part in location:
        node = _deref(schema, node)
        if part in node.get("properties", {}):
            node = node["properties"][part]
        elif part in node.get("discriminator", {}).get("mapping", {}):
            node = {"$ref": node["discriminator"]["mapping"][part]}
        elif isinstance(part, int) and "items" in node:
            node = node["items"]
        elif "patternProperties" in node:
            node = next(iter(node["patternProperties"].values()))
        else:
            return {}
    return _deref(schema, node)


def _fields(schema: dict[str, Any], location: Location) -> dict[str, Any]:
    return dict(_node(schema, location).get("properties", {}))
