"""The content of the records of a `.rec`: their headers, and which of them are images.

A record is a header, `<IfQQ`: flag, label, id, id2; then `flag` float32 labels, which replace the
label of the header; then the image file. In InsightFace's layout the record with key 0 has no image
but the labels [N + 1, N + 1 + identities]: images have the keys 1 to N, and keys from N + 1 on are
identity records, without an image. In im2rec's layout every record is an image. (insightface
`recognition/arcface_torch/dataset.py`, mxnet `python/mxnet/recordio.py`.)
"""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.recordio.container import RecordError, RecordFile, aligned, read_idx
from frcore.data.refusal import refuse_rows
from frcore.errors import UserError

_HEADER = struct.Struct("<IfQQ")
_FLAG_WORD, _LABELS_WORD = 2, 8
"""Where a record's header and further labels begin, in words from its magic."""
EXACT = 2**24
"""From here on not every integer is a float32, so a label may have been rounded."""
_ROWS_AT_ONCE = 1 << 20


def split_header(record: memoryview, wanted: int = 0) -> tuple[int, float, int]:
    """The flag of a record, its label (number `wanted` of several), and where its image begins.

    Raises:
        RecordError: the record is too short for its header or labels.
    """
    if len(record) < _HEADER.size:
        raise RecordError(f"a record of {len(record)} bytes is too short for its header")
    flag, label, _, _ = _HEADER.unpack_from(record)
    begin = _HEADER.size + 4 * flag
    if begin > len(record):
        raise RecordError(f"a record of {len(record)} bytes is too short for {flag} labels")
    if flag > wanted:
        (label,) = struct.unpack_from("<f", record, _HEADER.size + 4 * wanted)
    return flag, label, begin


def find_images(file: RecordFile, idx: Path | None, label: int) -> tuple[pd.DataFrame, list[str]]:
    """The records that should be images: those in the index, or without one all in the file.

    Args:
        file: the `.rec`.
        idx: its index.
        label: which of several labels to use.

    Returns:
        `key`, `offset`, `flag`, `label`, bytes of `content` (0 if the image is missing), and `end`
        of each (N rows), in the order of the keys or of the file; and remarks on what the file has
        but its index lacks.

    Raises:
        UserError: records are damaged, or header record, index and file disagree.
    """
    if idx is None:
        offsets = file.scan()
        return _without_others(file, _read_all(file, np.arange(len(offsets)), offsets, label)), []
    records = _read_all(file, *read_idx(idx), label)
    left_out = _left_out(file, records)
    if records["key"].iloc[0] != 0 or not _without_image(records).iloc[0]:
        return records, left_out
    beyond = float(_two_labels(file, records["offset"].iloc[0])[0])
    places, has_image = records["key"].astype("float32"), records["content"] > 0
    # Above 2²⁴ images the float32 in the header record is only approximately their number.
    wrong = has_image & (places >= beyond if beyond < EXACT else places > beyond)
    refuse_rows(
        f"images of {file.path} have keys that its header record assigns to identities",
        records["key"][wrong].to_numpy(),
        lambda key: f"record {key}, but images are 1 to {beyond - 1:.0f}",
        "The index belongs to another .rec: copy both again, or move the .idx away so that the "
        ".rec is scanned",
    )
    images = records[has_image | ((records["key"] > 0) & (places < beyond))]
    if beyond < EXACT and len(images) < beyond - 1:
        left_out.insert(0, f"the header record counts {beyond - 1:.0f} images, the index has "
                        f"{len(images)}")  # fmt: skip
    return images, left_out


def _without_others(file: RecordFile, records: pd.DataFrame) -> pd.DataFrame:
    """All records of the file except the header and identity records, which have two labels."""
    is_other = _without_image(records)
    others, images = records[is_other], records[~is_other]
    if not len(others):
        return records
    expected = np.array([len(images) + 1, len(records)], np.float32)
    if not any(np.array_equal(_two_labels(file, at), expected) for at in others["offset"]):
        raise UserError(
            f"{file.path}: {len(others)} records have no image, the first at offset "
            f"{others['offset'].iloc[0]}, and none of them is a header record for {len(images)} "
            f"images (with the labels {expected[0]:.0f} and {expected[1]:.0f}); copy the file "
            "again, or give its .idx"
        )
    return images.assign(key=np.arange(1, len(images) + 1))


