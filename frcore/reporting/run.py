"""`frcore report`: from a study's result files to rows, tables, figures and one page."""

from __future__ import annotations

from pathlib import Path

from frcore.config import Study
from frcore.reporting import outputs
from frcore.reporting.figures import write_figures
from frcore.reporting.page import write_page
from frcore.reporting.rows import collect, write_rows
from frcore.reporting.scores import Scores
from frcore.reporting.summary import Summary
from frcore.reporting.tables import all_tables, write_table


def report(study: Study, root: Path) -> Path:
    """Write everything in `frcore.reporting.outputs` under `root`, whatever is there so far.

    What failed or has not run is part of the report, so a half-finished study has one too.

    Args:
        study: the study, which says what should be there.
        root: `results/<study>`.

    Returns:
        The page.
    """
    root = Path(root)
    rows = collect(study, root)
    write_rows(rows, root)
    summary = Summary(study, rows, Scores(root, rows, study.evaluation.bootstrap))
    tables = all_tables(summary, root)
    for table in tables.values():
        write_table(table, root)
    absent = write_figures(summary, root)
    write_page(summary, tables, absent, root)
    return outputs.paths(root)["page"]
