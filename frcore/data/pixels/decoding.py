"""Encoded images to RGB pixels: strict about damage, with limits checked before decoding.

JPEG is decoded by OpenCV, the fastest library available, and everything else by Pillow. What
OpenCV does with a truncated JPEG depends on its version and on how it is called: it may silently
fill it with grey. So the file is walked first: its marker segments (ITU-T T.81, B.1.1) give its
size and show whether it is complete. No decoder detects damage within coded data of the right
length; `content_sha256` does. A JPEG that OpenCV and Pillow may read differently (an EXIF
orientation, four colour components, lossless or arithmetic coding) also goes to Pillow; for all
others their pixels are equal, as the tests verify. Pillow gets such a JPEG without its other
metadata, some of which it joins in quadratic time.
"""

from __future__ import annotations

import io
import re
import struct
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps

from frcore.data.pixels.picture_kinds import kind_of
from frcore.machine.faults import raise_refusal

Encoded = bytes | memoryview

LARGEST = 100_000_000
"""Most pixels an image may have; a face has far fewer, and a decompression bomb more."""

_MOST_WORK = 20 * LARGEST
"""Pixels times scans: a progressive JPEG has about ten scans, each a pass over all pixels."""

_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats that Pillow may read: for some others it would start another program."""

_READ = "JPEG, PNG, WebP, TIFF, BMP, PNM, JPEG 2000 and AVIF"
_SUBFILE_TYPE = 254
"""TIFF's tag for a reduced-size copy, which a raw photograph begins with."""

