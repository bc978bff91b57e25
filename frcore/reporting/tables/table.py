"""A table as it is seen, and its forms CSV, Markdown and HTML; LaTeX is in `latex`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pandas as pd
from markupsafe import Markup

from frcore.reporting.tables import escape
from frcore.results.column import Mark
from frcore.results.rows import csv_text

MARKS: dict[Mark, str] = {
    "": "",
    "best": "best",
    "tied": "not told apart from the best",
}


@dataclass(frozen=True)
class Cell:
    """One cell: a text, a smaller detail behind it (an interval), and a mark."""

    text: str
    detail: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class Heading:
    """A column's heading, under a common heading for neighbours of the same group."""

    text: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table with its footnote.

    Attributes:
        name: one of `frcore.reporting.outputs.TABLES`.
        title: its caption.
        headings: one per column.
        rows: cells, as many in each row as there are headings.
        notes: the footnote: protocol, n, interval method, seeds.
        data: the same numbers for machines, written as CSV.
        source: where the numbers come from, for a comment in a paper.
    """

    name: str
    title: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]
    data: pd.DataFrame = field(repr=False)
    source: Sequence[str] = ()

    @property
    def csv(self) -> str:
        """Comma-separated values; text cannot act as a formula."""
        return csv_text(self.data)


# --- Markdown ----------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """A GitHub table: best in bold, not told apart from the best in italics."""
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


def spans(headings: Sequence[Heading]) -> list[tuple[str, int, int]]:
    """(group, first column, last column), 1-based, of neighbouring headings of one group."""
    numbered = groupby(enumerate(headings, start=1), key=lambda pair: pair[1].group)
    runs = [(group, [number for number, _ in members]) for group, members in numbered]
    return [(group, numbers[0], numbers[-1]) for group, numbers in runs]


# --- HTML --------------------------------------------------------------------------------------


def to_html(table: Table, *, row_heads: int = 1) -> Markup:
    """The table for the page; the first `row_heads` columns are the rows' headings.

    great_tables lays it out; its style sheet is dropped for the page's own, which knows the dark.
    """
    from great_tables import GT, html

    names = [f"column{i}" for i in range(len(table.headings))]
    cells = [[_html_cell(cell) for cell in row] for row in table.rows]
    frame = pd.DataFrame(cells, columns=names, dtype=object)
    titles = [html(str(escape.html(heading.text))) for heading in table.headings]
    laid_out = GT(frame).cols_label(cases=dict(zip(names, titles, strict=True)))
    laid_out = laid_out.fmt(str).cols_align("left")
    laid_out = laid_out.cols_align(
        "right", [name for name, h in zip(names, table.headings, strict=True) if h.numeric]
    )
    for number, (group, first, last) in enumerate(spans(table.headings)):
        if group:
            laid_out = laid_out.tab_spanner(
                html(str(escape.html(group))), names[first - 1 : last], id=f"group{number}"
            )
    # great_tables sets cells one by one, which takes longer where pandas keeps text in Arrow.
    with pd.option_context("mode.string_storage", "python"):
        return _plain(laid_out.as_raw_html(), row_heads)


def _html_cell(cell: Cell) -> str:
    mark = MARKS[cell.mark]
    parts = [f'<span class="value {cell.mark}">{escape.html(cell.text)}</span>']
    if mark:
        parts.append(f'<span class="unseen"> ({mark})</span>')
    if cell.detail:
        parts.append(f' <span class="detail">{escape.html(cell.detail)}</span>')
    return "".join(parts)


def _plain(raw: str, row_heads: int) -> Markup:
    """The bare `<table>` of great_tables: no style, no ids (two tables share theirs)."""
    body = raw[raw.index("<table") : raw.index("</table>") + len("</table>")]
    body = re.sub(r'\s(?:id|headers|style|aria-labelledby|data-quarto-[a-z-]+)="[^"]*"', "", body)
    body = re.sub(r'\s(?:row|col)span="1"', "", body)

    def head_row(match: re.Match[str]) -> str:
        pattern = r"<td([^>]*)>(.*?)</td>"
        return re.sub(
            pattern, r'<th scope="row"\1>\2</th>', match.group(0), count=row_heads, flags=re.DOTALL
        )

    top, _, rest = body.partition("<tbody")
    rest = re.sub(r"<tr>.*?</tr>", head_row, rest, flags=re.DOTALL)
    return Markup(f"{top}<tbody{rest}")
