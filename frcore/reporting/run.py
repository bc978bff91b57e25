"""`frcore report`: from a study's result files to rows, tables, figures and one page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from frcore import parallel
from frcore.config import Study
from frcore.reporting import outputs
from frcore.reporting.figures import figure_jobs
from frcore.reporting.page import lay_out, write_page
from frcore.reporting.rows import collect, write_rows
from frcore.reporting.scores import Scores
from frcore.reporting.summary import Summary
from frcore.reporting.tables import all_tables, write_table


def report(study: Study, root: Path, *, processes: int = 1) -> Path:
    """Write everything in `frcore.reporting.outputs` under `root`, whatever is there so far.

    What failed or has not run is part of the report, so a half-finished study has one too.

    Args:
        study: the study, which says what should be there.
        root: `results/<study>`.
        processes: work on so many benchmarks, then figures, at once (`frcore.parallel`); what is
            written does not depend on it.

    Returns:
        The page.
    """
    root = Path(root)
    rows = collect(study, root)
    summary = Summary(study, rows, Scores(root, rows, study.evaluation.bootstrap))
    summary.compute(processes)
    tables = all_tables(summary, root)
    jobs: dict[tuple[str, str], Callable[[], Any]] = {
        **{("figure", name): job for name, job in figure_jobs(summary, root, processes).items()},
        **{("table", name): partial(lay_out, table) for name, table in tables.items()},
        ("rows", ""): partial(write_rows, rows, root),
    }
    done = parallel.compute(jobs, processes)
    absent = {name: why for (kind, name), why in done.items() if kind == "figure" and why}
    laid_out = {name: done["table", name] for name in tables}
    for table in tables.values():
        write_table(table, root)
    write_page(summary, tables, laid_out, absent, root)
    return outputs.paths(root)["page"]
