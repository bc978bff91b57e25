"""Is a head better than another one, or than it used to be; and can a benchmark tell?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option

from frcore.commands.options import (
    ConfigOption,
    JsonOption,
    SpecOption,
    StudyOption,
    print_json,
    table_console,
)
from frcore.errors import UserError


def compare(
    spec: SpecOption = None,
    study: StudyOption = None,
    candidate: Annotated[
        str | None,
        Option(
            help="A head of the study or of `frcore heads`, package.module:Class, or a "
            "mapping as under a study's `heads:`."
        ),
    ] = None,
    baseline: Annotated[
        str | None, Option(help="What it is compared with, in the same form.")
    ] = None,
    against: Annotated[
        Path | None,
        Option(
            help="Instead of a baseline: rows kept by `frcore reference`. Without a "
            "candidate every head is compared with its own."
        ),
    ] = None,
    root: Annotated[Path | None, Option(help="Where the study's results are.")] = None,
    tolerance: Annotated[
        float | None, Option(help="Percentage points that may be lost; default 0.")
    ] = None,
    strict: Annotated[
        bool, Option("--strict", help="Also fail if a larger loss cannot be ruled out.")
    ] = False,
    max_slowdown: Annotated[
        float | None, Option(help="Fail if a step takes more than this many times as long.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        Option(help="The metric that decides, or `all`; repeatable; default: the main ones."),
    ] = None,
    pool: Annotated[
        Path | None,
        Option(help="Kept rows of further methods, to know the spread over seeds better."),
    ] = None,
    judge: Annotated[
        bool,
        Option("--judge", help="Show the comparison that was written, and exit with its code."),
    ] = False,
    no_fail: Annotated[bool, Option("--no-fail", help="Always exit with 0.")] = False,
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
    from frcore.comparison.spec import ComparisonSpec, comparison_of
    from frcore.preflight.load import with_checked_components

    if spec is not None:
        chosen = arguments.parse(ComparisonSpec, spec)
        root = arguments.need("--root", root)
    else:
        given = {
            "candidate": _yaml("--candidate", candidate), "baseline": _yaml("--baseline", baseline),
            "against": against and str(against), "tolerance": tolerance, "strict": strict or None,
            "max_slowdown": max_slowdown, "metrics": metric or None,
            "pool": pool and str(pool),
        }  # fmt: skip
        workflow = arguments.workflow(study, config)
        settings = {key: value for key, value in given.items() if value is not None}
        chosen = comparison_of(workflow.study, settings, check=with_checked_components)
        root = root or workflow.root

    from frcore.comparison.compare import compare as go
    from frcore.comparison.compare import read

    found = read(chosen, root) if judge else go(chosen, root)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        from frcore.comparison.output import render

        render(found, chosen, table_console())
    raise Exit(0 if no_fail else found.exit_code)


def audit(
    table: Annotated[
        Path,
        Argument(
            help="A CSV file with the columns method, benchmark, value (percent); and where they "
            "apply metric, table, backbone, train_data, trials, people."
        ),
    ],
    out: Annotated[
        Path | None, Option(help="Also write it: FILE.md, or FILE.csv with every difference.")
    ] = None,
    reference: Annotated[Path, Option(help="Folder of rows that tell design effects.")] = Path(
        "results/reference"
    ),
) -> None:
    """Which differences of a results table its benchmarks can resolve; docs/literature.md explains.

    Prints Markdown. Rows are compared that agree in table, backbone, train_data, benchmark, metric.

    Example: frcore audit my_table.csv --out audit.csv
    """
    from frcore.files import refuse_other_file, write_text
    from frcore.reporting.audit.benchmarks import design_effects
    from frcore.reporting.audit.differences import COLUMNS, differences
    from frcore.reporting.audit.own import read_table
    from frcore.reporting.audit.tables import to_page
    from frcore.results.frames import csv_text

    if out is not None and out.suffix not in (".md", ".csv"):
        raise UserError(f"--out {out}: give a name that ends in .md or .csv")
    rows, effects = read_table(table), design_effects(reference)
    found = differences(rows, effects)
    if found.empty:
        raise UserError(
            f"{table}: no two rows agree in table, backbone, train_data, benchmark and metric, so "
            "there is nothing to compare"
        )
    page = to_page(rows, found, effects)
    if out is not None:
        first = ",".join(COLUMNS) if out.suffix == ".csv" else page.partition("\n")[0]
        refuse_other_file(out, first, "an audit")
        write_text(out, csv_text(found) if out.suffix == ".csv" else page)
    sys.stdout.write(page)


def _yaml(option: str, value: str | None) -> Any:
    """A name as it is; a mapping in braces read."""
    if value is None or not value.lstrip().startswith("{"):
        return value
    from frcore.study.file import parse_value

    try:
        return parse_value(value, option)
    except UserError as error:
        raise UserError(
            f"{error}; write a mapping such as '{{name: arcface, margin: 0.3, label: arc03}}'"
        ) from error
