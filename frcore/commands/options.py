"""Options that several commands share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from typer import Option

SpecOption = Annotated[
    str | None,
    Option(
        "--spec", help="Everything the command needs, as JSON or a JSON file; Snakemake passes it."
    ),
]
SourceOption = Annotated[
    list[str] | None,
    Option(
        "--source",
        help="With --spec: NAME=PATH, the current location of a data set that is read in place; "
        "repeatable.",
    ),
]
StudyOption = Annotated[
    Path | None, Option("--study", help="Instead of --spec: the study's YAML file.")
]
ConfigOption = Annotated[
    list[str] | None,
    Option("--config", help="With --study: key=value, as for Snakemake; repeatable."),
]
JsonOption = Annotated[bool, Option("--json", help="Print JSON.")]


WIDTH = 120
"""Columns of tables where the output is not a terminal, such as in the log of a CI job."""


def table_console() -> Console:
    """Where a command prints tables."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def print_json(value: Any) -> None:
    """What `--json` prints."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
