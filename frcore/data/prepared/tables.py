"""The tables of a prepared data set: their columns, and the hash of all its values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.compute
import pyarrow.parquet
from numpy.typing import NDArray

from frcore.data.refusal import reading
from frcore.errors import UserError

Images = NDArray[np.uint8]

TABLES: Mapping[str, tuple[str, ...]] = {
    "train": (),
    "pairs": ("pairs",),
    "templates": ("templates", "template_pairs"),
}
"""The protocol tables that each protocol has."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {"templates": ("galleries", "probes")}
"""The tables it may also have, if the benchmark includes 1:N search."""

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "index": {
        "name": "str",
        "identity": "str",
        "label": "int64",
        "medium": "int64",
        "true_identity": "str",
    },
    "pairs": {"a": "int64", "b": "int64", "same": "bool", "fold": "int64", "split": "str"},
    "templates": {
        "template": "int64",
        "image": "int64",
        "medium": "int64",
        "identity": "str",
        "weight": "float32",
    },
    "template_pairs": {"a": "int64", "b": "int64", "same": "bool"},
    "galleries": {"gallery": "int64", "template": "int64", "identity": "str"},
    "probes": {"template": "int64", "identity": "str"},
}
"""Columns and types of every table; a table has exactly these, in this order."""

_CHUNK_BYTES = 32 * 2**20


AGAIN = "run `frcore prepare` again"


def again(problem: str) -> UserError:
    """The error for a prepared folder that is damaged or was written by another version."""
    return UserError(f"{problem}; {AGAIN}")


def content_sha256(
    content: Iterable[bytes | memoryview], tables: Mapping[str, pd.DataFrame]
) -> str:
    """A hash of the images' `content` and the values of `tables`.

    One changed byte or moved row changes it.
    """
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    for name, table in sorted(tables.items()):
        digest.update(f"table {name} {len(table)}".encode())
        for column, kind in COLUMNS[name].items():
            digest.update(f"column {column} {kind}".encode())
            for part in _column_bytes(table[column], kind):
                digest.update(part)
    return digest.hexdigest()


def pixels(images: Images) -> Iterator[bytes | memoryview]:
    """The content of decoded images, for `content_sha256`."""
    yield f"images {images.shape} {images.dtype}".encode()
    rows = max(1, _CHUNK_BYTES // max(1, images[0].nbytes)) if len(images) else 1
    for start in range(0, len(images), rows):
        yield np.ascontiguousarray(images[start : start + rows]).data


def _column_bytes(values: pd.Series, kind: str) -> Iterator[bytes | memoryview]:
    if kind != "str":
        numbers = values.to_numpy()
        for start in range(0, len(numbers), _CHUNK_BYTES // 8):
            part = numbers[start : start + _CHUNK_BYTES // 8]
            yield np.ascontiguousarray(part, np.dtype(kind)).data
        return
    texts = pyarrow.chunked_array(pyarrow.array(values)).cast(pyarrow.large_string())
    # With the lengths, ("ab", "c") and ("a", "bc") differ.
    yield pyarrow.compute.binary_length(texts).to_numpy().astype(np.int64).tobytes()
    for chunk in texts.chunks:
        _, offsets, content = chunk.buffers()
        limits = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        yield memoryview(content)[limits[0] : limits[-1]]


def typed(name: str, table: pd.DataFrame, *, narrow: bool = False) -> pd.DataFrame:
    """`table` with exactly the columns and types of `COLUMNS[name]`.

    With `narrow`, whole numbers that came in 32 bits stay so: a list of 15.7 million pairs then
    takes half the room. The content's hash is the same.
    """
    columns = COLUMNS[name]
    if set(table.columns) != set(columns):
        raise again(f"{name}.parquet has the columns {sorted(table.columns)}, needed are "
                    f"{sorted(columns)}")  # fmt: skip

    def is_right(values: pd.Series, kind: str) -> bool:
        return values.dtype == kind or (narrow and kind == "int64" and values.dtype == np.int32)

    return pd.DataFrame(
        {
            key: table[key] if is_right(table[key], kind) else table[key].astype(kind)  # type: ignore[call-overload]
            for key, kind in columns.items()
        },
        copy=False,
    )


def read_column(path: Path, name: str, kind: str) -> NDArray[Any]:
    """One column of numbers of a Parquet file; int64 becomes int32 where it fits.

    Raises:
        UserError: the file cannot be read, or the column is absent, has gaps or is of another kind.
    """
    with reading(f"{path}: the column {name}", AGAIN, KeyError, pyarrow.ArrowException):
        column = pyarrow.parquet.ParquetFile(path).read(columns=[name]).column(name)
    if column.null_count:
        raise again(f"{path}: the column {name} has gaps")
    values = np.asarray(column.to_numpy())
    if values.dtype.kind.replace("u", "i") != np.dtype(kind).kind:
        raise again(f"{path}: the column {name} has type {values.dtype}, not {kind}")
    fits = kind != "int64" or (not values.size or -(2**31) < values.min() <= values.max() < 2**31)
    return values.astype(np.int32 if kind == "int64" and fits else kind, copy=False)


def one_sided(pairs: pd.DataFrame) -> list[str]:
    """Warnings for each split with pairs of only one kind.

    Args:
        pairs: with a column `same`, and possibly `split`.

    >>> one_sided(pd.DataFrame({"same": [True, False]}))
    []
    """
    texts = []
    by_split = pairs.groupby("split")["same"] if "split" in pairs else [("", pairs["same"])]
    for split, same in by_split:
        if same.nunique() < 2:
            missing = "impostor" if same.all() else "genuine"
            where = f" in the split '{split!s}'" if split else ""
            texts.append(
                f"there are no {missing} pairs{where}, so neither accuracy nor TAR at a FAR can be "
                "computed; give a list with both kinds"
            )
    return texts
