"""The positions of the members of a tar archive: one walk over its headers, without extraction.

POSIX ustar (IEEE Std 1003.1, pax), with pax records for long names and sizes, and GNU's long names.
Anything but regular files and folders is refused: links and devices do not belong in a data set,
nor do names that lead out of the archive. Python's `tarfile` takes three times as long, treats a
damaged header as the end of the archive, and accepts broken pax records.
"""

from __future__ import annotations

import mmap
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from frcore.data.refusal import reading
from frcore.errors import UserError

BLOCK = 512
_LONGEST_NAME = 2**20
"""Most bytes of a pax header or a long name; real ones have a few hundred."""

_FILE, _FOLDER, _PAX, _PAX_ALL, _LONG_NAME, _LONG_LINK = "07", "5", "xX", "g", "L", "K"
_REFUSED = {
    "1": "a hard link", "2": "a symbolic link", "3": "a character device", "4": "a block device",
    "6": "a named pipe", "S": "a sparse file", "M": "a part of a file", "V": "a volume's label",
}  # fmt: skip
_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR",
}  # fmt: skip

_COPY, _PLAIN = "copy or create the archive again", "create the shard again from regular files only"
_RECORD = re.compile(rb"([1-9]\d{0,6}) ([^=\n]+)=")


class Member(NamedTuple):
    """A regular file in an archive."""

    name: str
    offset: int
    """Where its content begins in the archive."""
    size: int


class _BadTarError(Exception):
    """What is wrong with an archive, and how to fix it."""

    def __init__(self, problem: str, remedy: str = _COPY):
        super().__init__(f"{problem}; {remedy}")


def members(path: Path) -> Iterator[Member]:
    """The regular files of the archive, in archive order.

    Raises:
        UserError: it is compressed, truncated or damaged, or has members of another kind or with a
            name that leads out of it.
    """
    try:
        with reading(path, "check `root`"), path.open("rb") as file:
            if not file.seek(0, 2):
                raise _BadTarError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _walk(content)
    except _BadTarError as error:
        raise UserError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the name {error.object[:200]!r} is not UTF-8; {_COPY}") from error


def _walk(content: mmap.mmap) -> Iterator[Member]:
    for magic, name in _COMPRESSED.items():
        if content[:8].startswith(magic):
            raise _BadTarError(
                f"compressed with {name}, so single images in it cannot be read",
                "decompress it to .tar (compression hardly makes images smaller)",
            )
    at, extra = 0, dict[str, str]()
    while (header := content[at : at + BLOCK]) != bytes(BLOCK):
        if len(header) < BLOCK:
            raise _BadTarError(f"truncated at byte {at}: the end of the archive is missing")
        _check_sum(header, at)
        kind, begin = chr(header[156]), at + BLOCK
        is_extra = kind in _PAX + _PAX_ALL + _LONG_NAME + _LONG_LINK
        size = _number(header[124:136], at)
        if "size" in extra and not is_extra:
            size = int(extra["size"])
        at = begin + -(-size // BLOCK) * BLOCK
        if begin + size > len(content):
            raise _BadTarError(
                f"truncated: the member at byte {begin - BLOCK} has {size} bytes, but "
                f"{max(0, len(content) - begin)} follow"
            )
        if is_extra:
            if size > _LONGEST_NAME:
                raise _BadTarError(f"a name or pax header of {size} bytes at byte {begin}")
            body = content[begin : begin + size].rstrip(b"\0")
            if kind == _LONG_NAME:
                extra["path"] = body.decode()
            elif kind in _PAX:
                extra |= _pax(body)
            elif kind == _PAX_ALL and _pax(body).keys() & {"path", "size"}:
                raise _BadTarError("a pax header gives all members the same name or size")
            continue
        name, extra = _name(header, extra.get("path")), {}
        if kind == "\0":  # In archives older than POSIX, where a folder ends in a slash.
            kind = _FOLDER if name.endswith("/") else "0"
        if kind in _FILE:
            yield Member(name, begin, size)
        elif kind != _FOLDER:
            what = _REFUSED.get(kind, f"of the unknown kind {kind!r}")
            raise _BadTarError(f"the member {name[:200]!r} is {what}", _PLAIN)
    # After the last member come two blocks of zeros, then only zeros.
    if len(content) < at + 2 * BLOCK:
        raise _BadTarError(f"truncated at byte {at}: the end of the archive is missing")
    for begin in range(at, len(content), 2**20):
        if content[begin : begin + 2**20].strip(b"\0"):
            raise _BadTarError(f"there is more after the end of the archive at byte {at}, as if "
                               "several had been joined", "give each separately")  # fmt: skip


def _check_sum(header: bytes, at: int) -> None:
    """Check the header's checksum, its own field as blanks; some writers used signed bytes."""
    unsigned = sum(header) - sum(header[148:156]) + 8 * 32
    stored = _number(header[148:156], at)
    if stored != unsigned and stored != unsigned - 256 * sum(byte > 127 for byte in header):
        raise _BadTarError(f"not a tar archive, or damaged: no member's header at byte {at}")


def _number(field: bytes, at: int) -> int:
    """Octal digits or, if the first bit is set, a binary number, of which 63 bits suffice."""
    digits = field.split(b"\0", 1)[0].strip(b" ") or b"0"
    value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else -1
    if not digits.strip(b"01234567"):
        value = int(digits, 8)
    if not 0 <= value < 2**63:
        raise _BadTarError(f"not a tar archive, or damaged: a field of the header at byte {at} is "
                           "not a number")  # fmt: skip
    return value


def _pax(body: bytes) -> dict[str, str]:
    """Name and size in a pax header: records `length key=value\\n`, each with its length."""
    found: dict[str, str] = {}
    at = 0
    while at < len(body):
        record = _RECORD.match(body, at)
        end = at + int(record[1]) if record else 0
        if not record or not record.end() < end <= len(body) or body[end - 1 : end] != b"\n":
            raise _BadTarError("damaged: a pax header without pax records")
        key, value = record[2], body[record.end() : end - 1]
        if key.startswith(b"GNU.sparse"):
            raise _BadTarError("a sparse file", _PLAIN)
        if key == b"size" and not (value.isdigit() and len(value) <= 18):
            raise _BadTarError("damaged: the size in a pax record is not a number")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode()
        at = end
    return found


def _name(header: bytes, name: str | None) -> str:
    """The member's name without a leading `./`; a folder keeps its trailing slash.

    Args:
        header: of the member.
        name: from the headers before it, if it was too long for this one.
    """
    if name is None:
        # GNU headers have times where ustar has the prefix of the name.
        fields = (header[345:500] if header[257:263] == b"ustar\0" else b"", header[:100])
        name = "/".join(part.decode() for field in fields if (part := field.split(b"\0", 1)[0]))
    plain = posixpath.normpath(name) if name else ""
    is_path = plain.isprintable() and not plain.startswith("/") and "\\" not in plain
    if not plain or not is_path or ".." in name.split("/"):
        raise _BadTarError(f"the member's name {name[:200]!r} is not a path below the archive, or "
                           "leads out of it")  # fmt: skip
    return f"{plain}/" if name.endswith("/") or header[156:157] == b"5" else plain
