"""Where the members of a tar archive lie: one walk over its headers, nothing is extracted.

POSIX ustar (IEEE Std 1003.1, pax), with pax records for long names and sizes, and GNU's long names.
Anything that is not a plain file or a folder is refused: links and devices have no place in a data
set, and an archive with names that lead out of it was not made for one. Python's `tarfile` reads
more kinds of archive, but takes three times as long, and keeps an object for each of millions of
members.
"""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from frcore.errors import UserError

BLOCK = 512
_ZEROS = bytes(BLOCK)
_LONGEST_NAME = 2**20
"""Bytes of a pax header or a long name; real ones have some hundred."""

_FILE, _FOLDER, _PAX, _PAX_ALL, _LONG_NAME, _LONG_LINK = "07", "5", "xX", "g", "L", "K"
_ABOUT_THE_NEXT = _PAX + _PAX_ALL + _LONG_NAME + _LONG_LINK
_REFUSED = {
    "1": "a hard link", "2": "a symbolic link", "3": "a character device", "4": "a block device",
    "6": "a named pipe", "S": "a sparse file", "M": "a part of a file", "V": "a volume's label",
}  # fmt: skip

_PLAIN = "make the shard again of plain files only"

_COMPRESSED = {
    b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip", b"\x04\x22\x4d\x18": "lz4", b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR",
}  # fmt: skip


class Member(NamedTuple):
    """A plain file in an archive."""

    name: str
    offset: int
    """Of its content in the archive."""
    size: int


class _BadTarError(Exception):
    """What is wrong with an archive, and what to do."""

    def __init__(self, problem: str, remedy: str = "copy or make the archive again"):
        super().__init__(f"{problem}; {remedy}")


def members(path: Path) -> Iterator[Member]:
    """The plain files of the archive, in its order.

    Raises:
        UserError: it is compressed, truncated or damaged, or has members of another kind or with a
            name that leads out of it.
    """
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise _BadTarError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield from _walk(content)
    except _BadTarError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; check `root`") from error


