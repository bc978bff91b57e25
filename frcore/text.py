"""Text from elsewhere (file names, error messages, metadata) made harmless to show."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"
"""Written in Persian words and between the parts of an emoji; they move nothing else."""


def visible(text: str) -> str:
    r"""`text` with every invisible character with an effect written as its code point.

    Those are control characters (a terminal obeys them), characters that reverse the writing
    direction (a name can look like another), and lone surrogates, which represent bytes of a file
    name that are not text and cannot be written to a file. Line breaks and tabs stay.

    >>> visible("\x1b[31mred\u202egnp.exe \udce9")
    '[U+001B][31mred[U+202E]gnp.exe [U+DCE9]'
    >>> visible("Ünï \u05d0\u05d1 中 −1")
    'Ünï אב 中 −1'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(letter) if _acts(letter) else letter for letter in text)


def _acts(letter: str) -> bool:
    if letter in "\n\r\t":
        return False
    kind = unicodedata.category(letter)
    return kind in ("Cc", "Cs", "Zl", "Zp", "Co") or (kind == "Cf" and letter not in _JOINERS)


def _code(letter: str) -> str:
    return f"[U+{ord(letter):04X}]"


def one_line(text: str, length: int | None = None) -> str:
    """`visible`, without line breaks, and cut with an ellipsis where it is longer than `length`.

    >>> one_line("a\\n  b" + 20 * "c", 10)
    'a bcccccc…'
    """
    line = " ".join(visible(text).split())
    return line if length is None or len(line) <= length else f"{line[: length - 1]}…"


_SIGNS = "[=+\\-@＝＋－＠]"
_FORMULA = re.compile(rf"^(?=\s*{_SIGNS}|[\t\r\n])|(?<=[;\t\r\n])(?={_SIGNS})")
"""Where a spreadsheet looks for a formula: at a cell's start, which in some countries is after a
semicolon or tab, whatever the file's name ends in."""


def csv_cell(cell: Any) -> Any:
    """A cell that no spreadsheet computes: numbers stay, text gets the apostrophe it hides.

    >>> csv_cell(-0.5), csv_cell("=1+1"), csv_cell("a;=1+1"), csv_cell("tiny-s0")
    (-0.5, "'=1+1", "a;'=1+1", 'tiny-s0')
    """
    return _FORMULA.sub("'", visible(cell)) if isinstance(cell, str) else cell
