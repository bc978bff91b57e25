"""A run's folder: a training writes into `unfinished/`, and what is finished moves up at its end.

So whatever ends a training before its end, an older result is as it was; and at any moment the
folder has either a whole result, which `result.json` says, or none.
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
"""What a finished run consists of. `checkpoint.pt` is none of it, and never moves."""

_UNFINISHED = FolderKind("an unfinished training", None, (*FILES, ".*.frcore-*"))
"""Which a kill may have left with any part of its files."""


def refuse_other_run(out: Path) -> None:
    """Let pass a folder for a run: whose files, if it has any, are those of a run.

    Raises:
        UserError: files of somebody else have the names that the run's would get.
    """
    refuse_other_file(out / "run.json", '"spec"', "of a run of frcore")
    refuse_other_folder(out / UNFINISHED, _UNFINISHED)
    taken = [name for name in (*FILES, CHECKPOINT) if (out / name).exists()]
    if taken and not any((out / n).exists() for n in ("run.json", UNFINISHED, FAILURE, LOCK)):
        raise UserError(
            f"{out} has {', '.join(taken)}, but nothing says that a training of frcore wrote it; "
            "allowed is a folder that is new or a run's: give another, or move those files away"
        )


def begin(out: Path) -> Path:
    """The empty folder of a new attempt; all that a resumed run needs is in its checkpoint."""
    folder = out / UNFINISHED
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def publish(out: Path) -> None:
    """Put the finished attempt in the place of what is there.

    A kill before the last rename leaves a run without `result.json`, which its checkpoint brings
    to this point again without a step of training.
    """
    for name in (RESULT, FAILURE):
        (out / name).unlink(missing_ok=True)
    for name in FILES:
        (out / UNFINISHED / name).replace(out / name)
    (out / UNFINISHED).rmdir()


def latest(out: Path, name: str) -> Path:
    """Where `name` of the present attempt is; of the last result, if there is no attempt."""
    path = out / UNFINISHED / name
    return path if path.exists() else out / name
