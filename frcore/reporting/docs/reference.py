"""Committed results: what `results/reference/` keeps of a study, and the tables made from it.

A reference folder is named by its conditions, `<device>/<study>`. It has the tidy rows (CSV), the
tables as Markdown and one figure, so that every number in the README is the output of a command.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd

from frcore.errors import UserError
from frcore.files import FolderKind, atomic_directory, refuse_overlap, write_text

KEPT = (
    "rows/evaluation.csv", "rows/training.csv", "rows/measurement.csv",
    "tables/accuracy.md", "tables/cost.md", "figures/accuracy_cost.svg",
)  # fmt: skip
"""The files kept from `results/<study>`: small text files."""

KEPT_IF_THERE = (
    "tables/claims.csv",
    "tables/overview.md",
    "tables/differences.md",
    "tables/power.md",
    "tables/published.md",
    "tables/conflicts.md",
    "tables/passive_updates.md",
)

REFERENCE = FolderKind(
    "the reference folder of one study",
    "training.csv",
    tuple(Path(name).name for name in (*KEPT, *KEPT_IF_THERE)),
)


def markers(study: str) -> tuple[str, str]:
    """The comments that enclose a study's table on a page."""
    return f"<!-- begin: {study} table -->", f"<!-- end: {study} table -->"


def keep(root: Path, reference: Path) -> None:
    """Copy the kept files of the finished study at `root` into the folder `reference`.

    Raises:
        UserError: the study is not finished, its rows come from code with uncommitted changes, or
            the folder contains other files.
    """
    if not (root / "complete").exists():
        raise UserError(f"{root} has no file 'complete': the study has to finish first")
    commits = pd.read_csv(root / "rows" / "training.csv")["commit"].astype(str)
    if commits.str.endswith("+").any():
        raise UserError(
            f"rows in {root} come from code with uncommitted changes ({commits[0]}); commit, and "
            "run the study again"
        )
    refuse_overlap(reference, [root])
    with atomic_directory(reference, REFERENCE) as folder:
        there = [name for name in KEPT_IF_THERE if (root / name).exists()]
        for name in (*KEPT, *there):
            shutil.copyfile(root / name, folder / Path(name).name)


def block(reference: Path, link: str) -> str:
    """The Markdown between a page's markers, from a reference folder.

    Args:
        reference: the folder, named after its study.
        link: path of the folder relative to the page.
    """
    begin, end = markers(reference.name)
    rows = pd.read_csv(reference / "training.csv")
    first = rows.iloc[0]
    # Folders kept by versions without an overview have only the accuracy table.
    first_table = reference / "overview.md"
    first_table = first_table if first_table.exists() else reference / "accuracy.md"
    table = first_table.read_text(encoding="utf-8").strip()
    machine = f"{first['cpu']}, torch {first['version_torch']}, commit {first['commit']}"
    seconds = rows["seconds"].median()
    measured = len(pd.read_csv(reference / "measurement.csv")) > 0
    figure = f"![Accuracy against the time of a step]({link}/accuracy_cost.svg)\n\n"
    return (
        f"{begin}\n\nStudy `{reference.name}`: {len(rows)} trainings of about {seconds:.0f} s on "
        f"one core ({machine}); rows and tables are in [{Path(link).name}]({link}), kept by "
        f"`frcore reference`.\n\n{table}\n\n{figure if measured else ''}{end}"
    )


def with_block(page: str, new: str, study: str) -> str:
    """`page` with the text between the markers of `study` replaced.

    Raises:
        UserError: the markers are missing.
    """
    begin, end = markers(study)
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise UserError(f"the page needs the markers {begin} and {end}")
    return before + new + after


def update_page(page: Path, reference: Path) -> None:
    """Write the table of `reference` into the Markdown file `page`."""
    link = os.path.relpath(reference.resolve(), page.resolve().parent)
    new = block(reference, Path(link).as_posix())
    write_text(page, with_block(page.read_text(encoding="utf-8"), new, reference.name))
