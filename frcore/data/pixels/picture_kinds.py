"""The image format of a file, from its first bytes, because names are often wrong or missing."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".avif",
    ".heic", ".heif", ".gif", ".jxl",
))  # fmt: skip
"""Suffixes, in any case, that make a file an image by name alone; the last four cannot be read."""

LOOKED_AT = 32
"""Bytes at the beginning that determine the format."""

_BMP_HEADERS = "|".join(f"\\x{size:02x}" for size in (12, 40, 52, 56, 64, 108, 124))

# The texts appear in messages: "HEIC is not supported".
_KINDS = tuple(
    (name, re.compile(pattern.encode("latin-1"), re.DOTALL))
    for name, pattern in (
        ("JPEG", r"\xff\xd8"),
        ("PNG", r"\x89PNG\r\n\x1a\n"),
        ("WebP", r"RIFF....WEBP"),
        ("a camera's raw file", r"II\*\0....CR|II(?:RO|RS|U\0)|FUJIFILMCCD-RAW|....ftypcrx "),
        ("TIFF", r"II[*+]\0|MM\0[*+]"),
        ("BMP", rf"BM....\0\0\0\0....(?:{_BMP_HEADERS})\0\0\0"),
        ("PNM as text", r"P[123]\s+(?:#|\d+\s+\d)"),
        ("PNM", r"P[456]\s+(?:#|\d+\s+\d)"),
        ("JPEG 2000", r"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("AVIF", r"....ftypavi[fs]"),
        ("HEIC", r"....ftyp(?:hei[cxms]|hev[cxms]|mif[12]|msf1)"),
        ("JPEG XL", r"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a"),
        ("GIF", r"GIF8[79]a"),
    )
)


def kind_of(content: bytes | memoryview) -> str | None:
    r"""The image format of a file with this content; None if it is not an image.

    >>> kind_of(b"\xff\xd8\xff\xe0"), kind_of(b"\0\0\0\x18ftypheic"), kind_of(b"BMW and P5")
    ('JPEG', 'HEIC', None)
    """
    head = bytes(content[:LOOKED_AT])
    return next((name for name, pattern in _KINDS if pattern.match(head)), None)


def without_suffix(name: str) -> str:
    """A path without an image suffix; any other ending after a dot is part of the name.

    >>> without_suffix("A.J._Cook/A.J._Cook_0001.JPG"), without_suffix("A.J._Cook_0002")
    ('A.J._Cook/A.J._Cook_0001', 'A.J._Cook_0002')
    """
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in SUFFIXES else name


def is_picture(path: Path) -> bool:
    """Whether a regular file is an image, by its name or else its content; it may be damaged."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return kind_of(file.read(LOOKED_AT)) is not None
    except OSError:
        return True  # An unreadable file may be one: it is reported when it is decoded.
