"""A table as it is seen, and its four forms: CSV, Markdown, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Literal

import pandas as pd
from markupsafe import Markup, escape

from frcore.files import write_text
from frcore.reporting import outputs
from frcore.reporting.rows import csv_text

Mark = Literal["", "best", "tied"]

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
    """

    name: str
    title: str
    headings: Sequence[Heading]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]
    data: pd.DataFrame = field(repr=False)

    @property
    def csv(self) -> str:
        """Comma-separated values; text cannot act as a formula."""
        return csv_text(self.data)


def write_table(table: Table, root: str | Path) -> None:
    """Write the table as CSV, Markdown and LaTeX under `tables/`."""
    files = outputs.paths(root)
    write_text(files[f"table_{table.name}_csv"], table.csv)
    write_text(files[f"table_{table.name}_md"], to_markdown(table))
    write_text(files[f"table_{table.name}_tex"], to_latex(table))


# --- Markdown ----------------------------------------------------------------------------------


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)
    return " ".join(text.split())


def to_markdown(table: Table) -> str:
    """A GitHub table: best in bold, not told apart from the best in italics."""
    around = {"": "", "best": "**", "tied": "*"}

    def cell_text(cell: Cell) -> str:
        text = f"{around[cell.mark]}{escape_markdown(cell.text)}{around[cell.mark]}"
        return f"{text} {escape_markdown(cell.detail)}".strip()

    titles = [escape_markdown(f"{h.group} {h.text}".strip()) for h in table.headings]
    lines = [
        f"**{escape_markdown(table.title)}**",
        "",
        f"| {' | '.join(titles)} |",
        f"|{'|'.join('---:' if h.numeric else ':---' for h in table.headings)}|",
        *(f"| {' | '.join(map(cell_text, row))} |" for row in table.rows),
        "",
        *(f"- {escape_markdown(note)}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


# --- LaTeX -------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---", "≥": r"$\geq$",
    "≤": r"$\leq$", "≈": r"$\approx$", "°": r"$^\circ$", "·": r"$\cdot$", "…": r"\ldots{}",
    "Δ": r"$\Delta$", "\n": " ", "\r": " ",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it stands, with the default font encoding."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def to_latex(table: Table) -> str:
    """A `table` environment to `\\input`; needs booktabs. Best bold, not told apart underlined."""
    around = {"": "{}", "best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}

    def cell_text(cell: Cell) -> str:
        text = around[cell.mark].format(escape_latex(cell.text))
        return rf"{text} {{\scriptsize {escape_latex(cell.detail)}}}" if cell.detail else text

    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.title)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{''.join('r' if h.numeric else 'l' for h in table.headings)}}}",
        r"\toprule",
        *_latex_groups(table.headings),
        " & ".join(escape_latex(h.text) for h in table.headings) + r" \\",
        r"\midrule",
        *(" & ".join(map(cell_text, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {escape_latex(note)}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _spans(headings: Sequence[Heading]) -> list[tuple[str, int, int]]:
    """(group, first column, last column), 1-based, of neighbouring headings of one group."""
    numbered = groupby(enumerate(headings, start=1), key=lambda pair: pair[1].group)
    runs = [(group, [number for number, _ in members]) for group, members in numbered]
    return [(group, numbers[0], numbers[-1]) for group, numbers in runs]


def _latex_groups(headings: Sequence[Heading]) -> list[str]:
    if not any(heading.group for heading in headings):
        return []
    spans = _spans(headings)
    cells = [
        rf"\multicolumn{{{last - first + 1}}}{{c}}{{{escape_latex(group)}}}"
        for group, first, last in spans
    ]
    rules = [rf"\cmidrule(lr){{{first}-{last}}}" for group, first, last in spans if group]
    return [" & ".join(cells) + r" \\", "".join(rules)]


# --- HTML --------------------------------------------------------------------------------------


def to_html(table: Table, *, row_heads: int = 1) -> Markup:
    """The table for the page; the first `row_heads` columns are the rows' headings.

    great_tables lays it out; its style sheet is dropped for the page's own, which knows the dark.
    """
    from great_tables import GT, html

    names = [f"column{i}" for i in range(len(table.headings))]
    cells = [[_html_cell(cell) for cell in row] for row in table.rows]
    frame = pd.DataFrame(cells, columns=names, dtype=object)
    titles = [html(str(escape(heading.text))) for heading in table.headings]
    laid_out = GT(frame).cols_label(cases=dict(zip(names, titles, strict=True)))
    laid_out = laid_out.fmt(str).cols_align("left")
    laid_out = laid_out.cols_align(
        "right", [name for name, h in zip(names, table.headings, strict=True) if h.numeric]
    )
    for number, (group, first, last) in enumerate(_spans(table.headings)):
        if group:
            laid_out = laid_out.tab_spanner(
                html(str(escape(group))), names[first - 1 : last], id=f"group{number}"
            )
    return _plain(laid_out.as_raw_html(), row_heads)


def _html_cell(cell: Cell) -> str:
    mark = MARKS[cell.mark]
    parts = [f'<span class="value {cell.mark}">{escape(cell.text)}</span>']
    if mark:
        parts.append(f'<span class="unseen"> ({mark})</span>')
    if cell.detail:
        parts.append(f' <span class="detail">{escape(cell.detail)}</span>')
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