_START, _END, _SCAN, _EXIF = 0xD8, 0xD9, 0xDA, 0xE1
_NOT_ABOUT_PIXELS = frozenset((0xFE, *range(0xE1, 0xF0))) - {0xEE}
"""Comments and application segments, except JFIF's and Adobe's, which define the colours."""
_BASELINE_EXTENDED_PROGRESSIVE = frozenset((0xC0, 0xC1, 0xC2))
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length: TEM and the restart markers."""
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)


class BadImageError(Exception):
    """An image that cannot be used; the message is the reason."""


class Jpeg(NamedTuple):
    """The properties of a JPEG file given by its segments."""

    height: int
    width: int
    components: int
    is_plain: bool
    """Eight bits, Huffman-coded, and no EXIF."""
    metadata: tuple[slice, ...] = ()
    """Segments that do not affect the pixels, without the first EXIF segment."""


def decode_rgb(encoded: Encoded) -> NDArray[np.uint8]:
    """Decode an image file's content to RGB: uint8 (H, W, 3).

    Grey is repeated over the channels, alpha is dropped, 16 bits are reduced to the upper 8, and an
    EXIF orientation is applied. Of several frames the first is used. Bytes after a JPEG's end are
    ignored.

    Raises:
        BadImageError: it is empty, truncated, corrupt, too large or of an unsupported kind.
    """
    if not len(encoded):
        raise BadImageError("the file is empty")
    if bytes(encoded[:2]) != b"\xff\xd8":
        return _by_pillow(encoded)
    jpeg = read_jpeg(encoded)
    if not jpeg.is_plain or jpeg.components not in (1, 3):
        return _by_pillow(_without(encoded, jpeg.metadata))
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error as error:
        raise_refusal(error)
        raise BadImageError(f"OpenCV cannot decode it: {error.err}") from error
    if image is None:
        raise BadImageError("a damaged JPEG, which OpenCV cannot decode")
    return np.asarray(image, np.uint8)


def read_jpeg(encoded: Encoded) -> Jpeg:
    """Walk the segments of a JPEG file to its end, without decoding.

    Raises:
        BadImageError: a segment extends beyond the file, there is no frame, scan or end, or
            decoding would take too long.
    """
    at, scans = 2, 0
    found: Jpeg | None = None
    has_exif = False
    metadata: list[slice] = []
    pattern = _MARKER
    while match := pattern.search(encoded, at):
        pattern, at, marker = _MARKER, match.end(), encoded[match.end() - 1]
        if marker == _END:
            if found is None or not scans:
                raise BadImageError("a JPEG without an image: it ends before its first scan")
            is_plain = found.is_plain and not has_exif
            return found._replace(is_plain=is_plain, metadata=tuple(metadata))
        if marker in _ALONE or marker == _START:
            continue
        length = int.from_bytes(encoded[at : at + 2], "big")
        body, at = at + 2, at + length
        if length < 2 or at > len(encoded):
            break
        if marker in _FRAMES:
            if found is not None:
                raise BadImageError("a damaged JPEG: it has two frame headers")
            found = _frame(encoded[body:at], marker)
            _refuse_large(found.width, found.height)
        elif marker == _EXIF and not has_exif and bytes(encoded[body : body + 4]) == b"Exif":
            has_exif = True
        elif marker in _NOT_ABOUT_PIXELS:
            metadata.append(slice(body - 4, at))
        elif marker == _SCAN:
            scans += 1
            if found is None or scans * found.width * found.height > _MOST_WORK:
                raise BadImageError("a JPEG with a scan before its frame, or too many scans")
            # In coded data FF is followed by 00 or starts a restart marker.
            pattern = _MARKER_IN_SCAN
    raise BadImageError("a truncated JPEG: its end (marker FFD9) is missing")


def _without(encoded: Encoded, parts: tuple[slice, ...]) -> bytes:
    begins = (0, *(part.stop for part in parts))
    ends = (*(part.start for part in parts), len(encoded))
    return b"".join(encoded[begin:end] for begin, end in zip(begins, ends, strict=True))


def _frame(segment: Encoded, marker: int) -> Jpeg:
    if len(segment) < 6:
        raise BadImageError("a damaged JPEG: its frame header is too short")
    bits, height, width, components = struct.unpack(">BHHB", segment[:6])
    return Jpeg(height, width, components, bits == 8 and marker in _BASELINE_EXTENDED_PROGRESSIVE)


def _refuse_large(width: int, height: int) -> None:
    if width * height > LARGEST:
        raise BadImageError(f"{width}×{height} pixels are too many for a face")


@cache
def _formats() -> tuple[str, ...]:
    """The formats of `_FORMATS` that this build of Pillow supports."""
    Pillow.init()
    return tuple(form for form in _FORMATS if form in Pillow.OPEN)


def _by_pillow(encoded: Encoded) -> NDArray[np.uint8]:
    kind = kind_of(encoded)
    if bytes(encoded[:2]) in (b"P1", b"P2", b"P3"):  # Pillow reads them in quadratic time.
        raise BadImageError(_not_read("PNM as text"))
    # OpenJPEG accepts a file without any data; in its data FF is never followed by D9.
    if kind == "JPEG 2000" and b"\xff\xd9" not in bytes(encoded):
        raise BadImageError("a truncated JPEG 2000: its end (marker FFD9) is missing")
    try:
        with Pillow.open(io.BytesIO(encoded), formats=_formats()) as picture:
            _refuse_large(picture.width, picture.height)
            if getattr(picture, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & 1:
                raise BadImageError(_not_read("the small preview in a camera's raw file"))
            picture.load()
            return _to_rgb(_upright(picture))
    except BadImageError:
        raise
    except Pillow.UnidentifiedImageError as error:
        damaged = "not an image, or damaged at its beginning"
        is_unread = kind in ("GIF", "HEIC", "AVIF", "JPEG 2000", "JPEG XL", "a camera's raw file")
        raise BadImageError(_not_read(str(kind)) if is_unread else damaged) from error
    except Exception as error:  # Damaged files make decoders raise almost anything.
        raise_refusal(error)
        raise BadImageError(str(error) or type(error).__name__) from error


def _upright(picture: Pillow.Image) -> Pillow.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception as error:  # Its own message would mention TIFF, the format of EXIF data.
        raise BadImageError("its EXIF data are damaged; save it again without them") from error


def _not_read(what: str) -> str:
    return f"{what} is not supported ({_READ} are, if Pillow was built with them); convert it"


def _to_rgb(picture: Pillow.Image) -> NDArray[np.uint8]:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise BadImageError("32-bit pixels; convert the file to 8 or 16 bits")
        grey = (values.astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise BadImageError("floating-point pixels; convert the file to 8 or 16 bits")
    return np.array(picture.convert("RGB"), np.uint8)
