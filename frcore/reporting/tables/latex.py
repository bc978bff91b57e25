"""Tables as LaTeX (booktabs), to `\\input` into a paper.

The file is plain ASCII and compiles with any engine and font encoding. A letter that the default
fonts lack is `\\codepoint{05D0}`, which prints [U+05D0]; under XeLaTeX and LuaLaTeX, with a font
that has it, `\\newcommand{\\codepoint}[1]{\\symbol{"#1}}` before the table prints the letter.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from itertools import zip_longest

from frcore.reporting.tables.table import Cell, Table
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

    Best is bold, statistically tied underlined. Intervals stand below their numbers where there is
    no room beside them; a table that is still too wide goes on below with its first columns again.
    """
    layout = _Layout(table)
    long = len(table.rows) * (1 + layout.stacked) * len(layout.panels) > LONG
    packages = "booktabs,array" + (",longtable" if long else "")
    source = [
        f"% {one_line(line)}".encode("ascii", "backslashreplace").decode() for line in table.source
    ]
    notes = [rf"\par\noindent {escape(note)}" for note in table.notes]
    if notes:
        notes = [r"\par\medskip", r"\begingroup\footnotesize\raggedright", *notes,
                 r"\par\endgroup"]  # fmt: skip
    return "\n".join([
        rf"% \usepackage{{{packages}}} goes into the preamble.",
        *([] if long else ["% In two columns: table* instead of table, on both its lines."]),
        *source,
        r"\providecommand{\codepoint}[1]{[U+#1]}",
        *(_long(table, layout, notes) if long else _floating(table, layout, notes)),
        "",
    ])  # fmt: skip


def _floating(table: Table, layout: _Layout, notes: Sequence[str]) -> list[str]:
    lines = [r"\begin{table}", r"\centering", r"\small", *_caption(table), r"\par\medskip"]
    for place, panel in enumerate(layout.panels):
        lines += [
            *([r"\par\bigskip"] if place else []),
            rf"\begin{{tabular}}{{{layout.kinds(panel)}}}",
            r"\toprule", *layout.head(panel), r"\midrule",
            *layout.rows(panel), r"\bottomrule", r"\end{tabular}",
        ]  # fmt: skip
    return [*lines, *notes, r"\end{table}"]


def _long(table: Table, layout: _Layout, notes: Sequence[str]) -> list[str]:
    lines = [r"\begingroup", r"\small"]
    again = rf"\caption[]{{{escape(table.title)} (continued)}}"
    for place, panel in enumerate(layout.panels):
        head = [r"\toprule", *layout.head(panel), r"\midrule"]
        lines += [
            rf"\begin{{longtable}}{{{layout.kinds(panel)}}}",
            (again if place else " ".join(_caption(table))) + r"\\", *head, r"\endfirsthead",
            *head, r"\endhead", r"\bottomrule", r"\endlastfoot",
            *layout.rows(panel), r"\end{longtable}",
            *([r"\addtocounter{table}{-1}"] if panel is not layout.panels[-1] else []),
        ]  # fmt: skip
    return [*lines, *notes, r"\par", r"\endgroup"]


def _caption(table: Table) -> list[str]:
    return [rf"\caption{{{escape(table.title)}}}", rf"\label{{tab:{table.name}}}"]


