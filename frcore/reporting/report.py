"""`frcore report`: from a study's result files to rows, tables, figures and one page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from frcore.errors import UserError
from frcore.files import refuse_other_file
from frcore.machine import parallel
from frcore.reporting import outputs
from frcore.reporting.figures.all import curve_jobs, figure_jobs
from frcore.reporting.page.page import write_page
from frcore.reporting.tables.all import write_tables
from frcore.results.rows import collect, write_rows
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study.config import Study


def report(study: Study, root: Path, *, processes: int = 1) -> Path:
    """Write everything in `frcore.reporting.outputs` under `root`, from the results so far.

    What failed or has not run is reported too, so a half-finished study also gets a report.

    Args:
        study: the study, which defines the results to expect.
        root: `results/<study>`.
        processes: number of benchmarks, then of tables and figures, to work on at once
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
    curves = parallel.compute(curve_jobs(summary), processes)
    jobs: dict[str, Callable[[], Any]] = {
        "tables": partial(write_tables, summary, root),
        "rows": partial(write_rows, rows, root),
        **figure_jobs(summary, root, curves),
    }
    done = parallel.compute(jobs, processes)
    write_page(summary, done["tables"], {name: done[name] for name in outputs.FIGURES}, root)
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
