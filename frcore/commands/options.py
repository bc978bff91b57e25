"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpecOption = Annotated[
    str | None,
    typer.Option(
        "--spec", help="Everything the command needs, as JSON or a JSON file; Snakemake passes it."
    ),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--source",
        help="With --spec: NAME=PATH, the current location of a data set that is read in place; "
        "repeatable.",
    ),
]
StudyOption = Annotated[
    Path | None, typer.Option("--study", help="Instead of --spec: the study's YAML file.")
]
ConfigOption = Annotated[
    list[str] | None,
    typer.Option("--config", help="With --study: key=value, as for Snakemake; repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
