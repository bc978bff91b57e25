"""All tables of a study."""

from __future__ import annotations

from pathlib import Path

from frcore.reporting.summary import Summary
from frcore.reporting.table import Table
from frcore.reporting.table_accuracy import accuracy_table, differences_table
from frcore.reporting.table_centers import conflicts_table, passive_table
from frcore.reporting.table_cost import cost_table, missing_table
from frcore.reporting.table_overview import overview_table
from frcore.reporting.table_published import published_table


def all_tables(summary: Summary, root: Path) -> dict[str, Table]:
    """The tables by name, as in `frcore.reporting.outputs.TABLES`.

    Args:
        summary: the study's numbers.
        root: `results/<study>`, for the protocol notes of the evaluation files.
    """
    tables = (
        overview_table(summary),
        accuracy_table(summary, root),
        differences_table(summary),
        published_table(summary, root),
        cost_table(summary.study, summary.rows),
        passive_table(summary),
        conflicts_table(summary),
        missing_table(summary.rows),
    )
    return {table.name: table for table in tables}
