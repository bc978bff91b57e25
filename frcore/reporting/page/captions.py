"""The caption of each figure and table, on the page and in Snakemake's report.

`workflow/report/*.rst` hold the same texts for `snakemake --report`; a test keeps them equal.
"""

from __future__ import annotations

from frcore.reporting.page.sections import SECTIONS

FIGURES, TABLES = (
    {part.name: (part.title, part.caption)
     for section in SECTIONS for part in section.parts if part.kind == kind}
    for kind in ("figure", "table")
)  # fmt: skip
"""Name -> title and caption."""


def rst(title: str, text: str) -> str:
    """A caption as reStructuredText."""
    return f"**{title}.** {text}\n"
