"""Training sets in Parquet and Arrow files, read in place.

The layout is that of Hugging Face's `datasets`: a struct column `image` with the fields `bytes` and
`path`, and a column `label` of class numbers, whose names are in the schema's metadata. A plain
binary column and text labels also work.

The most recently used row groups are kept in memory, up to `CACHE_BYTES` for all files together. An
image that is not in them requires reading its whole group.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from frcore.data.contents import Contents
from frcore.data.labels import LONGEST, Labels, by_name, by_number, labelled, of_texts
from frcore.data.pixels.decoding import BadImageError
from frcore.data.refusal import refuse_rows
from frcore.data.shards.columnar import Columns, open_columns, type_of
from frcore.data.shards.files import ShardImages, ShardSource, shard_names
from frcore.errors import UserError
from frcore.study.data import ParquetImages

CACHE_BYTES = 2**30


class ColumnImages(ShardImages):
    """The encoded images in columns of files.

    Args:
        paths: the files.
        table: the `file` (index in `paths`) and `row` of each image; None: all images.
        image: the column.
    """

    kind = "parquet"
    file_column = "file"

    def __init__(self, paths: Sequence[str | Path], table: pd.DataFrame | None, image: str):
        self.columns: list[Columns] = [open_columns(Path(path), image) for path in paths]
        if table is None:
            counts = [len(columns) for columns in self.columns]
            file = np.repeat(np.arange(len(paths), dtype=np.int32), counts)
            row = np.concatenate([np.arange(count) for count in counts])
            table = pd.DataFrame({"file": file, "row": row})
        super().__init__(paths, table, image=image)
        self._row = table["row"].to_numpy(np.int64)
        self._groups: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def encoded(self, row: int) -> memoryview:
        at, place = int(self.file[row]), int(self._row[row])
        starts = self.columns[at].starts
        if not 0 <= place < starts[-1]:
            raise BadImageError(f"{self.paths[at].name} has no row {place}")
        group = int(np.searchsorted(starts, place, "right")) - 1
        content = self._group(at, group)[place - int(starts[group])].as_buffer()
        if content is None:
            raise BadImageError("the image is null: the file has no bytes for it")
        # Arrow gives signed bytes.
        return memoryview(content).cast("B")

    def _group(self, at: int, group: int) -> pa.Array:
        key = (at, group)
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        # Outside the lock, so that threads can read different groups at once.
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
        files = pd.Series(shard_names(self.paths), dtype="str").iloc[self.file]
        return files.reset_index(drop=True) + "/" + pd.Series(self._row).astype("str")


class ParquetSource(ShardSource):
    """Parquet or Arrow files."""

    what = "a Parquet or Arrow file"

    def read(self) -> Contents:
        paths = self.paths()
        images = ColumnImages(paths, None, self.section.image)
        if not len(images):
            raise UserError(
                f"{self.section.root}: the {len(paths)} files have no rows; check `pattern`"
            )
        groups = sum(len(columns.starts) - 1 for columns in images.columns)
        return labelled(images, read_labels(images, self.section),
                        counts={"files": len(paths), "row groups": groups})  # fmt: skip


def read_labels(source: ColumnImages, spec: ParquetImages) -> Labels:
    """The labels of all images of the files.

    Raises:
        UserError: there is no such column, or its values are not labels.
    """
    names = source.names

    def where(row: int) -> str:
        return str(names.iloc[row])

    stored = pd.concat([_stored(c, spec.label) for c in source.columns], ignore_index=True)
    nulls = np.flatnonzero(stored.isna())
    refuse_rows(f"labels ({spec.label}) are null", nulls, where,
                "Give each image a label, or remove its row")  # fmt: skip
    prefix = "parquet"
    if not pd.api.types.is_integer_dtype(stored):
        return of_texts(stored.astype("str"), spec, where, prefix)
    if spec.labels == "name":
        return by_name(stored.astype("str"), spec.identities, where, prefix)
    known = class_names(source.columns[0].schema, spec.label)
    return by_number(stored.to_numpy(np.int64), spec.identities or len(known) or None, where,
                     prefix, known)  # fmt: skip


def label_type(kind: pa.DataType) -> pa.DataType | None:
    """The type that labels in a column of this type are read as: integers, text, or None.

    For a dictionary column, the type of its values counts.
    """
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_integer(value):
        return pa.int64()
    is_text = pa.types.is_string(value) or pa.types.is_large_string(value)
    return pa.string() if is_text else None


def _stored(columns: Columns, label: str) -> pd.Series:
    """The labels of a file: whole numbers, or text."""
    kind = type_of(columns.path, columns.schema, label)
    wanted = label_type(kind)
    if wanted is None:
        raise UserError(f"{columns.path}: the column {label!r} is {str(kind)[:200]}; labels are "
                        "whole numbers or text")  # fmt: skip
    parts = []
    for values in columns.values(label):
        # Checked before decoding: every row can refer to the same long text of a dictionary.
        texts = values.dictionary if pa.types.is_dictionary(kind) else values
        longest = pc.max(pc.binary_length(texts)).as_py() if wanted == pa.string() else 0
        if (longest or 0) > 4 * LONGEST:
            raise UserError(
                f"{columns.path}: the column {label!r} has a text of {longest} bytes; a label is "
                f"the name of an identity and has at most {LONGEST} characters"
            )
        try:
            parts.append(values.cast(wanted))
        except pa.ArrowException as error:
            raise UserError(f"{columns.path}: the column {label!r}: {error}; correct it") from error
    stored = pa.chunked_array(parts, wanted).to_pandas(integer_object_nulls=True)
    return stored.astype(pd.Int64Dtype() if wanted == pa.int64() else "str")


def class_names(schema: pa.Schema, label: str) -> list[str]:
    """The class names that Hugging Face's `datasets` stores in the schema, if any.

    They are in the metadata `huggingface`, under info, features, the column, names.
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
