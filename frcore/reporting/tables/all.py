"""All tables of a study, and their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frcore.files import sha256_of_json, write_text
from frcore.reporting import outputs
from frcore.reporting.tables.accuracy import accuracy_table, differences_table, unique
from frcore.reporting.tables.centers import conflicts_table, passive_table
from frcore.reporting.tables.claims import claims_table
from frcore.reporting.tables.cost import cost_table, missing_table
from frcore.reporting.tables.latex import to_latex
from frcore.reporting.tables.overview import overview_table
from frcore.reporting.tables.power import power_table, study_powers
from frcore.reporting.tables.published import published_table
from frcore.reporting.tables.scaling import scaling_table
from frcore.reporting.tables.table import Table, to_markdown
from frcore.results.summary import Summary


def all_tables(summary: Summary) -> dict[str, Table]:
    """The tables by name, as in `frcore.reporting.outputs.TABLES`."""
    tables = (
        claims_table(summary),
        overview_table(summary),
        accuracy_table(summary),
        differences_table(summary),
        power_table(study_powers(summary)),
        published_table(summary),
        cost_table(summary.study, summary.rows),
        scaling_table(summary.study, summary.rows),
        passive_table(summary),
        conflicts_table(summary),
        missing_table(summary.rows),
    )
    source = _source(summary)
    return {table.name: replace(table, source=source) for table in tables}


def _source(summary: Summary) -> list[str]:
    """Study, commits and seeds, so that the numbers in a paper can be traced back."""
    study = summary.study
    frame = summary.rows.usable("training" if study.trains else "evaluation")
    commits = ", ".join(unique(frame["commit"].dropna())) or "unknown"
    digest = sha256_of_json(study.model_dump(mode="json"))[:12]
    seeds = f"{len(summary.seeds_averaged)} of {len(study.seeds)} seeds"
    return [f"Study {study.name}, spec {digest}, commit {commits}, {seeds}."]


def write_tables(summary: Summary, root: str | Path) -> dict[str, Table]:
    """Write each table as CSV, Markdown and LaTeX under `tables/`; returns them by name."""
    files, tables = outputs.paths(root), all_tables(summary)
    for name, table in tables.items():
        write_text(files[f"table_{name}_csv"], table.csv)
        write_text(files[f"table_{name}_md"], to_markdown(table))
        write_text(files[f"table_{name}_tex"], to_latex(table))
    return tables
