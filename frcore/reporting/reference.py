"""Committed results: what `results/reference/` keeps of a study, and the README's table from it.

A reference folder is named by its conditions, `<device>/<study>`. It has the tidy rows (CSV), the
tables as Markdown and one figure, so that a number in the README is the output of a command.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from frcore.errors import UserError
from frcore.files import atomic_directory, write_text

KEPT = (
    "rows/evaluation.csv", "rows/training.csv", "rows/measurement.csv",
    "tables/accuracy.md", "tables/cost.md", "figures/accuracy_cost.svg",
)  # fmt: skip
"""What is kept of `results/<study>`: small text files."""

BEGIN, END = "<!-- begin: quick table -->", "<!-- end: quick table -->"


def keep(root: Path, reference: Path) -> None:
    """Copy the kept files of the finished study at `root` into the folder `reference`.

    Raises:
        UserError: the study is not finished, or its rows come from a package with changes that
            are in no commit.
    """
    if not (root / "complete").exists():
        raise UserError(f"{root} has no file 'complete': the study must have run to its end first")
    commits = pd.read_csv(root / "rows" / "training.csv")["commit"].astype(str)
    if commits.str.endswith("+").any():
        raise UserError(
            f"rows in {root} come from changed, uncommitted code ({commits[0]}); commit, and run "
            "the study again"
        )
    with atomic_directory(reference) as folder:
        for name in KEPT:
            shutil.copyfile(root / name, folder / Path(name).name)


def block(reference: Path, link: str) -> str:
    """The Markdown between the README's markers, from a reference folder.

    Args:
        reference: the folder.
        link: the same folder as the README's reader sees it.
    """
    rows = pd.read_csv(reference / "training.csv")
    first = rows.iloc[0]
    table = (reference / "accuracy.md").read_text(encoding="utf-8").strip()
    machine = f"{first['cpu']}, torch {first['version_torch']}, commit {first['commit']}"
    seconds = rows["seconds"].median()
    return (
        f"{BEGIN}\n\nThe default study, {len(rows)} trainings of about {seconds:.0f} s on one core "
        f"({machine}); rows and tables are in [{link}]({link}), made by `make tables` and "
        f"`frcore reference`.\n\n{table}\n\n"
        f"![Accuracy against the time of a step]({link}/accuracy_cost.svg)\n\n{END}"
    )


def with_block(readme: str, new: str) -> str:
    """`readme` with what is between its markers replaced.

    Raises:
        UserError: the markers are missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise UserError(f"the README needs the markers {BEGIN} and {END}")
    return before + new + after


def update_readme(readme: Path, reference: Path) -> None:
    """Write the table of `reference` into the file `readme`."""
    link = reference.resolve().relative_to(readme.resolve().parent).as_posix()
    text = with_block(readme.read_text(encoding="utf-8"), block(reference, link))
    write_text(readme, text)
