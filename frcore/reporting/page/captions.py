"""The caption of each figure and table, on the page and in Snakemake's report.

`workflow/report/*.rst` contain the same texts for `snakemake --report`; `frcore docs` writes them.
"""

from __future__ import annotations

from pathlib import Path

from frcore.files import write_text
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


def write_captions(folder: Path) -> None:
    """Write the caption of each figure and table into `folder`, for `snakemake --report`."""
    for name, caption in FIGURES.items():
        write_text(folder / f"{name}.rst", rst(*caption))
    for name, caption in TABLES.items():
        write_text(folder / f"table_{name}.rst", rst(*caption))
