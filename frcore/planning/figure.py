"""The plan's figure as a file; apart, so that planning itself needs no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frcore.errors import UserError
from frcore.planning.measured import Measured
from frcore.planning.step import Plan


def write_figure(plan: Plan, rows: Sequence[Measured], path: Path) -> None:
    """Draw measured steps over the bound, as SVG and as PNG beside it.

    Raises:
        UserError: the file's name does not end in .svg.
    """
    if path.suffix != ".svg":
        raise UserError(f"--figure {path}; allowed is a name that ends in .svg: a PNG goes beside")
    from frcore.reporting.canvas import look, save
    from frcore.reporting.plot_roofline import session_roofline

    with look():
        save(session_roofline(plan, rows), path, path.with_suffix(".png"))
