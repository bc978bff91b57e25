"""A run's folder: a training writes into `unfinished/` and moves its files up at the end.

An interrupted training thus leaves an older result untouched, and at any moment the folder has
either a complete result, marked by `result.json`, or none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from frcore.errors import UserError
from frcore.files import FolderKind, refuse_other_file, refuse_other_folder
from frcore.training.run_lock import NAME as LOCK

UNFINISHED = "unfinished"
CHECKPOINT = "checkpoint.pt"
RESULT = "result.json"
FAILURE = "failure.json"
FILES = ("run.json", "metrics.jsonl", "model.pt", "diagnostics.json", RESULT)
"""The files of a finished run. `checkpoint.pt` is not one of them and never moves."""

_UNFINISHED = FolderKind("an unfinished training", None, (*FILES, ".*.frcore-*"))
"""A kill may have left any subset of its files."""


def refuse_other_run(out: Path) -> None:
    """Accept only a folder for a run: new, empty, or with the files of a run.

    Raises:
        UserError: other files have the names of a run's files.
    """
    refuse_other_file(out / "run.json", '"spec"', "of a run of frcore")
    refuse_other_folder(out / UNFINISHED, _UNFINISHED)
    taken = [name for name in (*FILES, CHECKPOINT) if (out / name).exists()]
    if taken and not any((out / n).exists() for n in ("run.json", UNFINISHED, FAILURE, LOCK)):
        raise UserError(
            f"{out} has {', '.join(taken)}, but nothing shows that a training of frcore wrote it; "
            "allowed is a new folder or one of a run: give another, or move those files away"
        )


def begin(out: Path) -> Path:
    """An empty folder for a new attempt; a resumed run only needs its checkpoint."""
    folder = out / UNFINISHED
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def publish(out: Path) -> None:
    """Replace the old files with those of the finished attempt.

    A kill before the last rename leaves a run without `result.json`; its checkpoint leads back to
    this point without another training step.
    """
    for name in (RESULT, FAILURE):
        (out / name).unlink(missing_ok=True)
    for name in FILES:
        (out / UNFINISHED / name).replace(out / name)
    (out / UNFINISHED).rmdir()


def latest(out: Path, name: str) -> Path:
    """Path of `name` in the present attempt; if there is none, in the last result."""
    path = out / UNFINISHED / name
    return path if path.exists() else out / name
