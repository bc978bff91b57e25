"""`frcore report`: from a study's result files to rows, tables, figures and one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.machine import parallel
from frcore.reporting import outputs
from frcore.reporting.figures.all import curve_jobs, figure_jobs
from frcore.reporting.page.page import write_page
from frcore.reporting.tables.all import all_tables, write_table
from frcore.reporting.tables.table import Table
from frcore.results.rows import collect, write_rows
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study.config import Study

Jobs = dict[tuple[str, str], Callable[[], Any]]
"""Independent pieces of work, by kind and name."""


def report(study: Study, root: Path, *, processes: int = 1) -> Path:
    """Write everything in `frcore.reporting.outputs` under `root`, from the results so far.

    What failed or has not run is reported too, so a half-finished study also gets a report.

    Args:
        study: the study, which defines the results to expect.
        root: `results/<study>`.
        processes: number of benchmarks, then figures, to work on at once
            (`frcore.machine.parallel`); the output does not depend on it.

    Returns:
        The page.

    Raises:
        UserError: files with these names exist, but the folder is not a study's.
    """
    root = Path(root)
    _refuse_other_root(root)
    rows = collect(study, root)
    summary = Summary(study, rows, Scores(root, rows))
    summary.compute(processes)
    jobs: Jobs = {
        ("tables", ""): partial(_tables, summary, root),
        **{("curves", name): job for name, job in curve_jobs(summary).items()},
        ("rows", ""): partial(write_rows, rows, root),
    }
    done = parallel.compute(jobs, processes)
    tables: dict[str, Table] = done["tables", ""]
    figures = figure_jobs(summary, root, _of_kind("curves", done))
    jobs = {("figure", name): job for name, job in figures.items()}
    done = parallel.compute(jobs, processes)
    write_page(summary, tables, _of_kind("figure", done), root)
    return outputs.paths(root)["page"]


_OF_STUDIES = ("data/*/manifest.json", "runs/*/run.json", "runs/*/unfinished",
               "runs/*/failure.json", "evaluation/*/*.json", "measurement/*.json")  # fmt: skip


def _refuse_other_root(root: Path) -> None:
    """Only an older report may be replaced: one beside a study's files, or with the page's mark."""
    files = outputs.paths(root)
    if any(True for pattern in _OF_STUDIES for _ in root.glob(pattern)):
        return
    refuse_other_file(files["page"], outputs.PAGE_MARK, "a report of frcore")
    taken = [path for path in files.values() if path.exists()]
    if taken and not files["page"].exists():
        raise UserError(
            f"{root} has {taken[0].relative_to(root)}, but neither a report nor other files of a "
            "study, so nothing is overwritten; give the folder of a study, results/NAME"
        )


def _tables(summary: Summary, root: Path) -> dict[str, Table]:
    tables = all_tables(summary)
    for table in tables.values():
        write_table(table, root)
    return tables


def _of_kind(kind: str, done: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    return {name: result for (of, name), result in done.items() if of == kind}
