"""Training sets in Parquet and Arrow files, read in place.

The layout is that of Hugging Face's `datasets`: a struct column `image` with the fields `bytes` and
`path`, and a column `label` of class numbers, whose names stand in the schema's metadata. A plain
binary column, and labels that are text, will do as well.

The row groups used last are kept in memory, up to `CACHE_BYTES` of all files together. An image
that is not among them costs reading its whole group.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from frcore.data.pixels.decoding import BadImageError
from frcore.data.pixels.images import refuse_rows
from frcore.data.prepared.encoded import EncodedImages
from frcore.data.prepared.labels import (
    LONGEST,
    Labels,
    by_name,
    by_number,
    of_texts,
    write_labelled,
)
from frcore.data.shards.columnar import Columns, open_columns
from frcore.data.shards.find import find_shards, shard_names
from frcore.errors import UserError
from frcore.study.data import Image, ParquetImages

CACHE_BYTES = 2**30


class ColumnImages(EncodedImages):
    """The encoded images in columns of files.

    Args:
        paths: the files.
        image: the column.
        file: of each image, its place in `paths` (N,).
        row: of each image, its row in that file (N,).
    """

    kind = "parquet"

    def __init__(
        self, paths: list[Path], image: str, file: NDArray[np.int32], row: NDArray[np.int64]
    ):
        self.paths = paths
        self.image = image
        self.columns: list[Columns] = [open_columns(path, image) for path in paths]
        self._file, self._row = file, row
        self._groups: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    @classmethod
    def of(cls, paths: list[Path], image: str) -> Self:
        """All images of the files."""
        reader = cls(paths, image, np.zeros(0, np.int32), np.zeros(0, np.int64))
        counts = [len(columns) for columns in reader.columns]
        reader._file = np.repeat(np.arange(len(paths), dtype=np.int32), counts)
        reader._row = np.concatenate([np.arange(count, dtype=np.int64) for count in counts])
        return reader

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self._row)

    def encoded(self, row: int) -> memoryview:
        """The value of the column, a view into its group."""
        at, place = int(self._file[row]), int(self._row[row])
        starts = self.columns[at].starts
        if not 0 <= place < starts[-1]:
            raise BadImageError(f"{self.paths[at].name} has no row {place}")
        group = int(np.searchsorted(starts, place, "right")) - 1
        content = self._group(at, group)[place - int(starts[group])].as_buffer()
        if content is None:
            raise BadImageError("the image is null: the file holds no bytes for it")
        # Arrow gives signed bytes.
        return memoryview(content).cast("B")

    def _group(self, at: int, group: int) -> pa.Array:
        key = (at, group)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        # Not under the lock: threads read different groups at once.
        values = self.columns[at].images(group)
        with self._lock:
            if key not in self._groups:
                self._groups[key] = values
                self._kept_bytes += values.nbytes
            while self._kept_bytes > CACHE_BYTES:
                self._kept_bytes -= self._groups.popitem(last=False)[1].nbytes
        return values

    @property
    def names(self) -> pd.Series:
        """File and row, as `train-0.parquet/17`."""
        files = np.array(shard_names(self.paths), object)[self._file]
        texts = [f"{file}/{row}" for file, row in zip(files, self._row.tolist(), strict=True)]
        return pd.Series(texts, dtype="str")

    def files(self) -> list[Path]:
        """The files."""
        return self.paths

    def describe(self) -> tuple[dict[str, Any], pd.DataFrame]:
        """The files and the column; file and row of each image."""
        settings = {"paths": [str(path) for path in self.paths], "image": self.image}
        return settings, pd.DataFrame({"file": self._file, "row": self._row})

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        """The reader of the images in `table`."""
        paths = [Path(path) for path in settings["paths"]]
        file = table["file"].to_numpy(np.int32)
        if len(file) and not (file.min() >= 0 and file.max() < len(paths)):
            raise ValueError(f"file {file.max()} of {len(paths)}")
        return cls(paths, str(settings["image"]), file, table["row"].to_numpy(np.int64))


def write_parquet(spec: ParquetImages, image: Image, out: Path, about: dict[str, Any],
                  workers: int | None) -> None:  # fmt: skip
    """Write a training set from Parquet or Arrow files to the folder `out`."""
    paths = find_shards(spec.root, spec.pattern, "a Parquet or Arrow file")
    source = ColumnImages.of(paths, spec.image)
    if not len(source):
        raise UserError(f"{spec.root}: the {len(paths)} files have no rows; check `pattern`")
    labels = read_labels(source, spec)
    write_labelled(source, labels, spec, image, out, about, workers)


def read_labels(source: ColumnImages, spec: ParquetImages) -> Labels:
    """The labels of all images of the files.

    Raises:
        UserError: there is no such column, or its values are no labels.
    """
    names = source.names

    def where(row: int) -> str:
        return str(names.iloc[row])

    stored = pd.concat([_stored(c, spec.label) for c in source.columns], ignore_index=True)
    nulls = np.flatnonzero(stored.isna())
    refuse_rows(f"labels ({spec.label}) are null", nulls, where,
                "Give each image a label, or leave its row out")  # fmt: skip
    prefix = "parquet"
    if not pd.api.types.is_integer_dtype(stored):
        return of_texts(stored.astype("str"), spec, where, prefix)
    if spec.labels == "name":
        return by_name(stored.astype("str"), spec.identities, where, prefix)
    known = class_names(source.columns[0].schema, spec.label)
    return by_number(stored.to_numpy(np.int64), spec.identities or len(known) or None, where,
                     prefix, known)  # fmt: skip


def _stored(columns: Columns, label: str) -> pd.Series:
    """The labels of a file: whole numbers, or text."""
    names = columns.schema.names
    if names.count(label) != 1:
        raise UserError(
            f"{columns.path} has no column {label!r}, but {', '.join(map(repr, names[:20]))}; name "
            "that of the labels in the study"
        )
    kind = columns.schema.field(label).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_integer(value) or pa.types.is_string(value)
            or pa.types.is_large_string(value)):  # fmt: skip
        raise UserError(
            f"{columns.path}: the column {label!r} is {str(kind)[:200]}; labels are whole numbers "
            "or text"
        )
    parts = [_checked(columns, part, label) for part in columns.values(label)]
    if not parts:
        return pd.Series([], dtype="str")
    whole = pd.concat(parts, ignore_index=True)
    return whole.astype(pd.Int64Dtype()) if pa.types.is_integer(value) else whole.astype("str")


def _checked(columns: Columns, values: pa.Array, label: str) -> pd.Series:
    is_encoded = pa.types.is_dictionary(values.type)
    # Looked at before it is decoded: a long text of a dictionary can stand in every row.
    texts = values.dictionary if is_encoded else values
    if not pa.types.is_integer(texts.type):
        longest = pc.max(pc.binary_length(texts)).as_py() or 0
        if longest > 4 * LONGEST:
            raise UserError(
                f"{columns.path}: the column {label!r} has a text of {longest} bytes; a label is "
                f"the name of an identity, with at most {LONGEST} characters"
            )
    try:
        decoded = values.dictionary_decode() if is_encoded else values
        if pa.types.is_integer(decoded.type):
            decoded = decoded.cast(pa.int64())
        return decoded.to_pandas(integer_object_nulls=True)
    except pa.ArrowException as error:
        raise UserError(f"{columns.path}: the column {label!r}: {error}; correct it") from error


def class_names(schema: pa.Schema, label: str) -> list[str]:
    """Names of the classes that Hugging Face's `datasets` keeps in the schema; none without them.

    They stand in the metadata `huggingface`, under info, features, the column, names.
    """
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    fine = isinstance(names, list) and all(
        isinstance(name, str) and 0 < len(name) <= LONGEST and name.isprintable() for name in names
    )
    return names if fine and len(set(names)) == len(names) else []
