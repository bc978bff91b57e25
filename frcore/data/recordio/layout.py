"""What the records of a `.rec` hold: their headers, and which of them are images.

A record is a header, `<IfQQ`: flag, label, id, id2; then `flag` float32 labels, which stand for the
label of the header; then the image file. In InsightFace's layout the record with key 0 has no image
but the labels [N + 1, N + 1 + identities]: images are the keys 1 to N, and the keys from N + 1 are
records of identities, without an image. In im2rec's layout every record is an image. (insightface
`recognition/arcface_torch/dataset.py`, mxnet `python/mxnet/recordio.py`.)
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frcore.data.pixels.images import refuse_rows
from frcore.data.recordio.container import LENGTH_BITS, LENGTH_MASK, RecordError, RecordFile
from frcore.errors import UserError

HEADER = struct.Struct("<IfQQ")
_HEADER_WORD, _LABELS_WORD = 2, 8
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


def split_header(record: memoryview) -> tuple[tuple[int, float, int, int], int]:
    """The fields of a record's header, and where its image begins.

    Raises:
        RecordError: the record is too short for its header or labels.
    """
    if len(record) < HEADER.size:
        raise RecordError(f"a record of {len(record)} bytes has no room for its header")
    fields = HEADER.unpack_from(record)
    begin = HEADER.size + 4 * fields[0]
    if begin > len(record):
        raise RecordError(f"a record of {len(record)} bytes has no room for {fields[0]} labels")
    return fields, begin


def read_headers(
    file: RecordFile, offsets: NDArray[np.int64], keys: NDArray[np.int64], label: int = 0
) -> Headers:
    """The headers of the records at `offsets` (R,), without reading their images.

    Args:
        file: where they are; the offsets must be those of records.
        offsets: int64 (R,).
        keys: of the records, for messages.
        label: which one of several labels is wanted.

    Raises:
        UserError: a record is too short for its header or labels, or has no such label.
    """
    parts = [
        _read_headers(file, offsets[at : at + _ROWS_AT_ONCE], keys[at : at + _ROWS_AT_ONCE], label)
        for at in range(0, len(offsets), _ROWS_AT_ONCE)
    ]
    return Headers(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _read_headers(file: RecordFile, offsets: NDArray[np.int64], keys: NDArray[np.int64],
                  wanted: int) -> Headers:  # fmt: skip
    words, at = file.words, offsets >> 2
    head = words[at + 1]
    length = (head & LENGTH_MASK).astype(np.int64)
    is_whole = head >> LENGTH_BITS == 0
    fits = is_whole & (length >= HEADER.size)
    last = len(words) - 1
    inside = np.minimum(np.where(fits, at, 0) + _HEADER_WORD, last)
    flag = np.where(fits, words[inside], 0).astype(np.uint32)
    content = length - HEADER.size - 4 * flag.astype(np.int64)
    has_labels = fits & (content >= 0) & (flag > wanted)
    place = np.where(has_labels, at + _LABELS_WORD + wanted, inside + 1)
    label = words[np.minimum(place, last)].view(np.float32)
    # Of records that were split the header may be split, too; they are rare.
    for row in np.flatnonzero(~is_whole):
        flag[row], label[row], content[row] = _slow_header(file, int(offsets[row]), wanted)
    wrong = (content < 0) | ((content > 0) & (np.maximum(flag, 1) <= wanted))
    refuse_rows(
        f"records of {file.path} are not of images",
        np.flatnonzero(wrong),
        lambda row: _why_wrong(keys[row], flag[row], content[row], wanted),
        "A record is a header of 24 bytes, `flag` labels of 4 bytes and the image; is this the "
        "file of another program, or is the setting `label` too large?",
    )
    return Headers(flag, label, content)


def _why_wrong(key: int, flag: int, content: int, wanted: int) -> str:
    if content < 0:
        return f"record {key}: too short by {-content} bytes for its header and {flag} labels"
    return f"record {key}: has {max(flag, 1)} labels, so none at place {wanted} (from 0)"


def _slow_header(file: RecordFile, offset: int, wanted: int) -> tuple[int, float, int]:
    """Flag, label and bytes of content of one record of any kind; −1 bytes where it has no room."""
    try:
        record = file.record(offset)
        (flag, label, _, _), begin = split_header(record)
    except RecordError:
        return 0, 0.0, -1
    if flag > wanted:
        (label,) = struct.unpack_from("<f", record, HEADER.size + 4 * wanted)
    return flag, label, len(record) - begin


def images_with_index(
    file: RecordFile, keys: NDArray[np.int64], offsets: NDArray[np.int64], headers: Headers
) -> tuple[NDArray[np.int64], int]:
    """Which of the records, sorted by their keys from an index, should be images; maybe empty ones.

    Returns:
        their rows; and how many images the header record has beyond those of the index.

    Raises:
        UserError: the header record says otherwise.
    """
    has_image = headers.content > 0
    if keys[0] != 0 or has_image[0] or headers.flag[0] != 2:
        return np.arange(len(keys)), 0
    beyond = _first_identity(file, int(offsets[0]))
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
    if not len(others):
        return rows, 0
    expected = np.array([len(rows) + 1, len(offsets)], np.float32)
    for row in others:
        labels = np.frombuffer(file.record(int(offsets[row])), "<f4", 2, HEADER.size)
        if np.array_equal(labels, expected):
            return rows, 1
    raise UserError(
        f"{file.path}: {len(others)} records have no image, the first at offset "
        f"{offsets[others[0]]}, and none of them is a header record for {len(rows)} images (two "
        f"labels, {expected[0]:.0f} and {expected[1]:.0f}); copy the file again, or give its .idx"
    )


def _first_identity(file: RecordFile, offset: int) -> float:
    """The first key that is no image, of the header record at `offset`."""
    return float(np.frombuffer(file.record(offset), "<f4", 1, HEADER.size)[0])
