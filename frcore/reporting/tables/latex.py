"""Tables as LaTeX (booktabs), to `\\input` into a paper.

The file is plain ASCII and compiles with any engine and font encoding. A letter that the default
fonts lack becomes `\\codepoint{05D0}`, which prints [U+05D0]; with XeLaTeX or LuaLaTeX and a font
that has it, `\\newcommand{\\codepoint}[1]{\\symbol{"#1}}` before the table prints the letter.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence

from frcore.reporting.tables.table import Cell, Table
from frcore.text import one_line

LINE = 75
"""Digits of \\small Computer Modern (4.6 pt) that fit a line of the standard classes (345 pt)."""

ROOM = 1.4 * LINE
"""Widest table kept on one line: it is scaled down to fit, but stays readable."""

GAP = 2.7
"""Width of the space between two columns (12 pt), in digits."""

LONG = 40
"""Lines of a page; a longer table continues in the next `table`."""

PROSE = 30
"""Columns with text longer than this get a fixed width, with line breaks."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}",
    "\u00a0": "~", "\u2009": r"\,", "\u202f": r"\,",
    "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "–": r"\textendash{}",
    "—": r"\textemdash{}", "≥": r"$\geq$",
    "≤": r"$\leq$", "≈": r"$\approx$", "≠": r"$\neq$", "°": r"$^\circ$", "·": r"$\cdot$",
    "…": r"\ldots{}", "→": r"$\rightarrow$", "∞": r"$\infty$", "√": r"$\surd$", "µ": r"$\mu$",
    "²": "$^2$", "³": "$^3$", "¹": "$^1$", "§": r"\S{}", "¶": r"\P{}", "©": r"\copyright{}",
    "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}", "†": r"\dag{}", "‡": r"\ddag{}",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
    "Γ": r"$\Gamma$", "Δ": r"$\Delta$", "Θ": r"$\Theta$", "Λ": r"$\Lambda$", "Ξ": r"$\Xi$",
    "Π": r"$\Pi$", "Σ": r"$\Sigma$", "Φ": r"$\Phi$", "Ψ": r"$\Psi$", "Ω": r"$\Omega$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\varepsilon$",
    "ζ": r"$\zeta$", "η": r"$\eta$", "θ": r"$\theta$", "κ": r"$\kappa$", "λ": r"$\lambda$",
    "μ": r"$\mu$", "ν": r"$\nu$", "ξ": r"$\xi$", "π": r"$\pi$", "ρ": r"$\rho$", "σ": r"$\sigma$",
    "τ": r"$\tau$", "φ": r"$\varphi$", "χ": r"$\chi$", "ψ": r"$\psi$", "ω": r"$\omega$",
}  # fmt: skip

_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d",
    "\u0327": "c", "\u0331": "b",
}  # fmt: skip
"""Combining mark -> accent of plain TeX, available in every font encoding."""