def _without_image(records: pd.DataFrame) -> pd.Series:
    return (records["content"] == 0) & (records["flag"] == 2)


def _two_labels(file: RecordFile, offset: int) -> NDArray[np.float32]:
    return np.frombuffer(file.record(int(offset)), "<f4", 2, _HEADER.size)


def _left_out(file: RecordFile, records: pd.DataFrame) -> list[str]:
    """A remark on how many bytes of the file are in no record of the index, if there are any."""
    # Mostly sorted already.
    inner = records.sort_values("offset", kind="stable")
    gaps = np.append(inner["offset"], aligned(file.size)) - np.append(0, inner["end"])
    first = int(np.argmax(gaps != 0))
    if gaps.min() < 0:
        at = int(np.argmin(gaps))
        one, other = (
            f"record {row.key} at offset {row.offset}"
            for row in inner[at - 1 : at + 1].itertuples()
        )
        raise UserError(
            f"{file.path}: by its index {other} begins inside {one}; copy .rec and .idx again, "
            "or move the .idx away so that the file is scanned"
        )
    begin = inner["end"].iloc[first - 1] if first else 0
    return [f"{gaps.sum():,} bytes of the .rec, from byte {begin:,} on, are in no record of the "
            "index"] if gaps.any() else []  # fmt: skip


def _read_all(file: RecordFile, keys: NDArray[np.int64], offsets: NDArray[np.int64],
              label: int) -> pd.DataFrame:  # fmt: skip
    """The headers of the records at `offsets` (R,), without reading their images."""
    parts = [slice(at, at + _ROWS_AT_ONCE) for at in range(0, len(keys), _ROWS_AT_ONCE)]
    read = [_read_headers(file, keys[part], offsets[part], label) for part in parts]
    return pd.concat(read, ignore_index=True)


def _read_headers(file: RecordFile, keys: NDArray[np.int64], offsets: NDArray[np.int64],
                  wanted: int) -> pd.DataFrame:  # fmt: skip
    words, last = file.words, len(file.words) - 1
    kind, length = file.heads(offsets)
    end = offsets + 8 + length
    fits = (kind == 0) & (length >= _HEADER.size)
    at = np.where(fits, offsets >> 2, 0)
    flag = np.where(fits, words[np.minimum(at + _FLAG_WORD, last)], 0).astype(np.int64)
    content = np.where(fits, length - _HEADER.size - 4 * flag, -1)
    place = at + np.where(flag > wanted, _LABELS_WORD + wanted, _FLAG_WORD + 1)
    label = words[np.minimum(place, last)].view(np.float32)
    # The header of a split record may itself be split; such records are rare.
    for row in np.flatnonzero(kind == 1):
        with suppress(RecordError):
            record = file.record(int(offsets[row]))
            flag[row], label[row], begin = split_header(record, wanted)
            content[row], end[row] = len(record) - begin, file.parts(int(offsets[row]))[-1][1]

    def why(row: int) -> str:
        try:
            split_header(file.record(int(offsets[row])))
            reason = f"has {max(flag[row], 1)} labels, so no number {wanted} (counted from 0)"
        except RecordError as error:
            reason = str(error)
        return f"record {keys[row]} at offset {offsets[row]}: {reason}"

    refuse_rows(
        f"records of {file.path} cannot be used",
        np.flatnonzero((content < 0) | ((content > 0) & (np.maximum(flag, 1) <= wanted))),
        why,
        "A record is a header of 24 bytes, `flag` labels of 4 bytes and the image. Copy .rec and "
        ".idx again, or move the .idx away so that the file is scanned; or was the file written by "
        "another program, or is the setting `label` too large?",
    )
    return pd.DataFrame({"key": keys, "offset": offsets, "flag": flag, "label": label,
                         "content": content, "end": end + -end % 4})  # fmt: skip
