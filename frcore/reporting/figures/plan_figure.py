"""The plan's figure as a file; apart, so that planning itself needs no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.planning.measured import Measured
from frcore.planning.step import Plan


def write_figure(plan: Plan, rows: Sequence[Measured], path: Path) -> None:
    """Draw measured steps over the bound, as SVG and as PNG beside it.

    Raises:
        UserError: the file's name does not end in .svg, or is taken by another file.
    """
    if path.suffix != ".svg":
        raise UserError(f"--figure {path}; allowed is a name that ends in .svg: a PNG goes beside")
    png = path.with_suffix(".png")
    refuse_other_file(path, "frcore", "a figure of frcore")
    if not path.exists():  # a PNG does not say whose it is, but the SVG beside it does
        refuse_other_file(png, None, "beside a figure of frcore")
    from frcore.reporting.figures.canvas import look, save
    from frcore.reporting.figures.roofline import session_roofline

    with look():
        save(session_roofline(plan, rows), path, png)