_JOINED = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=`)(?=`)|(?<=,)(?=,)|(?<=[?!])(?=`)")
"""Between letters that TeX would merge into another one (a ligature)."""


def escape(text: str) -> str:
    r"""Text that LaTeX prints literally.

    >>> print(escape("50 % of $x_1$, Müller & \input{a}"))
    50 \% of \$x\_1\$, M\"{u}ller \& \textbackslash{}input\{a\}
    >>> print(escape("אב"))
    \codepoint{05D0}\codepoint{05D1}
    """
    letters = unicodedata.normalize("NFC", one_line(text))
    return _JOINED.sub("{}", "".join(map(_letter, letters)))


def _letter(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isascii():
        return letter
    base, *marks = list(unicodedata.normalize("NFD", letter))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        # Letters that lose their dot under an accent.
        base = {"i": r"\i", "j": r"\j"}.get(base, base)
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    return rf"\codepoint{{{ord(letter):04X}}}"


def to_latex(table: Table) -> str:
    """The table as one `table`, or as several if it is longer than a page.

    Best is bold, statistically tied underlined. Intervals that do not fit next to their numbers go
    below them; a table that is still too wide is split into panels that repeat the first columns.
    """
    layout = _Layout(table)
    count = max(LONG // layout.height, 1)
    pages = [table.rows[i : i + count] for i in range(0, max(len(table.rows), 1), count)]
    parts = [layout.tabular(panel, rows) for panel in layout.panels for rows in pages]
    long = len(table.rows) * layout.height * len(layout.panels) > LONG
    lines = [
        r"% \usepackage{booktabs,array,graphicx} goes into the preamble.",
        "% In two columns: table* instead of table, on both its lines.",
        *(f"% {one_line(line)}".encode("ascii", "backslashreplace").decode()
          for line in table.source),
        r"\providecommand{\codepoint}[1]{[U+#1]}",
        r"\begin{table}", r"\centering", r"\small",
        rf"\caption{{{escape(table.title)}}}", rf"\label{{tab:{table.name}}}", r"\par\medskip",
        *parts[0],
    ]  # fmt: skip
    again = [
        r"\end{table}", r"\addtocounter{table}{-1}", r"\begin{table}", r"\centering", r"\small",
        rf"\caption[]{{{escape(table.title)} (continued)}}",
    ]  # fmt: skip
    for part in parts[1:]:
        lines += [*(again if long else []), r"\par\medskip", *part]
    if table.notes:
        notes = [rf"\par\noindent {escape(note)}" for note in table.notes]
        lines += [r"\par\medskip", r"\begingroup\footnotesize\raggedright", *notes,
                  r"\par\endgroup"]  # fmt: skip
    return "\n".join([*lines, r"\end{table}"]) + "\n"


class _Layout:
    """How a table is fitted to the line width.

    Attributes:
        height: lines of a row.
        panels: indices of the columns of each tabular, one below the other.
    """

    def __init__(self, table: Table):
        self._table = table
        columns = [[row[i] for row in table.rows] for i in range(len(table.headings))]
        self._prose = [any(map(_is_prose, cells)) for cells in columns]
        # Details are in \scriptsize: four of its letters are as wide as three in \small.
        beside = [max((len(c.text) + 0.75 * len(f" {c.detail}".rstrip()) for c in cells), default=1)
                  for cells in columns]  # fmt: skip
        stacked = sum(beside) + GAP * len(beside) > LINE and not any(self._prose)
        self._cell = _stacked if stacked else _beside
        self.height = max((len(_lines(cell)) for row in table.rows for cell in row if stacked),
                          default=1)  # fmt: skip
        below = [max((len(line) * (1 if line is cell.text else 0.75)
                      for cell in cells for line in _lines(cell)), default=1)
                 for cells in columns]  # fmt: skip
        widths = below if stacked else beside
        self._titles = [_broken(h.text, w) for h, w in zip(table.headings, widths, strict=True)]
        self._widths = [GAP + max(width, *map(len, title))
                        for width, title in zip(widths, self._titles, strict=True)]  # fmt: skip
        self.panels = self._split()

    def _split(self) -> list[list[int]]:
        """All columns if they fit; else the first ones in each panel, and some others."""
        every = list(range(len(self._widths)))
        if sum(self._widths) <= ROOM or any(self._prose):
            return [every]
        names = ([tuple(cell.text for cell in row[:count]) for row in self._table.rows]
                 for count in every[1:])  # fmt: skip
        fixed = next((n for n, found in enumerate(names, 1) if len({*found}) == len(found)), 1)
        panels: list[list[int]] = [[]]
        for column in every[fixed:]:
            shown = [*every[:fixed], *panels[-1], column]
            if panels[-1] and sum(self._widths[i] for i in shown) > ROOM:
                panels.append([])
            panels[-1].append(column)
        return [[*every[:fixed], *panel] for panel in panels]

    def tabular(self, panel: Sequence[int], rows: Sequence[Sequence[Cell]]) -> list[str]:
        """Some columns of some rows."""
        headings = [self._table.headings[i] for i in panel]
        sides = ["r" if heading.numeric else "l" for heading in headings]
        prose = [self._prose[i] for i in panel]
        rest = sum(GAP if self._prose[i] else self._widths[i] for i in panel)
        # Columns of prose share what the others leave.
        share = max((LINE - rest) / max(sum(prose), 1), 15.0) / LINE
        wide = rf">{{\raggedright\arraybackslash}}p{{{share:.2f}\linewidth}}"
        kinds = "".join(wide if long else side for side, long in zip(sides, prose, strict=True))
        groups = []
        if any(heading.group for heading in headings):
            spans = self._table.spans(panel)
            texts = [rf"\multicolumn{{{last - first + 1}}}{{c}}{{{escape(group)}}}"
                     for group, first, last in spans]  # fmt: skip
            rules = [rf"\cmidrule(lr){{{first}-{last}}}" for group, first, last in spans if group]
            groups = [" & ".join(texts) + r" \\", "".join(rules)]
        titles = [_stack(self._titles[i], side) for i, side in zip(panel, sides, strict=True)]
        body = [[self._cell(row[i], side) for i, side in zip(panel, sides, strict=True)]
                for row in rows]  # fmt: skip
        return [
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
            r"\toprule", *groups, _row(titles), r"\midrule", *map(_row, body), r"\bottomrule",
            r"\end{tabular}}",
        ]  # fmt: skip


def _is_prose(cell: Cell) -> bool:
    """Whether a text is long and can be broken."""
    words = f"{cell.text} {cell.detail}"
    return len(words) > 2 * PROSE or (
        len(cell.text) > PROSE >= max(map(len, words.split()), default=0)
    )


def _lines(cell: Cell) -> list[str]:
    """A cell in lines: the text, the interval, then its standard errors."""
    return [cell.text, *(re.split(r" (?=[±(])", cell.detail) if cell.detail else [])]


def _broken(text: str, width: float) -> list[str]:
    """A heading, broken to about the width of its column; a unit stays with its word."""
    unparted = text.replace(" [", "\u00a0[")
    return textwrap.wrap(unparted, int(max(width, 9)), break_long_words=False,
                         break_on_hyphens=False) or [""]  # fmt: skip


def _stack(lines: Sequence[str], side: str) -> str:
    """A heading of several lines."""
    # A stack is only as high as its letters and would touch the rule above it.
    stack = r"\\".join(_start(escape(line)) for line in lines)
    return rf"\shortstack[{side}]{{\rule{{0pt}}{{2.4ex}}{stack}}}" if len(lines) > 1 else stack


def _row(cells: Sequence[str]) -> str:
    return _start(" & ".join(cells)) + r" \\"


def _start(text: str) -> str:
    """Keep TeX from reading the text as an argument of the preceding `\\` or rule."""
    return "{}" + text if text.startswith(("[", "*")) else text


_AROUND = {"": "{}", "best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}


def _stacked(cell: Cell, side: str) -> str:
    first, *details = _lines(cell)
    below = [rf"{{\scriptsize {escape(detail)}}}" for detail in details]
    lines = r"\\".join([_AROUND[cell.mark].format(escape(first)), *below])
    # Aligned so that the other cells of the row are level with the text.
    return rf"\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{lines}\end{{tabular}}" if below else lines


def _beside(cell: Cell, side: str) -> str:
    detail = rf" {{\scriptsize {escape(cell.detail)}}}" if cell.detail else ""
    return _AROUND[cell.mark].format(escape(cell.text)) + detail
