"""Columns of Parquet and Arrow files, never more than one group of rows at a time.

A group is a row group of Parquet, the smallest unit that can be read, or a record batch of Arrow's
stream or file format, which is a view into a memory map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frcore.data.pixels.decoding import BadImageError
from frcore.errors import UserError
from frcore.machine.faults import raise_refusal

LARGEST_GROUP = 2**28
"""Most bytes of images in one group, after decompression. A decompression bomb has more, and so
does a file that was not written for access to single images."""

_ROWS_AT_ONCE = 32
"""Few, because they are in memory before their size can be checked."""
_LABELS_AT_ONCE = 1024
_METADATA_BYTES = 2**26
_DAMAGED = (pa.ArrowException, OSError, EOFError, ValueError)
"""What pyarrow raises; ValueError is for names that are not UTF-8."""

_PARQUET_MAGIC, _ARROW_FILE_MAGIC = b"PAR1", b"ARROW1"


class Columns(ABC):
    """One file.

    Args:
        path: the file.
        schema: its columns.
        rows: of each group.

    Raises:
        ArrowInvalid: the number of rows is impossible.
    """

    def __init__(self, path: Path, schema: pa.Schema, rows: list[int]):
        size = path.stat().st_size
        # An image takes at least a byte; a footer can claim any number.
        if min(rows, default=0) < 0 or sum(rows) > size:
            raise pa.ArrowInvalid(f"{sum(rows)} rows in {size} bytes")
        self.path = path
        self.schema = schema
        self.starts: NDArray[np.int64] = np.cumsum([0, *rows], dtype=np.int64)
        """First row of each group, then the number of rows (G + 1,)."""

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.starts[-1])

    @abstractmethod
    def images(self, group: int) -> pa.Array:
        """The encoded images of a group; null where there is none.

        Raises:
            BadImageError: they are too large, or the file is damaged.
        """

    @abstractmethod
    def parts(self, column: str) -> Iterator[pa.Array]:
        """All values of a column, in parts, as stored in the file."""

    def values(self, column: str) -> Iterator[pa.Array]:
        """All values of a column, in parts.

        Raises:
            UserError: the file is damaged.
        """
        try:
            for values in self.parts(column):
                values.validate(full=True)
                yield values
        except _DAMAGED as error:
            raise UserError(f"{self.path} is damaged: {error}; copy it again") from error


def open_columns(path: Path, image: str | None) -> Columns:
    """Open a Parquet file, or one of Arrow's two formats, according to its content.

    Args:
        path: the file.
        image: the column of encoded images; None to read only the others.

    Raises:
        UserError: it is neither, is damaged, or has no such column of images.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic[:4] == _PARQUET_MAGIC:
            return _Parquet(path, image)
        return _Arrow(path, image, is_stream=magic != _ARROW_FILE_MAGIC)
    except _DAMAGED as error:
        raise UserError(
            f"{path} is not a Parquet or Arrow file, or is damaged: {error}; copy it again"
        ) from error


def type_of(path: Path, schema: pa.Schema, column: str) -> pa.DataType:
    """The type of a column.

    Raises:
        UserError: there is no such column, or there are several.
    """
    if schema.names.count(column) != 1:
        raise UserError(
            f"{path} has no column {column!r}; it has {', '.join(map(repr, schema.names[:20]))}: "
            "name the columns of images and labels in the study (`image`, `label`)"
        )
    return schema.field(column).type


def image_path(path: Path, schema: pa.Schema, image: str) -> str:
    """The path to read for the column `image`: itself, or its field `bytes`.

    Raises:
        UserError: there is no such column, or it does not hold encoded images.
    """
    kind = value = type_of(path, schema, image)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        value = kind.field("bytes").type
    if pa.types.is_binary(value) or pa.types.is_large_binary(value):
        return image if value is kind else f"{image}.bytes"
    raise UserError(
        f"{path}: the column {image!r} is {str(kind)[:200]}; encoded images are binary, or a "
        "struct with a binary field `bytes`, as Hugging Face's `datasets` writes them"
    )


def _content(values: pa.Array) -> pa.Array:
    """The binary values of a column; null where they, or the struct around them, are null."""
    values.validate(full=True)
    if pa.types.is_struct(values.type):
        values = values.flatten()[values.type.get_field_index("bytes")]
    return values


class _Parquet(Columns):
    def __init__(self, path: Path, image: str | None):
        self._metadata: pq.FileMetaData | None = None
        file = self._open(path)
        self._metadata = file.metadata
        groups = range(file.metadata.num_row_groups)
        rows = [file.metadata.row_group(at).num_rows for at in groups]
        super().__init__(path, file.schema_arrow, rows)
        self._image = None if image is None else image_path(path, self.schema, image)

    def _open(self, path: Path) -> pq.ParquetFile:
        return pq.ParquetFile(
            path, metadata=self._metadata, memory_map=True,
            thrift_string_size_limit=_METADATA_BYTES, thrift_container_size_limit=_METADATA_BYTES,
        )  # fmt: skip

    def images(self, group: int) -> pa.Array:
        parts: list[pa.Array] = []
        left = LARGEST_GROUP
        try:
            # Opened for each group, because a reader has one position and threads would share it.
            for batch in self._open(self.path).iter_batches(
                _ROWS_AT_ONCE, [group], [self._image], use_threads=False
            ):
                parts.append(_content(batch.column(0)))
                left -= parts[-1].nbytes
                # The footer's figure means little: one dictionary value can represent a million,
                # and asking a damaged footer for columns aborts the process.
                if left < 0:
                    raise BadImageError(
                        f"group {group} of {self.path.name} has more than {LARGEST_GROUP >> 20} "
                        "MiB of images; write the file again with groups of about 100 rows"
                    )
            return pa.concat_arrays(parts)
        except _DAMAGED as error:
            raise_refusal(error)
            raise BadImageError(
                f"row group {group} of {self.path.name} is damaged: {error}"
            ) from error

    def parts(self, column: str) -> Iterator[pa.Array]:
        for batch in self._open(self.path).iter_batches(_LABELS_AT_ONCE, columns=[column]):
            yield batch.column(0)


class _Arrow(Columns):
    """The batches are kept, because they are only views into the memory map."""

    def __init__(self, path: Path, image: str | None, *, is_stream: bool):
        file = pa.memory_map(str(path))
        begin = file.read_buffer().address
        mapped = range(begin, begin + file.size())
        file.seek(0)
        reader = pa.ipc.open_stream(file) if is_stream else pa.ipc.open_file(file)
        if image is not None:
            image_path(path, reader.schema, image)
        self._batches = list(reader) if is_stream else [
            reader.get_batch(at) for at in range(reader.num_record_batches)
        ]  # fmt: skip
        super().__init__(path, reader.schema, [batch.num_rows for batch in self._batches])
        used = self._batches if image is not None else []
        self._images = [_content(batch.column(image)) for batch in used]
        for group, values in enumerate(self._images):
            if any(b is not None and b.size and b.address not in mapped
                   for b in values.buffers()[1:]):  # fmt: skip
                raise UserError(
                    f"{path}: batch {group} is compressed, so single images in it cannot be read; "
                    "write the file without compression, or as Parquet"
                )

    def images(self, group: int) -> pa.Array:
        return self._images[group]

    def parts(self, column: str) -> Iterator[pa.Array]:
        return (batch.column(column) for batch in self._batches)
