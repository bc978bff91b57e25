"""Tables as LaTeX (booktabs), to `\\input` into a paper.

The file is plain ASCII and compiles with any engine and font encoding. A letter that the default
fonts lack is `\\codepoint{05D0}`, which prints [U+05D0]; under XeLaTeX and LuaLaTeX, with a font
that has it, `\\newcommand{\\codepoint}[1]{\\symbol{"#1}}` before the table prints the letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from frcore.reporting.tables.table import Cell, Heading, Table, spans
from frcore.text import one_line

LINE = 75
"""Digits of \\small Computer Modern (4.6 pt) in a line of the standard classes (345 pt)."""

GAP = 2.7
"""Digits that the space between two columns (12 pt) is wide."""

LONG = 40
"""Lines of a table; longer ones break over pages (longtable)."""

PROSE = 30
"""Columns with longer text have a width of their own, in which it breaks."""

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
"""Combining mark -> the accent of plain TeX, which every font encoding has."""


_JOINED = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=`)(?=`)|(?<=,)(?=,)|(?<=[?!])(?=`)")
"""Between letters that TeX would print as another one."""


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

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
        # The letters that lose their dot under an accent.
        base = {"i": r"\i", "j": r"\j"}.get(base, base)
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    return rf"\codepoint{{{ord(letter):04X}}}"


def to_latex(table: Table) -> str:
    """The table as a `table`, or as a `longtable` where it is longer than a page.

    Best is bold, not told apart underlined. Intervals stand below their numbers where there is no
    room beside them; a table that is still too wide goes on below with its first columns again.
    """
    columns = _Columns(table)
    lines = sum(1 + columns.stacked for _ in table.rows) * len(columns.panels)
    body = _long(table, columns) if lines > LONG else _floating(table, columns)
    return "\n".join([*_preamble(table, lines > LONG), *body]) + "\n"


def _preamble(table: Table, long: bool) -> list[str]:
    packages = "booktabs,array" + (",longtable" if long else "")
    lines = [rf"% \usepackage{{{packages}}} goes into the preamble."]
    if not long:
        lines.append("% In two columns: table* instead of table, on both its lines.")
    lines += [f"% {one_line(line)}".encode("ascii", "backslashreplace").decode()
              for line in table.source]  # fmt: skip
    return [*lines, r"\providecommand{\codepoint}[1]{[U+#1]}"]


class _Columns:
    """How wide the columns are, and how they are laid out.

    Attributes:
        stacked: whether details stand below their texts, in lines of their own.
        titles: the lines of each heading.
        panels: indices of the columns of each tabular, one below the other.
    """

    def __init__(self, table: Table):
        self._table = table
        cells = list(zip(*table.rows, strict=True)) or [() for _ in table.headings]
        texts = [max((len(cell.text) for cell in column), default=1) for column in cells]
        details = [max((len(cell.detail) for cell in column), default=0) for column in cells]
        below = [max((len(line) for cell in column for line in _detail_lines(cell)), default=0)
                 for column in cells]  # fmt: skip
        # Details are in \scriptsize, four letters of it as wide as three of \small.
        widths = [t + d * 0.75 + (d > 0) for t, d in zip(texts, details, strict=True)]
        self._prose = [_is_prose(column) for column in cells]
        self._narrow = [False] * len(cells)
        self.stacked = any(details) and self._sum(widths) > LINE and not any(self._prose)
        if self.stacked:
            widths = [max(t, d * 0.75) for t, d in zip(texts, below, strict=True)]
        self.titles = [_broken(h.text, w) for h, w in zip(table.headings, widths, strict=True)]
        widths = [max(width, *map(len, title))
                  for width, title in zip(widths, self.titles, strict=True)]  # fmt: skip
        if self._sum(widths) > LINE and not any(self._prose):
            halves = [_half(column) for column in cells]
            self._narrow = [half < width for half, width in zip(halves, widths, strict=True)]
            widths = [min(both) for both in zip(halves, widths, strict=True)]
        self._widths = widths
        self.panels = self._split()

    @staticmethod
    def _sum(widths: Sequence[float]) -> float:
        return sum(widths) + GAP * (len(widths) - 1)

    def _split(self) -> list[list[int]]:
        every = range(len(self._widths))
        if any(self._prose) or self._sum(self._widths) <= LINE:
            return [list(every)]
        fixed = _names(self._table)
        room = LINE - GAP - self._sum([self._widths[i] for i in fixed])
        panels: list[list[int]] = [[]]
        for i in every[len(fixed) :]:
            if panels[-1] and self._sum([self._widths[j] for j in (*panels[-1], i)]) > room:
                panels.append([])
            panels[-1].append(i)
        return [[*fixed, *panel] for panel in panels]

    def preamble(self, panel: Sequence[int]) -> str:
        """The column types of a tabular."""
        prose = [i for i in panel if self._prose[i]]
        left = LINE - self._sum([0.0 if self._prose[i] else self._widths[i] for i in panel])
        share = max(left, 15.0 * len(prose)) / max(len(prose), 1)
        kinds = []
        for i in panel:
            width = (share if self._prose[i] else self._widths[i]) / LINE
            wide = rf">{{\raggedright\arraybackslash}}p{{{width:.2f}\linewidth}}"
            plain = "r" if self._table.headings[i].numeric else "l"
            kinds.append(wide if self._prose[i] or self._narrow[i] else plain)
        return rf"@{{}}{''.join(kinds)}@{{}}"


def _names(table: Table) -> range:
    """The first columns, as many as it takes to tell the rows apart."""
    for count in range(1, len(table.headings)):
        names = [tuple(cell.text for cell in row[:count]) for row in table.rows]
        if len(set(names)) == len(names):
            return range(count)
    return range(1)


def _half(cells: Sequence[Cell]) -> float:
    """The width of a column of texts, each in two lines; infinite where they do not break."""
    texts = [cell.text for cell in cells]
    longest = max(map(len, texts), default=0)
    words = max((len(word) for text in texts for word in text.split()), default=0)
    breaks = longest > 15 and longest > words and not any(cell.detail for cell in cells)
    return max(words, longest / 2) + 3 if breaks else float("inf")


def _is_prose(cells: Sequence[Cell]) -> bool:
    """Whether a column has long texts, all of which can be broken."""
    texts = [f"{cell.text} {cell.detail}" for cell in cells]
    words = max((len(word) for text in texts for word in text.split()), default=0)
    return max(map(len, texts), default=0) > 2 * PROSE or (
        max((len(cell.text) for cell in cells), default=0) > PROSE >= words
    )


def _detail_lines(cell: Cell) -> list[str]:
    """A detail as it stands below its text: the interval, then where it comes from."""
    return re.split(r" (?=[±(])", cell.detail) if cell.detail else []


def _broken(text: str, width: float) -> list[str]:
    """A heading in lines that are hardly wider than what is below it; a unit is not parted."""
    lines: list[str] = []
    for word in re.split(r" (?!\[)", text):
        if lines and len(lines[-1]) + 1 + len(word) <= max(width, 9):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def _floating(table: Table, columns: _Columns) -> list[str]:
    lines = [r"\begin{table}", r"\centering", r"\small", *_caption(table), r"\par\medskip"]
    for place, panel in enumerate(columns.panels):
        lines += [r"\par\bigskip"] if place else []
        lines += [rf"\begin{{tabular}}{{{columns.preamble(panel)}}}"]
        lines += [r"\toprule", *_head(table, columns, panel), r"\midrule"]
        lines += [*_rows(table, columns, panel), r"\bottomrule", r"\end{tabular}"]
    return [*lines, *_notes(table), r"\end{table}"]


def _long(table: Table, columns: _Columns) -> list[str]:
    lines = [r"\begingroup", r"\small"]
    for place, panel in enumerate(columns.panels):
        caption = (
            rf"\caption[]{{{escape(table.title)} (continued)}}"
            if place
            else " ".join(_caption(table))
        )
        head = [r"\toprule", *_head(table, columns, panel), r"\midrule"]
        lines += [rf"\begin{{longtable}}{{{columns.preamble(panel)}}}", rf"{caption}\\", *head]
        lines += [r"\endfirsthead", *head, r"\endhead", r"\bottomrule", r"\endlastfoot"]
        lines += [*_rows(table, columns, panel), r"\end{longtable}"]
        lines += [r"\addtocounter{table}{-1}"] if place + 1 < len(columns.panels) else []
    return [*lines, *_notes(table), r"\par", r"\endgroup"]


def _caption(table: Table) -> list[str]:
    return [rf"\caption{{{escape(table.title)}}}", rf"\label{{tab:{table.name}}}"]


def _notes(table: Table) -> list[str]:
    if not table.notes:
        return []
    notes = [rf"\par\noindent {escape(note)}" for note in table.notes]
    return [r"\par\medskip", r"\begingroup\footnotesize\raggedright", *notes, r"\par\endgroup"]


def _head(table: Table, columns: _Columns, panel: Sequence[int]) -> list[str]:
    headings = [table.headings[i] for i in panel]
    titles = []
    for i, heading in zip(panel, headings, strict=True):
        lines = [_start(escape(line)) for line in columns.titles[i]]
        # A stack is as high as its letters, and would touch the rule above it.
        lines[0] = r"\rule{0pt}{2.4ex}" + lines[0] if len(lines) > 1 else lines[0]
        side, stack = "r" if heading.numeric else "l", r"\\".join(lines)
        titles.append(rf"\shortstack[{side}]{{{stack}}}" if len(lines) > 1 else lines[0])
    return [*_groups(headings), " & ".join(titles) + r" \\"]


def _start(text: str) -> str:
    """What would be an argument of the `\\` or rule before it is text."""
    return "{}" + text if text.startswith(("[", "*")) else text


def _groups(headings: Sequence[Heading]) -> list[str]:
    if not any(heading.group for heading in headings):
        return []
    found = spans(headings)
    cells = [
        rf"\multicolumn{{{last - first + 1}}}{{c}}{{{escape(group)}}}"
        for group, first, last in found
    ]
    rules = [rf"\cmidrule(lr){{{first}-{last}}}" for group, first, last in found if group]
    return [" & ".join(cells) + r" \\", "".join(rules)]


_AROUND = {"": "{}", "best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}


def _rows(table: Table, columns: _Columns, panel: Sequence[int]) -> list[str]:
    lines = []
    for row in table.rows:
        cells = [row[i] for i in panel]
        if not columns.stacked:
            lines.append(_line([_text(cell) + _small(cell.detail, " ") for cell in cells]) + r" \\")
            continue
        details = [_detail_lines(cell) for cell in cells]
        lines.append(_line(map(_text, cells)))
        for place in range(max(map(len, details))):
            below = [found[place] if place < len(found) else "" for found in details]
            lines[-1] += r" \\*"
            lines.append(_line(_small(text) for text in below))
        lines[-1] += r" \\[2pt]"
    return lines


def _line(texts: Iterable[str]) -> str:
    return _start(" & ".join(texts))


def _text(cell: Cell) -> str:
    return _AROUND[cell.mark].format(escape(cell.text))


def _small(text: str, before: str = "") -> str:
    return rf"{before}{{\scriptsize {escape(text)}}}" if text else ""
