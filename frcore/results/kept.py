"""Rows that a repository keeps of a study, or that its report wrote: values, without scores."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from frcore.errors import UserError
from frcore.results.column import METHOD
from frcore.results.frames import TYPES
from frcore.results.reading import USABLE
from frcore.results.rows import NUMBER_COLUMNS, Rows, without_unfounded_intervals

NEEDED = {
    "evaluation": (*METHOD, "seed", "benchmark", "status", "metric", "far", "subset", "value"),
    "training": (*METHOD, "seed", "status", "spec_hash"),
    "measurement": ("head", "sampler", "status", "identities", "step_ms"),
}
"""Columns that a study's rows must have; columns added later may be missing in older rows."""


def read_reference(folder: Path) -> Rows:
    """The rows that `frcore reference` kept in a folder, also those of earlier versions.

    Raises:
        UserError: a file is missing or was not written by a report.
    """
    frames = {name: _read(folder / f"{name}.csv") for name in NEEDED}
    evaluation = _complete(frames["evaluation"])
    return Rows(evaluation, frames["training"], frames["measurement"], pd.DataFrame())


def read_evaluation(folder: Path) -> pd.DataFrame:
    """The usable evaluation rows of a folder that `frcore reference` wrote, or of `results/NAME`.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    path = folder / "rows" / "evaluation.csv"
    frame = _complete(_read(path if path.exists() else folder / "evaluation.csv"))
    return frame[frame["status"] == USABLE]


def _complete(evaluation: pd.DataFrame) -> pd.DataFrame:
    for name in ("data_sha256", "se_test", *NUMBER_COLUMNS):
        if name not in evaluation:
            evaluation[name] = None
    return without_unfounded_intervals(evaluation)


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path)
        missing = [name for name in NEEDED[path.stem] if name not in frame]
        wrong = f"has no column {', '.join(missing)}" if missing else ""
    except (OSError, ValueError, pd.errors.ParserError) as error:
        wrong = f"cannot be read: {error}"
    if wrong:
        raise UserError(
            f"'{path}' {wrong}; give a folder that `frcore reference` wrote, such as "
            "results/reference/cpu/quick"
        )
    numeric = {name for name, kind in TYPES.items() if kind in ("Int64", "float64")}
    for name in numeric & {*map(str, frame)}:
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame
