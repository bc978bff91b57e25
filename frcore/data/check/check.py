"""`frcore prepare --check PATH`: the format of PATH, and whether it is intact.

The format's section of a study is read as by `frcore prepare`, every image is decoded, and problems
are collected in a `Report`; nothing is written. The formats are in `frcore.data.check.formats`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from frcore.data.check.formats import FORMATS, Format
from frcore.data.check.report import Report
from frcore.errors import UserError


def check(path: str | Path) -> list[Report]:
    """Check `path` or, if it is a folder of several data sets, each of them.

    Raises:
        UserError: it does not exist, or its format is unknown.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file or folder to check")

    def format_of(one: Path) -> Format | None:
        return next((form for form in FORMATS if form.recognises(one)), None)

    candidates = [path]
    if path.is_dir() and format_of(path) is None:
        candidates = sorted(path.iterdir())
    reports = [_checked(form, one) for one in candidates if (form := format_of(one)) is not None]
    if not reports:
        names = "; ".join(form.name for form in FORMATS)
        raise UserError(
            f"{path} has none of the known formats: {names}; docs/data.md describes each"
        )
    return reports


def _checked(form: Format, path: Path) -> Report:
    report = Report(path, form.name)
    try:
        form.check(path, report)
    except UserError as error:
        report.add([error])
    report.study = report.study.rstrip()
    return report


def render(reports: Sequence[Report], console: Console) -> None:
    """Print what was found."""
    for report in reports:
        report.print(console)
