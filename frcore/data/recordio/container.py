"""The RecordIO container (`.rec`) and its index (`.idx`), without needing dmlc or mxnet.

A file is a sequence of parts, each aligned to four bytes: the magic 0xced7230a, a word whose upper
three bits are the part's kind and whose lower 29 bits its length in bytes, the bytes, and zero
padding to a multiple of four. A record is one part of kind 0; or, if its bytes contain the magic at
a multiple of four, it is split there, without these four bytes, into parts of kind 1, then 2 ...,
then 3 (dmlc-core, `include/dmlc/recordio.h`). An index has a line `key<TAB>offset` for each record.
The file is not trusted: every offset and length is checked against its size.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from frcore.data.refusal import reading
from frcore.errors import UserError

MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_HEAD = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LENGTH_BITS = 29
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
"""Mask of a part's second word: the lower bits are its length, the upper ones its kind."""


class RecordError(Exception):
    """A damaged record; the message says where and why."""


class RecordFile:
    """A `.rec` file as a memory map. Copies, including those in other processes, reopen it.

    Args:
        path: the file.
        size: its size in bytes when it was first opened, if known.

    Raises:
        UserError: it is missing or empty, does not begin with a record, or has a different size.
    """

    def __init__(self, path: str | Path, size: int | None = None):
        self.path = Path(path).resolve()
        remedy = "give a .rec file, or a folder with train.rec"
        with reading(self.path, remedy), self.path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            content: Any = b""
            if self.size:
                content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if size not in (None, self.size):
            raise UserError(f"{self.path} had {size} bytes and now has {self.size}; do not change "
                            "a file in use")  # fmt: skip
        self._view = memoryview(content)
        self.words: NDArray[np.uint32] = np.frombuffer(content, "<u4", count=self.size // 4)
        """The whole file as words, without a damaged file's last one to three bytes."""
        if self.size < 8 or int(self.words[0]) != MAGIC:
            raise UserError(
                f"{self.path} does not begin with a RecordIO record (bytes 0a 23 d7 ce); give a "
                ".rec file written by mxnet's recordio or im2rec"
            )

    def __reduce__(self) -> tuple[type[RecordFile], tuple[Path, int]]:
        return RecordFile, (self.path, self.size)

    def record(self, offset: int) -> memoryview:
        """The bytes of the record at `offset`: a view into the file, or a copy if it is split.

        Raises:
            RecordError: there is no complete record.
        """
        parts = [self._view[start:end] for start, end in self.parts(offset)]
        return parts[0] if len(parts) == 1 else memoryview(_MAGIC_BYTES.join(parts))

    def parts(self, offset: int) -> list[tuple[int, int]]:
        """Start and end of the bytes of each part of the record at `offset`.

        Raises:
            RecordError: there is no complete record.
        """
        kind, start, end = self._part(offset)
        if kind > _FIRST:
            raise RecordError(f"offset {offset} is inside a split record")
        found = [(start, end)]
        while kind in (_FIRST, _MIDDLE):
            at = aligned(end)
            kind, start, end = self._part(at)
            if kind not in (_MIDDLE, _LAST):
                raise RecordError(f"the split record at {offset} is not continued at {at}")
            found.append((start, end))
        return found

    def _part(self, offset: int) -> tuple[int, int, int]:
        """The kind, start and end of the bytes of the part at `offset`."""
        if offset % 4 or not 0 <= offset <= self.size - 8:
            raise RecordError(f"offset {offset} cannot be that of a record in {self.size} bytes")
        magic, head = _HEAD.unpack_from(self._view, offset)
        if magic != MAGIC:
            raise RecordError(f"no record at offset {offset}: {magic:#010x} is not the magic")
        start, length = offset + 8, head & _LENGTH_MASK
        if start + length > self.size:
            raise RecordError(
                f"the record at offset {offset} has {length} bytes, but the file ends after "
                f"{self.size - start} of them: it is truncated"
            )
        return head >> _LENGTH_BITS, start, start + length

    def scan(self) -> NDArray[np.int64]:
        """The offsets of all records, in file order, found without an index.

        Raises:
            UserError: the file is truncated or contains something other than records.
        """
        offsets, at, unpack = array("q"), 0, _HEAD.unpack_from
        try:
            while at < self.size:
                offsets.append(at)
                magic, head = unpack(self._view, at) if at <= self.size - 8 else (0, 0)
                end = at + 8 + head
                # Almost all records are unsplit (kind 0) and within the file.
                if magic != MAGIC or head > _LENGTH_MASK or end > self.size:
                    end = self.parts(at)[-1][1]
                at = end + -end % 4
        except RecordError as error:
            raise UserError(
                f"{self.path}: record {len(offsets) - 1}: {error}; copy the file again, or give "
                "an .idx of its complete records"
            ) from error
        return np.frombuffer(offsets, np.int64)

    def heads(self, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Kind and length of the parts at `offsets` (R,); the kind is −1 if there is no part."""
        is_inside = (offsets % 4 == 0) & (offsets >= 0) & (offsets <= 4 * len(self.words) - 8)
        at = np.where(is_inside, offsets >> 2, 0)
        head = self.words[at + 1]
        length = (head & _LENGTH_MASK).astype(np.int64)
        is_part = is_inside & (self.words[at] == MAGIC) & (offsets + 8 + length <= self.size)
        return np.where(is_part, head >> _LENGTH_BITS, -1), length


def aligned(offset: int) -> int:
    """The next multiple of four: the start of the part after one that ends at `offset`."""
    return offset + -offset % 4


def read_idx(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and offsets of an index, sorted by key: int64 (R,) each.

    Raises:
        UserError: a line is not `key<TAB>offset`, there are none, or a key is a duplicate.
    """
    form = "an index has lines `key<TAB>offset`: copy it again, or move it away so that the .rec "
    form += "is scanned"
    keys, offsets = (column.to_numpy() for column in read_tabs(path, form, ["key", "offset"]))
    order = np.argsort(keys, kind="stable")
    keys, offsets = keys[order], offsets[order]
    if len(same := np.flatnonzero(keys[1:] == keys[:-1])):
        raise UserError(f"{path}: {keys[same[0]]} is a duplicate key; {form}")
    return keys, offsets


def read_tabs(path: Path, form: str, integers: Sequence[str] = ()) -> list[pyarrow.ChunkedArray]:
    """The columns of a tab-separated text file, with inferred types.

    Args:
        path: the file.
        form: what its lines should be, and what to do.
        integers: names of the columns, if there must be exactly these, all of integers.

    Raises:
        UserError: it is missing or empty, or its lines have different fields.
    """
    types = dict.fromkeys(integers, pyarrow.int64())
    named = {"column_names": list(integers)} if integers else {"autogenerate_column_names": True}
    with reading(path, form, ValueError, pyarrow.ArrowException):
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(**named),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            pyarrow.csv.ConvertOptions(column_types=types, null_values=[]),
        )
        if not len(table):
            raise ValueError("it is empty")
    return table.columns
