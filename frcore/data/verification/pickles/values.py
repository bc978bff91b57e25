"""What a pickle may hold, besides lists, tuples, numbers and None."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

Buffer = bytes | memoryview

_MOST_AXES = 4


Fault = Literal["cut short", "damaged", "forbidden"]
"""What is wrong with a pickle: the file ends too early; it is no pickle, or a damaged one, or of
another form; it asks for what lists of images do not need, as one does that was made to do harm."""


class RefusedPickleError(Exception):
    """What in the pickle is refused, and where; the message has no remedy."""

    def __init__(self, message: str, fault: Fault):
        super().__init__(message)
        self.fault: Fault = fault


class Blob(NamedTuple):
    """Bytes or text inside the file: `codec` says how its `length` bytes from `offset` on read."""

    offset: int
    length: int
    codec: str

    def read(self, buffer: Buffer) -> Buffer:
        """The bytes; a view of `buffer` where they stand in it as they are.

        Raises:
            ValueError: they are no bytes in this writing.
        """
        stored = memoryview(buffer)[self.offset : self.offset + self.length]
        return stored if self.codec == "raw" else DECODERS[self.codec](bytes(stored))


DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "utf-8": lambda stored: stored.decode("utf-8", "surrogatepass").encode("latin-1"),
    "repr": lambda stored: codecs.escape_decode(stored)[0],
    "raw-unicode-escape": lambda stored: stored.decode("raw-unicode-escape").encode("latin-1"),
}
"""Bytes that are not written as they are: as text of code points below 256 (Python 3, protocols
0 to 2, through `_codecs.encode(text, "latin1")`), or quoted with backslashes (Python 2, protocol
0)."""


@dataclass(slots=True)
class Array:
    """A numpy array or scalar of uint8 or bool: its bytes are `data`."""

    kind: str = ""
    shape: tuple[int, ...] = ()
    data: Blob | None = None


@dataclass(slots=True)
class DType:
    """A numpy dtype, `u1` or `b1`."""

    kind: str


class Name(NamedTuple):
    """A callable that the pickle asks for by name; it is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def array_of(dtype: object, shape: object, data: object) -> Array:
    """An array of a type, a shape and bytes.

    Raises:
        TypeError, ValueError: they are something else, or do not fit each other.
    """
    if not isinstance(dtype, DType) or not isinstance(data, Blob) or not isinstance(shape, tuple):
        raise TypeError
    if len(shape) > _MOST_AXES or not all(type(side) is int and side >= 0 for side in shape):
        raise TypeError
    count = math.prod(shape)
    # Other writings take one byte or more for each.
    if count > data.length or (data.codec == "raw" and count < data.length):
        raise ValueError(f"{data.length} bytes for a numpy array of shape {shape}")
    return Array(dtype.kind, shape, data)
