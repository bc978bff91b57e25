"""Reading YAML that means one thing only: a study's file, and the values of `--config`.

What versions of YAML read differently is refused (`frcore.study.scalars`). Files come from
strangers: size, depth and what aliases expand to are bounded.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from frcore.errors import UserError, listed
from frcore.study.scalars import plain_value
from frcore.text import one_line

LARGEST = 256 * 1024
"""Bytes of a file: some fifty times the longest study in config/."""

MOST_VALUES = 100_000
"""Values of a file with every alias written out: ten aliases of ten aliases and so on are many."""

DEEPEST = 30
_TEXT = "tag:yaml.org,2002:str"
_PLAIN = "plain"
"""Stands for the tag of a scalar without quotes, which `plain_value` reads."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: no such file, not UTF-8, not YAML, too large, not a mapping, or the
            values that can be read in two ways, each with its line.
    """
    path = Path(path)
    if not path.is_file():
        beside = sorted(str(other) for other in path.parent.glob("*.yaml"))
        found = f"; there are {', '.join(beside)}" if beside else ""
        raise UserError(f"no study at '{path}' (working directory: {Path.cwd()}){found}")
    raw = _parsed(_text(path), str(path), lines=True)
    if not isinstance(raw, dict):
        given = one_line(repr(raw), 60)
        raise UserError(f"{path}: a study is a mapping of keys to values, but this is {given}")
    return raw


def parse_value(text: str, where: str) -> Any:
    """The value that `text` is in YAML, such as `[0, 1]` or `{epochs: 3}`.

    Args:
        text: the YAML.
        where: its place for messages, such as `--config seeds`.

    Raises:
        UserError: as for `read_yaml`.
    """
    return _parsed(text, where, lines=False)


def pairs(entries: Iterable[str] | None) -> dict[str, str]:
    """Key and text of each `key=value`.

    Raises:
        UserError: no '=' in one, or a key twice.

    >>> pairs(["seeds=[0, 1]", "name=try"])
    {'seeds': '[0, 1]', 'name': 'try'}
    """
    found: dict[str, str] = {}
    for entry in entries or ():
        key, equals, text = entry.partition("=")
        if not equals:
            raise UserError(f"--config '{entry}': allowed is key=value, for example seeds='[0, 1]'")
        if key in found:
            raise UserError(f"--config: '{key}' was given twice; give it once")
        found[key] = text
    return found


def unquoted(text: str) -> str:
    """`text` without quotes around it, which a shell may have left.

    >>> unquoted("'a b'")
    'a b'
    """
    has = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if has else text


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}; make it readable, or give another file"
        ) from error
    if len(content) > LARGEST:
        raise UserError(
            f"{path} has more than {LARGEST:,} bytes, which no study needs; give a study's file"
        )
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise UserError(f"{path} is not UTF-8 but UTF-16 or binary; save the study as UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise UserError(
            f"{path}: line {line}: the byte 0x{byte:02x} is not UTF-8 (in Latin-1 it is "
            f"'{one_line(chr(byte))}'); save the study as UTF-8 text"
        ) from error


def _parsed(text: str, where: str, *, lines: bool) -> Any:
    try:
        node = _Composer(text).get_single_node()
        reader = _Reader(lines)
        value = reader.value(node, "") if node is not None else None
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not YAML: {_problem(error, text)}") from error
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if reader.problems:
        raise UserError(f"{where}: {listed(reader.problems)}")
    return value


def _problem(error: yaml.YAMLError, text: str) -> str:
    """What the parser says, on one line, and what to do."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        letter = f"U+{ord(text[error.position]):04X}"
        return f"line {line}: the character {letter} is not allowed in YAML; remove it"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or ""
    problem = one_line(problem, 200)
    if "\\t" in problem:
        remedy = "indent with spaces instead of tabs"
    elif getattr(error, "context", "") == "expected a single document in the stream":
        problem, remedy = "a second document begins", "keep one, without a line '---' in between"
    else:
        remedy = "correct this line or the one before it; texts with ': ' or ' #' need quotes"
    return f"{place}{problem}; {remedy}"


class _Composer(yaml.SafeLoader):
    """Nodes of a document whose depth is bounded; scalars without quotes are left unread."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _too_deep(self.peek_event().start_mark.line + 1)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TEXT
        return str(super().resolve(kind, value, implicit))


class _Reader:
    """Turns nodes into values; what can be read in two ways is collected in `problems`.

    Args:
        lines: whether messages name the line.
    """

    def __init__(self, lines: bool) -> None:
        self.problems: list[str] = []
        self._lines = lines
        self._count = 0
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, place: str) -> Any:
        """The value of a node. An alias is read again each time, so that its cost is counted.

        Raises:
            UserError: too many values, too deep, or an alias of what contains it.
        """
        self._count += 1
        line = node.start_mark.line + 1
        if self._count > MOST_VALUES:
            raise UserError(
                f"with its aliases written out it has more than {MOST_VALUES:,} values, which no "
                "study needs; write them without aliases of aliases"
            )
        if any(node is outer for outer in self._open):
            raise UserError(
                f"line {line}: '{place}' contains itself by an alias; write the values out"
            )
        if len(self._open) >= DEEPEST:
            raise _too_deep(line)
        if isinstance(node, yaml.ScalarNode) and node.tag in (_TEXT, _PLAIN):
            return node.value if node.tag == _TEXT else self._plain(node, place)
        if node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            tag = one_line(node.tag.replace("tag:yaml.org,2002:", "!!"), 60)
            told = f"the tag {tag} given; studies have no tags: write only the value"
            return self._say(node, place, told)
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, place)
            return [self.value(item, f"{place}[{at}]") for at, item in enumerate(node.value)]
        finally:
            self._open.pop()

    def _say(self, node: yaml.Node, place: str, problem: str) -> None:
        line = f"line {node.start_mark.line + 1}: " if self._lines else ""
        self.problems.append(f"{line}{one_line(place, 100)}{': ' if place else ''}{problem}")

    def _plain(self, node: yaml.ScalarNode, place: str) -> Any:
        try:
            return plain_value(node.value)
        except ValueError as error:
            return self._say(node, place, str(error))

    def _mapping(self, node: yaml.MappingNode, place: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _PLAIN and key_node.value == "<<":
                # Of several, the first one's values win.
                merged = {**self._merged(value_node, place), **merged}
                continue
            key = self.value(key_node, place)
            if not isinstance(key, str):
                if not self.problems:
                    given = one_line(repr(key), 40)
                    self._say(key_node, place, f"the key {given} is not text; write it in quotes")
                continue
            if key in own:
                self._say(key_node, place, f"duplicate key '{one_line(key, 60)}'; remove one")
            own[key] = self.value(value_node, f"{place}.{key}" if place else key)
        return {**merged, **own}

    def _merged(self, node: yaml.Node, place: str) -> dict[str, Any]:
        found = self.value(node, f"{place}.<<" if place else "<<")
        several = found if isinstance(found, list) else [found]
        if not all(isinstance(one, dict) for one in several):
            self._say(node, place, "'<<' merges mappings; give it an alias of one, or a list")
            return {}
        return {key: value for one in reversed(several) for key, value in one.items()}


def _too_deep(line: int) -> UserError:
    return UserError(
        f"line {line}: values inside of one another more than {DEEPEST} deep, which no study "
        "needs; is a bracket not closed?"
    )
