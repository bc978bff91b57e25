"""The data model of a table, and its CSV and Markdown forms.

`frcore.reporting.page.pages` turns it into HTML, `frcore.reporting.tables.latex` into LaTeX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import pandas as pd

from frcore.reporting.tables import escape
from frcore.results.column import Mark
from frcore.results.rows import csv_text

Item = TypeVar("Item")

MARKS: dict[Mark, str] = {"": "", "best": "best", "tied": "statistically tied with the best"}
ABSENT = "—"
"""Shown for a missing value."""


@dataclass(frozen=True)
class Cell:
    """One cell: a text, a smaller detail after it (an interval, a reason), and a mark."""

    text: str = ABSENT
    detail: str = ""
    mark: Mark = ""

    @property
    def meaning(self) -> str:
        """The mark in words."""
        return MARKS[self.mark]


@dataclass(frozen=True)
class Heading:
    """A column's heading, under a common heading for adjacent columns of the same group."""

    text: str
    group: str = ""
    numeric: bool = True


Column = tuple[Heading, Callable[[Item], Cell | str]]
"""A heading, and a function from an item to its cell."""


def text_column(title: str, cell: Callable[[Item], Cell | str]) -> Column[Item]:
    """A column of text."""
    return Heading(title, numeric=False), cell


@dataclass(frozen=True)
class Table:
    """A table with its footnote.

    Attributes:
        name: one of `frcore.reporting.outputs.TABLES`.
        title: its caption.
        headings: one per column.
        rows: cells, one per heading in each row.
        notes: the footnote: protocol, n, interval method, seeds.
        data: the same numbers in machine-readable form, written as CSV.
        source: where the numbers come from, for a comment in the LaTeX file.
    """

    name: str
    title: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]
    data: pd.DataFrame = field(repr=False)
    source: Sequence[str] = ()

    @classmethod
    def of(
        cls, name: str, title: str, columns: Sequence[Column[Any]], items: Iterable[Any],
        notes: Sequence[str], data: pd.DataFrame,
    ) -> Table:  # fmt: skip
        """A table with one row for each item."""
        rows = [[_cell(made(item)) for _, made in columns] for item in items]
        return cls(name, title, [heading for heading, _ in columns], rows, notes, data)

    @property
    def csv(self) -> str:
        """Comma-separated values; no text can act as a formula."""
        return csv_text(self.data)

    def spans(self, places: Sequence[int] | None = None) -> list[tuple[str, int, int]]:
        """(group, first column, last column), 1-based, of adjacent headings of one group."""
        shown = self.headings if places is None else [self.headings[i] for i in places]
        numbered = groupby(enumerate(shown, start=1), key=lambda pair: pair[1].group)
        runs = [(group, [number for number, _ in members]) for group, members in numbered]
        return [(group, numbers[0], numbers[-1]) for group, numbers in runs]


def _cell(made: Cell | str) -> Cell:
    return made if isinstance(made, Cell) else Cell(made)


def to_markdown(table: Table) -> str:
    """A GitHub table: best in bold, statistically tied with the best in italics."""
    around = {"": "", "best": "**", "tied": "*"}

    def cell_text(cell: Cell) -> str:
        text = f"{around[cell.mark]}{escape.markdown(cell.text)}{around[cell.mark]}"
        return f"{text} {escape.markdown(cell.detail)}".strip()

    titles = [escape.markdown(f"{h.group} {h.text}".strip()) for h in table.headings]
    lines = [
        f"**{escape.markdown(table.title)}**",
        "",
        f"| {' | '.join(titles)} |",
        f"|{'|'.join('---:' if h.numeric else ':---' for h in table.headings)}|",
        *(f"| {' | '.join(map(cell_text, row))} |" for row in table.rows),
        "",
        *(f"- {escape.markdown(note)}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"
