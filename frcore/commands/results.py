"""Watching a study, and keeping a finished one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from typer import Option

from frcore.commands.options import ConfigOption, StudyOption
from frcore.machine.lifetime import Stopped


def watch(
    study: StudyOption = None,
    config: ConfigOption = None,
    every: Annotated[float, Option(min=0.2, help="Seconds between updates.")] = 2.0,
    once: Annotated[bool, Option(help="Show it once and return.")] = False,
) -> None:
    """Show the progress of a study: finished, running, waiting, failed and why, expected end.

    Example: frcore watch --study config/quick.yaml
    """
    from frcore.commands import arguments
    from frcore.reporting.watch.watch import watch as go

    workflow = arguments.workflow(study, config)
    with contextlib.suppress(Stopped):  # which is how one leaves it
        go(workflow.study, workflow.root, workflow.logs, every=every, once=once)


def reference(
    root: Annotated[Path, Option(help="A finished study, results/NAME.")],
    to: Annotated[Path, Option(help="Folder to keep it in: results/reference/DEVICE/NAME.")],
    page: Annotated[Path | None, Option(help="Also renew the table in this file.")] = None,
) -> None:
    """Store the rows and tables of a finished study as reference figures to commit.

    Example: frcore reference --root results/quick --to results/reference/cpu/quick
    """
    from frcore.reporting.docs.reference import keep, update_page

    keep(root, to)
    if page is not None:
        update_page(page, to)
