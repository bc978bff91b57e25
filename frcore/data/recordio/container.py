"""The RecordIO container of dmlc and mxnet (`.rec`) and its index (`.idx`), without either.

A file is a row of parts, each aligned to four bytes: the magic 0xced7230a, a word whose upper three
bits are the part's kind and whose lower 29 its length in bytes, the bytes, and zeros up to the next
multiple of four. A record is one part of kind 0; or, where its bytes hold the magic at a multiple
of four, it was cut there, without these four bytes, into parts of kind 1, then 2 ..., then 3
(dmlc-core, `include/dmlc/recordio.h`). An index has a line `key<TAB>offset` for each record.
Nothing here trusts what a file says: every offset and length is checked against its size.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from frcore.errors import UserError

MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_WHOLE, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 3
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1
"""Of a part's second word: the lower bits are its length, those above its kind."""
_WORDS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 1 << 20


class RecordError(Exception):
    """A record that is not one; the message says where and why."""


class RecordFile:
    """A `.rec` file as a memory map. Copies of it, also in other processes, open it anew.

    Args:
        path: the file.

    Raises:
        UserError: it is missing, empty, or does not begin with a record.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).resolve()
        self._open()
        if self.size < 8 or int(self.words[0]) != MAGIC:
            raise UserError(
                f"{self.path} does not begin with a RecordIO record (the bytes 0a 23 d7 ce); give "
                "a .rec file written by mxnet's recordio or im2rec"
            )

    def _open(self) -> None:
        try:
            with self.path.open("rb") as file:
                self.size = os.fstat(file.fileno()).st_size
                content: Any = b""
                if self.size:
                    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read: {error.strerror or error}; give a .rec file, or a "
                "folder with train.rec"
            ) from error
        self._view = memoryview(content)
        self.words: NDArray[np.uint32] = np.frombuffer(content, "<u4", count=self.size // 4)
        """The whole file as words; the last one to three bytes of a damaged file are left out."""

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()
        if self.size != state["size"]:
            raise UserError(
                f"{self.path} had {state['size']} bytes and now has {self.size}; do not change a "
                "file in use"
            )

    def record(self, offset: int) -> memoryview:
        """The bytes of the record at `offset`: a view into the file, or a copy of a split one.

        Raises:
            RecordError: there is no whole record.
        """
        kind, start, end = self._part(offset)
        if kind == _WHOLE:
            return self._view[start:end]
        if kind != _FIRST:
            raise RecordError(f"offset {offset} is inside of a split record")
        parts = [self._view[start:end]]
        while kind != _LAST:
            at = _aligned(end)
            kind, start, end = self._part(at)
            if kind not in (_MIDDLE, _LAST):
                raise RecordError(f"the split record at {offset} is not continued at {at}")
            parts.append(self._view[start:end])
        return memoryview(_MAGIC_BYTES.join(parts))

    def _part(self, offset: int) -> tuple[int, int, int]:
        """Kind, and begin and end of the bytes, of the part at `offset`."""
        if offset % 4 or not 0 <= offset <= self.size - 8:
            raise RecordError(f"offset {offset} is not one of a record in {self.size} bytes")
        magic, head = struct.unpack_from("<II", self._view, offset)
        if magic != MAGIC:
            raise RecordError(f"no record at offset {offset}: {magic:#010x} is not the magic")
        start, length = offset + 8, head & LENGTH_MASK
        if start + length > self.size:
            raise RecordError(
                f"the record at offset {offset} has {length} bytes, but the file ends after "
                f"{self.size - start} of them: it is truncated"
            )
        return head >> LENGTH_BITS, start, start + length

    def scan(self) -> NDArray[np.int64]:
        """The offsets of all records, in the file's order, found without an index.

        Raises:
            UserError: the file is truncated, or something in it is not a record.
        """
        at = self._magic_words()
        heads = np.asarray(self.words[np.minimum(at + 1, len(self.words) - 1)], np.uint32)
        following = at + _part_words(heads)
        is_chain = bool(np.array_equal(following[:-1], at[1:]))
        if is_chain and following[-1] == len(self.words) and self.size % 4 == 0:
            kinds = heads >> LENGTH_BITS
            before = np.concatenate([[_WHOLE], kinds[:-1]])
            is_open = (before == _FIRST) | (before == _MIDDLE)
            goes_on = (kinds == _MIDDLE) | (kinds == _LAST)
            if (goes_on == is_open).all() and kinds.max() <= _LAST and kinds[-1] in (_WHOLE, _LAST):
                return 4 * at[kinds <= _FIRST]
        # A writer that does not split records, or a damaged file: one record after the other.
        return self._walk()

    def _magic_words(self) -> NDArray[np.int64]:
        """Where the magic stands at a multiple of four bytes, in words."""
        found = [
            start + np.flatnonzero(self.words[start : start + _WORDS_AT_ONCE] == MAGIC)
            for start in range(0, len(self.words), _WORDS_AT_ONCE)
        ]
        return np.concatenate(found)

    def _walk(self) -> NDArray[np.int64]:
        offsets, at = [], 0
        try:
            while at < self.size:
                offsets.append(at)
                kind, _, end = self._part(at)
                if kind not in (_WHOLE, _FIRST):
                    raise RecordError(f"the part at offset {at} continues no record")
                while kind in (_FIRST, _MIDDLE):
                    kind, _, end = self._part(_aligned(end))
                    if kind not in (_MIDDLE, _LAST):
                        raise RecordError(f"the split record at {offsets[-1]} does not end")
                at = _aligned(end)
        except RecordError as error:
            raise UserError(
                f"{self.path}: record {len(offsets) - 1}: {error}; copy the file again, or give "
                "the .idx of its whole records"
            ) from error
        return np.array(offsets, np.int64)

    def refuse_bad_offsets(self, offsets: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
        """Check the offsets of an index without reading more than eight bytes of each record.

        Raises:
            UserError: one is outside of the file, or not the begin of a whole record.
        """
        last = 4 * len(self.words) - 8
        outside = np.flatnonzero((offsets < 0) | (offsets > last) | (offsets % 4 != 0))
        if len(outside):
            bad = outside[0]
            raise UserError(
                f"{self.path}: the index puts record {keys[bad]} at offset {offsets[bad]}, but the "
                f"file has {self.size} bytes and records begin at multiples of four; one of the "
                "two is truncated, or they do not belong together: copy both again, or move the "
                ".idx away to have the file scanned"
            )
        for start in range(0, len(offsets), _ROWS_AT_ONCE):
            self._refuse_no_records(
                *(part[start : start + _ROWS_AT_ONCE] for part in (offsets, keys))
            )

    def _refuse_no_records(self, offsets: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
        at = offsets >> 2
        heads = self.words[at + 1]
        ends = offsets + 8 + (heads & LENGTH_MASK)
        wrong = (self.words[at] != MAGIC) | (heads >> LENGTH_BITS > _FIRST) | (ends > self.size)
        if not wrong.any():
            return
        bad = int(np.flatnonzero(wrong)[0])
        reason = f"no record begins at offset {offsets[bad]}"
        try:
            self.record(int(offsets[bad]))
        except RecordError as error:
            reason = str(error)
        raise UserError(
            f"{self.path}: record {keys[bad]} of the index is not in the file: {reason}; copy .rec "
            "and .idx again, or move the .idx away to have the file scanned"
        )

    def left_out(self, offsets: NDArray[np.int64]) -> tuple[int, int]:
        """How many bytes of the file belong to none of the records at `offsets`, and the first.

        Args:
            offsets: of records of an index, after `refuse_bad_offsets`.

        Raises:
            UserError: records overlap.
        """
        begins = np.sort(offsets)
        heads = self.words[(begins >> 2) + 1]
        ends = begins + 4 * _part_words(heads)
        limits = np.append(begins[1:], _aligned(self.size))
        for row in np.flatnonzero(heads >> LENGTH_BITS != _WHOLE):
            ends[row] = self._end_of_split(int(ends[row]), int(limits[row]))
        overlap = np.flatnonzero(ends > limits)
        if len(overlap):
            raise UserError(
                f"{self.path}: by the index a record begins at offset {limits[overlap[0]]}, inside "
                f"of the one at {begins[overlap[0]]}; copy .rec and .idx again, or move the .idx "
                "away to have the file scanned"
            )
        gaps = np.append(begins, _aligned(self.size)) - np.concatenate([[0], ends])
        first = int(np.argmax(gaps > 0))
        return int(gaps.sum()), int(ends[first - 1]) if first else 0

    def _end_of_split(self, at: int, limit: int) -> int:
        """Where a split record ends whose second part is at `at`, looked for up to `limit`."""
        kind = _FIRST
        while kind != _LAST and at < limit:
            try:
                kind, _, end = self._part(at)
            except RecordError:  # Its header says so when it is read.
                return limit
            at = _aligned(end)
        return at


def _aligned(offset: int) -> int:
    return offset + -offset % 4


def _part_words(heads: NDArray[np.uint32]) -> NDArray[np.int64]:
    """How many words the parts with these second words take, with magic and padding."""
    lengths = (heads & LENGTH_MASK).astype(np.int64)
    return np.asarray(2 + ((lengths + 3) >> 2), np.int64)


def read_idx(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and offsets of an index, sorted by key: int64 (R,) each.

    Raises:
        UserError: a line is not `key<TAB>offset`, or a key or offset stands twice.
    """
    remedy = "an index has lines `key<TAB>offset`: copy it again, or move it away to have the .rec "
    remedy += "scanned"
    int64 = pyarrow.int64()
    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(column_names=["key", "offset"]),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
            pyarrow.csv.ConvertOptions(
                column_types={"key": int64, "offset": int64}, null_values=[]
            ),
        )
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}; {remedy}") from error
    keys, offsets = (table[name].to_numpy() for name in ("key", "offset"))
    if not len(keys):
        raise UserError(f"{path} is empty; {remedy}")
    order = np.argsort(keys, kind="stable")
    keys, offsets = keys[order], offsets[order]
    twice = np.flatnonzero(keys[1:] == keys[:-1])
    if len(twice):
        raise UserError(f"{path}: the key {keys[twice[0]]} stands twice; {remedy}")
    # Sorted and compared: `np.unique` hashes, which takes sixty times as long.
    in_order = np.sort(offsets)
    same = np.flatnonzero(in_order[1:] == in_order[:-1])
    if len(same):
        shared = keys[offsets == in_order[same[0]]]
        raise UserError(f"{path}: the keys {shared[0]} and {shared[1]} share an offset; {remedy}")
    return keys, offsets
