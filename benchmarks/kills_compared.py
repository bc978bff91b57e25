"""What must be the same however often a study was killed: all that is no time, and all names.

Used by `benchmarks.kills`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from frcore.files import sha256_of_file, sha256_of_json
from frcore.training.tensor_file import read_tensors, tensors_of

TIMES = frozenset(("seconds", "images_per_second", "environment"))
"""Keys of JSON files, in any depth, and columns, that hold times or say when and where."""

UNTOLD = ("logs", ".snakemake")
"""Folders whose files are not results: one log for each attempt, and Snakemake's own records."""

TIMED_TABLES = ("overview", "cost")
STEPS = ("head", "sampler", "identities", "status", "steps", "device", "batch_size", "dim")
"""What of a measurement is no measured value."""


def files_of(folder: Path) -> set[str]:
    """The names of all files and empty folders below a study's working folder, but for logs."""
    found = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[0] in UNTOLD or (path.is_dir() and any(path.iterdir())):
            continue
        found.add(name.as_posix())
    return found


def results_of(root: Path) -> dict[str, str]:
    """A hash of what each file below `results/<study>` says, times and pictures left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        read = _reader(name)
        if read is not None and path.is_file():
            found[name.as_posix()] = read(path)
    return found


def _reader(name: Path) -> Callable[[Path], str] | None:
    """What hashes a file of this name; None: it holds times, or follows from the others."""
    stage = name.parts[0]
    if stage in ("figures", "comparison") or name.suffix in (".html", ".md", ".tex"):
        return None
    if stage == "tables" and name.stem in TIMED_TABLES:
        return None
    if name.suffix == ".distcp" or name.name == ".metadata":
        return None  # of several processes' checkpoint: times lie among its bytes
    if stage in ("rows", "tables"):
        return _table
    if stage == "measurement":
        return _measurement
    readers: Mapping[str, Callable[[Path], str]] = {
        ".json": lambda path: sha256_of_json(without_times(json.loads(path.read_text()))),
        ".jsonl": _lines,
        ".pt": _tensors,
        ".npz": _arrays,
    }
    return readers.get(name.suffix, sha256_of_file)


def without_times(value: Any) -> Any:
    """A tree of JSON without the keys of `TIMES`."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def _lines(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return sha256_of_json([without_times(json.loads(line)) for line in lines])


def _table(path: Path) -> str:
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    if path.stem == "measurement":
        frame = frame[["measurement", "head", "sampler", "status", "identities"]]
    kept = [column for column in frame.columns if column not in TIMES]
    text = io.StringIO()
    frame[kept].to_csv(text, index=False)
    return sha256_of_json(text.getvalue())


def _measurement(path: Path) -> str:
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = [{key: row.get(key) for key in STEPS} for row in record["rows"]]
    return sha256_of_json([record["id"], record["spec_hash"], rows])


def _tensors(path: Path) -> str:
    """Of a model: its weights. A checkpoint has times beside them, and its tensors alone count."""
    # As bytes, since NumPy has no bfloat16.
    whole = (tensor.reshape(-1).contiguous() for tensor in tensors_of(read_tensors(path)))
    return sha256_of_json([tensor.view(torch.uint8).numpy().tobytes().hex() for tensor in whole])


def _arrays(path: Path) -> str:
    with np.load(path, allow_pickle=False) as arrays:
        told = {name: [str(a.dtype), a.shape, a.tobytes().hex()] for name, a in arrays.items()}
    return sha256_of_json(told)