class _Layout:
    """How a table fits into a line.

    Attributes:
        stacked: whether details stand below their texts, in lines of their own.
        panels: indices of the columns of each tabular, one below the other.
    """

    def __init__(self, table: Table):
        self._table = table
        cells = list(zip(*table.rows, strict=True)) or [()] * len(table.headings)
        self._prose = [any(map(_is_prose, column)) for column in cells]
        beside = [_width(column, lambda cell: [cell.detail and f"{cell.detail} "], wide=sum)
                  for column in cells]  # fmt: skip
        detailed = any(cell.detail for row in table.rows for cell in row)
        self.stacked = detailed and _total(beside) > LINE and not any(self._prose)
        widths = [_width(column, _detail_lines, wide=max) for column in cells]
        widths = widths if self.stacked else beside
        self._titles = [_broken(h.text, w) for h, w in zip(table.headings, widths, strict=True)]
        self._widths = [
            max(width, *map(len, title)) for width, title in zip(widths, self._titles, strict=True)
        ]
        self._broken = [False] * len(cells)
        if _total(self._widths) > LINE and not any(self._prose):
            halves = [_half(column) for column in cells]
            self._broken = [h < w for h, w in zip(halves, self._widths, strict=True)]
            self._widths = list(map(min, halves, self._widths))
        self.panels = self._split()

    def _split(self) -> list[list[int]]:
        """All columns in one panel if they fit; else the first ones in each, and some others."""
        every = list(range(len(self._widths)))
        if any(self._prose) or _total(self._widths) <= LINE:
            return [every]
        names = ([tuple(cell.text for cell in row[:count]) for row in self._table.rows]
                 for count in every[1:])  # fmt: skip
        fixed = next((n for n, found in enumerate(names, 1) if len({*found}) == len(found)), 1)
        panels: list[list[int]] = [[]]
        for i in every[fixed:]:
            panel = [*every[:fixed], *panels[-1], i]
            if panels[-1] and _total([self._widths[j] for j in panel]) > LINE:
                panels.append([])
            panels[-1].append(i)
        return [[*every[:fixed], *panel] for panel in panels]

    def kinds(self, panel: Sequence[int]) -> str:
        """The column types of a tabular; columns of prose share what the others leave."""
        prose = sum(self._prose[i] for i in panel)
        left = LINE - _total([0.0 if self._prose[i] else self._widths[i] for i in panel])
        share = max(left / max(prose, 1), 15.0) / LINE
        kinds = []
        for i in panel:
            width = share if self._prose[i] else self._widths[i] / LINE
            wide = rf">{{\raggedright\arraybackslash}}p{{{width:.2f}\linewidth}}"
            plain = "r" if self._table.headings[i].numeric else "l"
            kinds.append(wide if self._prose[i] or self._broken[i] else plain)
        return rf"@{{}}{''.join(kinds)}@{{}}"

    def head(self, panel: Sequence[int]) -> list[str]:
        """The headings, with those of groups above them."""
        groups = []
        if any(self._table.headings[i].group for i in panel):
            found = self._table.spans(panel)
            spans = [rf"\multicolumn{{{last - first + 1}}}{{c}}{{{escape(group)}}}"
                     for group, first, last in found]  # fmt: skip
            rules = [rf"\cmidrule(lr){{{first}-{last}}}" for group, first, last in found if group]
            groups = [" & ".join(spans) + r" \\", "".join(rules)]
        return [*groups, " & ".join(map(self._title, panel)) + r" \\"]

    def _title(self, column: int) -> str:
        lines = [_start(escape(line)) for line in self._titles[column]]
        if len(lines) == 1:
            return lines[0]
        # A stack is as high as its letters, and would touch the rule above it.
        side, stack = "r" if self._table.headings[column].numeric else "l", r"\\".join(lines)
        return rf"\shortstack[{side}]{{\rule{{0pt}}{{2.4ex}}{stack}}}"

    def rows(self, panel: Sequence[int]) -> list[str]:
        """The body; a stacked row has several lines that no page break parts."""
        lines = []
        for row in self._table.rows:
            cells = [row[i] for i in panel]
            if self.stacked:
                details = zip_longest(*map(_detail_lines, cells), fillvalue="")
                parts = [list(map(_text, cells)), *([*map(_small, one)] for one in details)]
            else:
                parts = [[f"{_text(cell)} {_small(cell.detail)}".rstrip() for cell in cells]]
            rest = r" \\*" + "\n"
            lines.append(rest.join(_start(" & ".join(part)) for part in parts) + r" \\")
            lines[-1] += "[2pt]" if self.stacked else ""
        return lines


def _total(widths: Sequence[float]) -> float:
    return sum(widths) + GAP * (len(widths) - 1)


def _width(
    cells: Sequence[Cell], details: Callable[[Cell], list[str]], *, wide: Callable[..., float]
) -> float:
    """The width of a column, where four letters of a detail are as wide as three of a text."""
    text = max((len(cell.text) for cell in cells), default=1)
    detail = max((len(line) for cell in cells for line in details(cell)), default=0)
    return wide((text, 0.75 * detail))


def _half(cells: Sequence[Cell]) -> float:
    """The width of a column of texts, each in two lines; infinite where they do not break."""
    longest = max((len(cell.text) for cell in cells), default=0)
    word = max((len(word) for cell in cells for word in cell.text.split()), default=0)
    breaks = longest > max(15, word) and not any(cell.detail for cell in cells)
    return max(word, longest / 2) + 3 if breaks else float("inf")


def _is_prose(cell: Cell) -> bool:
    """Whether a text is long, and can be broken."""
    words = f"{cell.text} {cell.detail}"
    return len(words) > 2 * PROSE or (
        len(cell.text) > PROSE >= max(map(len, words.split()), default=0)
    )


def _detail_lines(cell: Cell) -> list[str]:
    """A detail as it stands below its text: the interval, then where it comes from."""
    return re.split(r" (?=[±(])", cell.detail) if cell.detail else []


def _broken(text: str, width: float) -> list[str]:
    """A heading in lines that are hardly wider than what is below it; a unit is not parted."""
    lines = textwrap.wrap(
        text.replace(" [", "\u00a0["), int(max(width, 9)), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return lines or [""]


def _start(text: str) -> str:
    """What would be an argument of the `\\` or rule before it is text."""
    return "{}" + text if text.startswith(("[", "*")) else text


_AROUND = {"": "{}", "best": r"\textbf{{{}}}", "tied": r"\underline{{{}}}"}


def _text(cell: Cell) -> str:
    return _AROUND[cell.mark].format(escape(cell.text))


def _small(text: str) -> str:
    return rf"{{\scriptsize {escape(text)}}}" if text else ""
