"""A RecordIO writer of the tests' own, from the format's description and not from the reader.

It splits a record where its bytes hold the magic at a multiple of four, byte by byte and slowly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

MAGIC = bytes([0x0A, 0x23, 0xD7, 0xCE])


def part(kind: int, content: bytes) -> bytes:
    head = MAGIC + ((kind << 29) + len(content)).to_bytes(4, "little")
    return head + content + b"\0" * ((4 - len(content) % 4) % 4)


def record(content: bytes) -> bytes:
    """One record, in as many parts as it needs."""
    pieces, begin = [], 0
    for at in range(0, len(content) - 3, 4):
        if content[at : at + 4] == MAGIC:
            pieces.append(content[begin:at])
            begin = at + 4
    pieces.append(content[begin:])
    if len(pieces) == 1:
        return part(0, content)
    kinds = [1, *[2] * (len(pieces) - 2), 3]
    return b"".join(part(kind, piece) for kind, piece in zip(kinds, pieces, strict=True))


def packed(label: float | Sequence[float], image: bytes, *, key: int = 0) -> bytes:
    """The content of a record: header, labels, image."""
    labels = [] if isinstance(label, (int, float)) else list(label)
    first = 0.0 if labels else label
    header = struct.pack("<I", len(labels)) + struct.pack("<f", first) + struct.pack("<QQ", key, 0)
    return header + b"".join(struct.pack("<f", value) for value in labels) + image


def write_rec(path: Path, contents: Iterable[tuple[int, bytes]], *, idx: bool = True) -> Path:
    """Records by key, and their index, in the given order."""
    lines, blob = [], b""
    for key, content in contents:
        lines.append(f"{key}\t{len(blob)}\n")
        blob += record(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(blob)
    if idx:
        path.with_suffix(".idx").write_text("".join(lines))
    return path


def insightface(labels: Sequence[float | Sequence[float]], images: Sequence[bytes]) -> list[
    tuple[int, bytes]]:  # fmt: skip
    """InsightFace's layout: images from key 1, then identities, and the header record last."""
    count = len(labels)
    firsts = [label if isinstance(label, (int, float)) else label[0] for label in labels]
    people = sorted(set(firsts))
    contents = [(row + 1, packed(label, image, key=row + 1))
                for row, (label, image) in enumerate(zip(labels, images, strict=True))]  # fmt: skip
    for number, person in enumerate(people):
        begin = 1 + firsts.index(person)
        end = begin + firsts.count(person)
        contents.append((count + 1 + number, packed([begin, end], b"", key=count + 1 + number)))
    return [*contents, (0, packed([count + 1, count + 1 + len(people)], b""))]
