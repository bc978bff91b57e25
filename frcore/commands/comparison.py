"""Is a head better than another one, or than it used to be?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from frcore.commands.options import ConfigOption, JsonOption, SpecOption, StudyOption
from frcore.errors import UserError
from frcore.study.file import parse_value

if TYPE_CHECKING:
    from frcore.comparison.spec import ComparisonSpec

WIDTH = 120
"""Columns of the tables where the output is not a terminal, such as in the log of a CI job."""


def compare(
    spec: SpecOption = None,
    study: StudyOption = None,
    candidate: Annotated[
        str | None,
        typer.Option(
            help="A head of the study or of `frcore heads`, package.module:Class, or a "
            "mapping as under a study's `heads:`."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="What it is compared with, in the same form.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a baseline: rows kept by `frcore reference`. Without a "
            "candidate every head is compared with its own."
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where the study's results are.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Percentage points that may be lost; default 0.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also fail if a larger loss cannot be ruled out.")
    ] = False,
    max_slowdown: Annotated[
        float | None, typer.Option(help="Fail if a step takes more than this many times as long.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="The metric that decides; repeatable; default: all.")
    ] = None,
    judge: Annotated[
        bool,
        typer.Option(
            "--judge", help="Show the comparison that was written, and exit with its code."
        ),
    ] = False,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="Always exit with 0.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a head with another one, or with its reference: better, worse, or statistically tied?

    From evaluated runs, which `snakemake --cores all compare` makes. Writes Markdown, JSON and a
    page into results/STUDY/comparison. Exit code 3: a regression, or another condition that was
    asked to fail; 4: not everything was compared.

    Example: frcore compare --study config/quick.yaml --candidate cosface --baseline arcface
    """
    from frcore.commands import arguments
    from frcore.comparison.spec import ComparisonSpec

    if spec is not None:
        chosen = arguments.parse(ComparisonSpec, spec)
        root = arguments.need("--root", root)
    else:
        given = {
            "candidate": _yaml("--candidate", candidate), "baseline": _yaml("--baseline", baseline),
            "against": against and str(against), "tolerance": tolerance, "strict": strict or None,
            "max_slowdown": max_slowdown, "metrics": metric or None,
        }  # fmt: skip
        chosen, own_root = _from_study(study, config, given)
        root = root or own_root

    from frcore.comparison.compare import compare as go
    from frcore.comparison.compare import read

    found = read(chosen, root) if judge else go(chosen, root)
    if as_json:
        record = found.as_record().model_dump(mode="json")
        sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    else:
        from frcore.comparison.output import render

        console = Console()
        render(found, chosen, console if console.is_terminal else Console(width=WIDTH))
    raise typer.Exit(0 if no_fail else int(found.outcome.code))


def _from_study(
    study: Path | None, config: list[str] | None, given: dict[str, Any]
) -> tuple[ComparisonSpec, Path]:
    """The comparison that the options mean, and where the study's results are."""
    from frcore.commands import arguments
    from frcore.comparison.spec import comparison_of
    from frcore.preflight.load import with_checked_components

    workflow = arguments.workflow(study, config)
    settings = {key: value for key, value in given.items() if value is not None}
    comparison = comparison_of(workflow.study, settings, check=with_checked_components)
    return comparison, workflow.root


def _yaml(option: str, value: str | None) -> Any:
    """A name as it is; a mapping in braces read."""
    if value is None or not value.lstrip().startswith("{"):
        return value
    try:
        return parse_value(value, option)
    except UserError as error:
        raise UserError(
            f"{error}; write a mapping such as '{{name: arcface, margin: 0.3, label: arc03}}'"
        ) from error
