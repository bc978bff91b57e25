"""A table in a terminal."""

from __future__ import annotations

from collections.abc import Mapping

import rich.table
from rich.text import Text

from frcore.reporting.tables.table import Table


def drawn(table: Table, styles: Mapping[str, str]) -> rich.table.Table:
    """A table as rich draws it.

    Args:
        table: to draw.
        styles: text of a cell -> its style.
    """
    found = rich.table.Table(title=Text(table.title), title_justify="left")
    for heading in table.headings:
        words = f"{heading.group} {heading.text}" if heading.group else heading.text
        found.add_column(Text(words), justify="right" if heading.numeric else "left")
    for row in table.rows:
        found.add_row(
            *(Text(f"{cell.text} {cell.detail}".strip(), style=styles.get(cell.text, ""))
              for cell in row)
        )  # fmt: skip
    return found