def _walk(content: mmap.mmap) -> Iterator[Member]:
    _refuse_compressed(content[:8])
    at = 0
    extra: dict[str, str] = {}
    while (header := content[at : at + BLOCK]) != _ZEROS:
        if len(header) < BLOCK:
            raise _BadTarError(f"truncated at byte {at}: the end of the archive is missing")
        _check_sum(header, at)
        kind = chr(header[156])
        size = _number(header[124:136], at)
        if "size" in extra and kind not in _ABOUT_THE_NEXT:
            size = int(extra["size"])
        begin = at + BLOCK
        at = begin + -(-size // BLOCK) * BLOCK
        if begin + size > len(content):
            raise _BadTarError(
                f"truncated: the member at byte {begin - BLOCK} has {size} bytes, but "
                f"{max(0, len(content) - begin)} follow"
            )
        if kind in _PAX + _PAX_ALL:
            records = _pax(content, begin, size)
            if kind in _PAX_ALL and ("path" in records or "size" in records):
                raise _BadTarError("a pax header gives one name or size to all members")
            extra |= records if kind in _PAX else {}
        elif kind in (_LONG_NAME, _LONG_LINK):
            name = _text(_small(content, begin, size).rstrip(b"\0"), begin)
            extra |= {"path": name} if kind == _LONG_NAME else {}
        else:
            name = _name(header, extra, begin)
            extra = {}
            if kind == "\0":  # Of archives older than POSIX, in which a folder ends in a slash.
                kind = _FOLDER if name.endswith("/") else "0"
            if kind in _FILE:
                yield Member(name, begin, size)
            elif kind != _FOLDER:
                what = _REFUSED.get(kind, f"of the unknown kind {kind!r}")
                raise _BadTarError(f"the member {name[:200]!r} is {what}", _PLAIN)
    _check_end(content, at)


def _refuse_compressed(magic: bytes) -> None:
    for begin, name in _COMPRESSED.items():
        if magic.startswith(begin):
            raise _BadTarError(
                f"compressed with {name}, so that single images of it cannot be read",
                "unpack it to .tar (images hardly get smaller by compression)",
            )


def _check_sum(header: bytes, at: int) -> None:
    """The header's sum, with its own field as blanks; some old writers took signed bytes."""
    unsigned = sum(header) - sum(header[148:156]) + 8 * 32
    stored = _octal(header[148:156])
    if stored == unsigned:
        return
    if stored != unsigned - 256 * sum(byte > 127 for byte in header[:148] + header[156:]):
        raise _BadTarError(f"not a tar archive, or damaged: no member's header at byte {at}")


def _octal(field: bytes) -> int | None:
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    return int(digits, 8) if digits.strip(b"01234567") == b"" else None


def _number(field: bytes, at: int) -> int:
    """Octal digits, or with the first bit set a binary number, of which 63 bits are enough."""
    value = int.from_bytes(field[1:], "big") if field[0] == 0x80 else _octal(field)
    if value is None or value >= 2**63:
        raise _BadTarError(f"damaged: the size of the member at byte {at} is not a number")
    return value


def _small(content: mmap.mmap, begin: int, size: int) -> bytes:
    if size > _LONGEST_NAME:
        raise _BadTarError(f"a name or pax header of {size} bytes at byte {begin}")
    return content[begin : begin + size]


def _pax(content: mmap.mmap, begin: int, size: int) -> dict[str, str]:
    """Name and size of a pax header: records `length key=value\\n`, the length in bytes of all."""
    body = _small(content, begin, size).rstrip(b"\0")
    found: dict[str, str] = {}
    at = 0
    while at < len(body):
        digits = body[at : at + 8].partition(b" ")[0]
        length = int(digits) if digits.isdigit() and len(digits) < 8 else 0
        end = at + length
        key, equals, value = body[at + len(digits) + 1 : end - 1].partition(b"=")
        if end > len(body) or not equals or body[end - 1 : end] != b"\n":
            raise _BadTarError(f"damaged: no pax records at byte {begin}")
        if key.startswith(b"GNU.sparse"):
            raise _BadTarError(f"a sparse file at byte {begin}", _PLAIN)
        if key == b"path":
            found["path"] = _text(value, begin)
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise _BadTarError(f"damaged: a pax record's size at byte {begin} is not a number")
            found["size"] = value.decode()
        at = end
    return found


def _text(raw: bytes, at: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _BadTarError(f"the member's name at byte {at} is not UTF-8") from error


def _name(header: bytes, extra: dict[str, str], at: int) -> str:
    """The member's name without a leading `./`; a folder keeps its trailing slash.

    GNU's own headers have times where ustar has the prefix of the name.
    """
    name = extra.get("path")
    if name is None:
        name = _text(header[:100].split(b"\0", 1)[0], at)
        prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
        if prefix:
            name = f"{_text(prefix, at)}/{name}"
    is_folder = name.endswith("/") or header[156:157] == b"5"
    plain = posixpath.normpath(name) if name else ""
    if not plain or not plain.isprintable() or plain.startswith("/") or "\\" in plain:
        raise _BadTarError(f"the member's name {name[:200]!r} is not a path below the archive")
    if ".." in name.split("/"):
        raise _BadTarError(f"the member's name {name[:200]!r} leads out of the archive")
    return plain + "/" if is_folder else plain


def _check_end(content: mmap.mmap, at: int) -> None:
    """After the last member stand two blocks of zeros, then nothing but zeros."""
    if len(content) < at + 2 * BLOCK:
        raise _BadTarError(f"truncated at byte {at}: the end of the archive is missing")
    for begin in range(at, len(content), 2**20):
        if content[begin : begin + 2**20].strip(b"\0"):
            raise _BadTarError(
                f"there is more after the end of the archive at byte {at}, as if several had been "
                "joined",
                "give each as a file of its own",
            )
