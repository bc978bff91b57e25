"""What the records of a `.rec` hold: their headers, and which of them are images.

A record is a header, `<IfQQ`: flag, label, id, id2; then `flag` float32 labels, which replace the
label of the header; then the image file. In InsightFace's layout the record with key 0 has no image
but the labels [N + 1, N + 1 + identities]: images are the keys 1 to N, and the keys from N + 1 are
records of identities, without an image. In im2rec's layout every record is an image. (insightface
`recognition/arcface_torch/dataset.py`, mxnet `python/mxnet/recordio.py`.)
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frcore.data.pixels.images import refuse_rows
from frcore.data.recordio.container import RecordError, RecordFile, aligned
from frcore.errors import UserError

_HEADER = struct.Struct("<IfQQ")
_FLAG_WORD, _LABELS_WORD = 2, 8
"""Where header and further labels of a record begin, in words from its magic."""
EXACT = 2**24
"""From here on not every whole number is a float32, so a label may have been another one."""
_ROWS_AT_ONCE = 1 << 20


class Headers(NamedTuple):
    """What the headers of records say, (R,) each."""

    flag: NDArray[np.uint32]
    label: NDArray[np.float32]
    """The one that is the identity."""
    content: NDArray[np.int64]
    """Bytes after header and labels; 0 where there is no image."""
    end: NDArray[np.int64]
    """Where the next record may begin."""


def split_header(record: memoryview, wanted: int = 0) -> tuple[int, float, int]:
    """The flag of a record, its label (of several the one `wanted`), and where its image begins.

    Raises:
        RecordError: the record is too short for its header or labels.
    """
    if len(record) < _HEADER.size:
        raise RecordError(f"a record of {len(record)} bytes has no room for its header")
    flag, label, _, _ = _HEADER.unpack_from(record)
    begin = _HEADER.size + 4 * flag
    if begin > len(record):
        raise RecordError(f"a record of {len(record)} bytes has no room for {flag} labels")
    if flag > wanted:
        (label,) = struct.unpack_from("<f", record, _HEADER.size + 4 * wanted)
    return flag, label, begin


def read_headers(
    file: RecordFile, offsets: NDArray[np.int64], keys: NDArray[np.int64], label: int = 0
) -> Headers:
    """The headers of the records at `offsets` (R,), without reading their images.

    Args:
        file: where they are.
        offsets: int64 (R,).
        keys: of the records, for messages.
        label: which one of several labels is wanted.

    Raises:
        UserError: there is no record, it is damaged, too short for its header or labels, or has
            no such label.
    """
    parts = [
        _read_headers(file, offsets[at : at + _ROWS_AT_ONCE], keys[at : at + _ROWS_AT_ONCE], label)
        for at in range(0, len(offsets), _ROWS_AT_ONCE)
    ]
    return Headers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _read_headers(file: RecordFile, offsets: NDArray[np.int64], keys: NDArray[np.int64],
                  wanted: int) -> Headers:  # fmt: skip
    words, last = file.words, len(file.words) - 1
    kind, length = file.heads(offsets)
    end = offsets + 8 + length
    fits = (kind == 0) & (length >= _HEADER.size)
    at = np.where(fits, offsets >> 2, 0)
    flag = np.where(fits, words[np.minimum(at + _FLAG_WORD, last)], 0).astype(np.uint32)
    content = np.where(fits, length - _HEADER.size - 4 * flag.astype(np.int64), -1)
    place = at + np.where(flag > wanted, _LABELS_WORD + wanted, _FLAG_WORD + 1)
    label = words[np.minimum(place, last)].view(np.float32)
    # The header of a record that was split may be split, too; such records are rare.
    for row in np.flatnonzero(kind == 1):
        with suppress(RecordError):
            record = file.record(int(offsets[row]))
            flag[row], label[row], begin = split_header(record, wanted)
            content[row], end[row] = len(record) - begin, file.parts(int(offsets[row]))[-1][1]

    def why(row: int) -> str:
        try:
            split_header(file.record(int(offsets[row])))
            reason = f"has {max(flag[row], 1)} labels, so none at place {wanted} (from 0)"
        except RecordError as error:
            reason = str(error)
        return f"record {keys[row]} at offset {offsets[row]}: {reason}"

    refuse_rows(
        f"records of {file.path} cannot be used",
        np.flatnonzero((content < 0) | ((content > 0) & (np.maximum(flag, 1) <= wanted))),
        why,
        "A record is a header of 24 bytes, `flag` labels of 4 bytes and the image. Copy .rec and "
        ".idx again, or move the .idx away to have the file scanned; or is this the file of "
        "another program, or the setting `label` too large?",
    )
    return Headers(flag, label, content, end + -end % 4)


def left_out(file: RecordFile, keys: NDArray[np.int64], offsets: NDArray[np.int64],
             ends: NDArray[np.int64]) -> tuple[int, int]:  # fmt: skip
    """How many bytes of the file belong to none of the records of an index, and the first.

    Raises:
        UserError: records overlap.
    """
    order = np.argsort(offsets, kind="stable")
    begins, ends = offsets[order], ends[order]
    overlap = np.flatnonzero(ends[:-1] > begins[1:])
    if len(overlap):
        one, other = order[overlap[0] : overlap[0] + 2]
        raise UserError(
            f"{file.path}: by the index record {keys[other]} begins at offset {offsets[other]}, "
            f"inside of record {keys[one]} at {offsets[one]}; copy .rec and .idx again, or move "
            "the .idx away to have the file scanned"
        )
    gaps = np.append(begins, aligned(file.size)) - np.append(0, ends)
    first = int(np.argmax(gaps > 0))
    return int(gaps.sum()), int(ends[first - 1]) if first else 0


def images_with_index(
    file: RecordFile, keys: NDArray[np.int64], offsets: NDArray[np.int64], headers: Headers
) -> tuple[NDArray[np.int64], int]:
    """Which of the records, sorted by their keys from an index, should be images; maybe empty ones.

    Returns:
        their rows; and how many images the header record has beyond those of the index.

    Raises:
        UserError: the header record disagrees.
    """
    has_image = headers.content > 0
    if keys[0] != 0 or has_image[0] or headers.flag[0] != 2:
        return np.arange(len(keys)), 0
    beyond = float(_two_labels(file, offsets[0])[0])
    places = keys.astype(np.float32)
    # Of more than 2²⁴ images the float32 in the header record is only nearly their number.
    wrong = has_image & (places >= beyond if beyond < EXACT else places > beyond)
    refuse_rows(
        f"images of {file.path} have keys that its header record gives to identities",
        np.flatnonzero(wrong),
        lambda row: f"record {keys[row]}, but images are 1 to {beyond - 1:.0f}",
        "The index belongs to another .rec: copy both again, or move the .idx away to scan",
    )
    rows = np.flatnonzero(has_image | ((keys > 0) & (places < beyond)))
    return rows, int(beyond) - 1 - len(rows) if beyond < EXACT else 0


def images_by_scan(
    file: RecordFile, offsets: NDArray[np.int64], headers: Headers
) -> tuple[NDArray[np.int64], int]:
    """Which of all the file's records should be images, in its order; and the first one's key.

    Records without an image are the header and those of identities, which have two labels, and
    images that are lost.

    Raises:
        UserError: a record has two labels and no image, and none of those is a header record.
    """
    should = (headers.content > 0) | (headers.flag != 2)
    rows, others = np.flatnonzero(should), np.flatnonzero(~should)
    expected = np.array([len(rows) + 1, len(offsets)], np.float32)
    if not len(others):
        return rows, 0
    if any(np.array_equal(_two_labels(file, offsets[row]), expected) for row in others):
        return rows, 1
    raise UserError(
        f"{file.path}: {len(others)} records have no image, the first at offset "
        f"{offsets[others[0]]}, and none of them is a header record for {len(rows)} images (two "
        f"labels, {expected[0]:.0f} and {expected[1]:.0f}); copy the file again, or give its .idx"
    )


def _two_labels(file: RecordFile, offset: int) -> NDArray[np.float32]:
    return np.frombuffer(file.record(int(offset)), "<f4", 2, _HEADER.size)
