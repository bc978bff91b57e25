"""Stored embeddings, one .npy file for each benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.refusal import reading, refuse
from frcore.data.text_table import TextTable
from frcore.errors import UserError
from frcore.models.pixels import LONGEST
from frcore.study.models import StoredEmbeddings


def stored_embeddings(
    model: StoredEmbeddings, benchmark: str, names: pd.Series, rows: NDArray[np.int64]
) -> NDArray[np.floating]:
    """The embeddings of a benchmark's images `rows`, (R, D), in the type they were stored in.

    Args:
        model: the files.
        benchmark: its name in the study.
        names: of all images of the prepared benchmark, in its order (N,).
        rows: which of them (R,).

    Raises:
        UserError: there are none for this benchmark, the file is not an array of float16 or float32
            (N, D), or the images do not match.
    """
    path = Path(model.files[benchmark])
    stored = _open(path)
    listed = model.names.get(benchmark)
    if listed is not None:
        rows = _rows_by_name(path, Path(listed), stored, names, rows)
        return _taken(stored, rows)
    if len(stored) != len(names):
        raise UserError(
            f"{path} has {len(stored):,} embeddings, but the prepared benchmark '{benchmark}' has "
            f"{len(names):,} images; store one row per image in the order of its index.parquet, or "
            "name each row's image in a text file and give it under `names:`"
        )
    return _taken(stored, rows)


def _taken(stored: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.floating]:
    """`stored[rows]`; the memory map itself where that is all of it, which may be a gigabyte."""
    if np.array_equal(rows, np.arange(len(stored))):
        return stored
    return np.asarray(stored[rows])


def _open(path: Path) -> NDArray[np.floating]:
    """The array in a memory map: only the requested rows are read."""
    with reading(path, "write it with numpy.save", ValueError, EOFError):
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(stored, np.ndarray):
        raise UserError(f"{path} is an archive of arrays (.npz); give one array, by numpy.save")
    if stored.dtype not in (np.float16, np.float32) or stored.ndim != 2:
        raise UserError(
            f"{path} is {stored.dtype} {stored.shape}; allowed is float16 or float32 (images, D): "
            "convert it"
        )
    if not 2 <= stored.shape[1] <= LONGEST:
        raise UserError(
            f"{path} has embeddings of {stored.shape[1]} numbers; allowed are 2 to {LONGEST:,}: "
            "is it transposed?"
        )
    return stored


def _rows_by_name(
    path: Path,
    listed: Path,
    stored: NDArray[np.floating],
    names: pd.Series,
    rows: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Where in `stored` the images `rows` are, by their names."""
    lines = TextTable(listed, {"name": "name"}, "Give one name a line").texts("name")
    if len(lines) != len(stored):
        raise UserError(
            f"{listed} has {len(lines):,} names, but {path} has {len(stored):,} embeddings; give "
            "one name for each row"
        )
    place = pd.Series(np.arange(len(lines)), index=pd.Index(lines.to_pandas(), dtype="str"))
    twice = place.index[place.index.duplicated()].unique()
    refuse(f"duplicate names in {listed}", list(twice), "give each image one row")
    found = place.reindex(names.iloc[rows].astype("str")).to_numpy(np.float64)
    absent = names.iloc[rows[np.isnan(found)]].tolist()
    refuse(
        f"images of the benchmark have no name in {listed}",
        absent,
        "names are those of its index.parquet: correct the list, or store these too",
    )
    return found.astype(np.int64)
