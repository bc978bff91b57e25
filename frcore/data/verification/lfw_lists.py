"""LFW's text formats: lists of people and lists of pairs.

People: a header with the number of people, then `name<TAB>images` per person; with folds, a header
with their number and then one such block per fold. Pairs: a header `pairs` or `folds<TAB>pairs`,
then per fold `pairs` genuine lines `name<TAB>i<TAB>j` and as many impostor lines
`name<TAB>i<TAB>other<TAB>j`.
"""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from frcore.data.names import normalised
from frcore.data.text_table import TextTable
from frcore.data.verification.pairs import Pair
from frcore.errors import UserError


class Person(NamedTuple):
    """A line in a list of people."""

    name: str
    images: int
    line: int


class Numbered(NamedTuple):
    """Image `number` of a person, counted from 1."""

    identity: str
    number: int


class Lines:
    """The lines of a list, with errors that name file and line."""

    def __init__(self, path: Path):
        self.path = path
        lines = TextTable(path, {"line": "name"}, "Correct these lines").texts("line")
        self.texts: list[str] = lines.to_pylist()
        while self.texts and not self.texts[-1].strip():
            self.texts.pop()
        if not self.texts:
            raise UserError(f"{path}:1: the list is empty")

    def where(self, line: int) -> str:
        """File and line number, for messages."""
        return f"{self.path}:{line}"

    def error(self, line: int, problem: str) -> UserError:
        """The error to raise about line number `line`."""
        given = self.texts[line - 1][:100] if line <= len(self.texts) else "end of file"
        return UserError(f"{self.where(line)}: {problem}, got {given!r}; correct this line")

    def fields(self, line: int, counts: tuple[int, ...], due: str) -> list[str]:
        """The fields of line number `line`, counted from 1.

        Raises:
            UserError: there are not as many as one of `counts`; the message is `due`.
        """
        if line > len(self.texts):
            raise self.error(line, "the list has fewer lines than its header announces")
        text = self.texts[line - 1]
        found = [part.strip() for part in text.split("\t")] if "\t" in text else text.split()
        if len(found) not in counts:
            raise self.error(line, due)
        return found

    def number(self, line: int, text: str, what: str) -> int:
        """A whole number from 1."""
        if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= 1):
            raise self.error(line, f"{what} must be a whole number from 1, not {text[:40]!r}")
        return int(text)

    def name(self, line: int, text: str) -> str:
        """The name of an identity, which must not lead out of a folder."""
        escapes = "/" in text or "\\" in text or PureWindowsPath(text).drive
        if not text or text in (".", "..") or escapes or not text.isprintable():
            raise self.error(line, f"{text!r} is not the name of an identity's folder")
        return normalised(text)

    def end(self, line: int) -> None:
        """Refuse anything from line number `line` on."""
        if line <= len(self.texts):
            raise self.error(line, "the header announces fewer lines than there are")


def read_people(path: Path) -> list[Person]:
    """Read a list of people.

    Raises:
        UserError: a line is malformed, or a name is a duplicate.
    """
    lines = Lines(path)
    (header,) = lines.fields(1, (1,), "the header must be one number")
    first = lines.number(1, header, "the header")
    second = lines.texts[1] if len(lines.texts) > 1 else "\t"
    has_folds = "\t" not in second and len(second.split()) == 1
    people: list[Person] = []
    line = 2
    for _ in range(first if has_folds else 1):
        count = first
        if has_folds:
            (number,) = lines.fields(line, (1,), "a fold must begin with its number of people")
            count = lines.number(line, number, "the number of people")
            line += 1
        people += [_person(lines, at) for at in range(line, line + count)]
        line += count
    lines.end(line)
    _refuse_repeats(lines, [(person.name, person.line) for person in people], "the name")
    return people


def _person(lines: Lines, line: int) -> Person:
    due = "a person is a name and a number of images, separated by a tab"
    name, images = lines.fields(line, (2,), due)
    return Person(lines.name(line, name), lines.number(line, images, "the number of images"), line)


def read_pairs(path: Path, split: str = "test") -> list[Pair]:
    """Read a list of pairs, each of two `Numbered` images.

    Raises:
        UserError: a line is malformed or in the wrong block, or a pair is a duplicate.
    """
    lines = Lines(path)
    header = lines.fields(1, (1, 2), "the header must be `pairs`, or `folds` and `pairs`")
    folds = lines.number(1, header[0], "the number of folds") if len(header) == 2 else 1
    count = lines.number(1, header[-1], "the number of pairs")
    pairs, keys = list[Pair](), list[tuple[object, int]]()
    for line in range(2, 2 * folds * count + 2):
        fold, place = divmod(line - 2, 2 * count)
        a, b = _sides(lines, line, genuine=place < count)
        pairs.append(Pair(a, b, place < count, fold, lines.where(line), split))
        keys.append((frozenset((a, b)), line))
    lines.end(2 * folds * count + 2)
    _refuse_repeats(lines, keys, "the pair")
    return pairs


def _sides(lines: Lines, line: int, *, genuine: bool) -> tuple[Numbered, Numbered]:
    form = "name, i, j" if genuine else "name, i, other name, j"
    kind = "a genuine" if genuine else "an impostor"
    fields = lines.fields(line, (3 if genuine else 4,),
                          f"{kind} pair must be here, with the fields {form}")  # fmt: skip
    one, i, *other, j = fields
    a, b = (
        Numbered(lines.name(line, name), lines.number(line, number, "an image's number"))
        for name, number in ((one, i), (*(other or [one]), j))
    )
    if a == b:
        raise lines.error(line, "a pair needs two different images")
    if not genuine and a.identity == b.identity:
        raise lines.error(line, "an impostor pair needs two different people")
    return a, b


def _refuse_repeats(lines: Lines, keys: list[tuple[object, int]], what: str) -> None:
    seen: dict[object, int] = {}
    for key, line in keys:
        earlier = seen.setdefault(key, line)
        if earlier != line:
            raise lines.error(line, f"{what} is a duplicate of line {earlier}")
