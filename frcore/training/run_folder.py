"""A run's folder: a training writes into `unfinished/`, and what is finished moves up at its end.

So whatever ends a training before its end, an older result is as it was; and at any moment the
folder has either a whole result, which `result.json` says, or none.
"""

from __future__ import annotations

import shutil
from pathlib import Path

UNFINISHED = "unfinished"
RESULT = "result.json"
FAILURE = "failure.json"
FILES = ("run.json", "metrics.jsonl", "model.pt", "diagnostics.json", RESULT)
"""What a finished run consists of. `checkpoint.pt` is none of it, and never moves."""


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
