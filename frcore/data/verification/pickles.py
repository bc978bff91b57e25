"""Reading an untrusted pickle without running it: a restricted `pickle._Unpickler`.

A pickle is a program, and Python's unpickler runs it. This one knows only the opcodes of lists,
tuples, numbers, text, bytes and memo; the only names it resolves are the few by which bytes and
numpy's uint8 or bool arrays are pickled, and they refer to functions in this file. Nothing is
imported, and nothing else can be called. Everything else is refused, naming it.

Bytes are not copied: a `Blob` gives their position in the file. Sizes are checked against the file
before anything is read, the number of opcodes is bounded, and nothing here recurses, so a length of
2^63, a bomb of references or a million nested tuples cost no more than an error message.

It is based on Python's implementation in Python, not the one in C, because the latter has no hooks
for not reading bytes. The forms are those of `_codecs.encode` in Python's `pickle` (protocols 0 to
2), and of numpy's `ndarray.__reduce__`, `ndarray.__reduce_ex__`, `dtype.__reduce__` and
`generic.__reduce__`.
"""

from __future__ import annotations

import codecs
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

Buffer = bytes | memoryview

FREE_OPCODES, BYTES_PER_OPCODE = 10_000, 16
"""Opcodes a pickle may have, plus one for every this many bytes: an image of a kilobyte takes 3 as
bytes and 20 as a numpy array."""

_LONGEST_LINE = 256
_MOST_AXES = 4

Fault = Literal["cut short", "damaged", "forbidden"]
"""What is wrong with a pickle: the file ends too early; it is not a pickle, is damaged, or has
another form; or it uses what lists of images do not need, as a malicious one does."""


class RefusedPickleError(Exception):
    """What is refused in the pickle, and where; the message has no remedy."""

    def __init__(self, message: str, fault: Fault = "damaged"):
        super().__init__(message)
        self.fault: Fault = fault


class Blob(NamedTuple):
    """Bytes or text in the file: `codec` says how to decode the `length` bytes from `offset` on."""

    offset: int
    length: int
    codec: str

    def read(self, buffer: Buffer) -> Buffer:
        """The bytes; a view of `buffer` if they are stored unencoded.

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
"""Bytes that are stored encoded: as text of code points below 256 (Python 3, protocols
0 to 2, through `_codecs.encode(text, "latin1")`), or quoted with backslashes (Python 2, protocol
0)."""


@dataclass(slots=True)
class Array:
    """A numpy array or scalar of uint8 (`u1`) or bool (`b1`): its bytes are `data`."""

    kind: str = ""
    shape: tuple[int, ...] = ()
    data: Blob | None = None

    def __setstate__(self, state: Any) -> None:
        _, self.shape, dtype, in_fortran_order, self.data = state
        self.kind = dtype.kind
        self._check("F" if in_fortran_order else "C")

    def _check(self, order: str = "C") -> Array:
        """Itself, if type, shape and bytes fit each other."""
        shape, data = self.shape, self.data
        if type(data) is not Blob or type(shape) is not tuple or len(shape) > _MOST_AXES:
            raise TypeError("a numpy array of something else")
        if not all(type(side) is int and side >= 0 for side in shape):
            raise TypeError("a numpy array without a shape")
        count = math.prod(shape)
        # Other encodings take at least one byte for each.
        if count > data.length or (data.codec == "raw" and count < data.length):
            raise ValueError(f"{data.length} bytes for a numpy array of shape {shape}")
        if order != "C" and sum(side > 1 for side in shape) > 1:
            raise RefusedPickleError("a numpy array in Fortran's order")
        return self


@dataclass(slots=True)
class DType:
    """A numpy dtype, `u1` or `b1`."""

    kind: str

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple or any(part is not None for part in state[2:5]):
            raise TypeError("a numpy dtype with fields")


def _blob(width: int, codec: str = "raw") -> Callable[[PickleReader], None]:
    return lambda reader: reader.push(reader.number(width), codec)


def _line(codec: str, quotes: int = 0) -> Callable[[PickleReader], None]:
    def load(reader: PickleReader) -> None:
        begin = reader.at
        length = len(reader.readline(reader.size)) - 1
        stored = reader.buffer[begin : begin + length]
        if quotes and (length < 2 or bytes((stored[0], stored[-1])) not in (b"''", b'""')):
            raise ValueError("a string without quotes")
        reader.append(Blob(begin + quotes, length - 2 * quotes, codec))

    return load


def _stack_global(reader: PickleReader) -> None:
    name, module = reader.stack.pop(), reader.stack.pop()
    reader.append(reader.find_class(reader.text(module), reader.text(name)))


def _frame(reader: PickleReader) -> None:
    length = reader.number(8)
    reader.span(length)  # Only a hint for buffering, but it must fit the file.
    reader.at -= length


_AS_IN_PYTHON = (
    "APPEND", "APPENDS", "BINGET", "BININT", "BININT1", "BININT2", "BINPUT", "BUILD", "EMPTY_LIST",
    "EMPTY_TUPLE", "GET", "GLOBAL", "INT", "LIST", "LONG", "LONG1", "LONG_BINGET", "LONG_BINPUT",
    "MARK", "MEMOIZE", "NEWFALSE", "NEWTRUE", "NONE", "PROTO", "PUT", "REDUCE", "STOP", "TUPLE",
    "TUPLE1", "TUPLE2", "TUPLE3",
)  # fmt: skip
_OWN: Mapping[str, Callable[[PickleReader], None]] = {
    "BINBYTES": _blob(4), "SHORT_BINBYTES": _blob(1), "BINBYTES8": _blob(8),
    "BYTEARRAY8": _blob(8), "BINSTRING": _blob(4), "SHORT_BINSTRING": _blob(1),
    "BINUNICODE": _blob(4, "utf-8"), "SHORT_BINUNICODE": _blob(1, "utf-8"),
    "BINUNICODE8": _blob(8, "utf-8"), "STRING": _line("repr", quotes=1),
    "UNICODE": _line("raw-unicode-escape"), "STACK_GLOBAL": _stack_global, "FRAME": _frame,
}  # fmt: skip
_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_NAMES = {code: name for name, code in _CODES.items()}


class PickleReader(pickle._Unpickler):
    """One pass over the opcodes of `buffer`, usually a memory map.

    >>> data = pickle.dumps([b"abc", True])
    >>> blob, flag = PickleReader(data).load()
    >>> bytes(blob.read(data)), flag
    (b'abc', True)
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **{_CODES[name]: pickle._Unpickler.dispatch[_CODES[name]] for name in _AS_IN_PYTHON},
        **{_CODES[name]: load for name, load in _OWN.items()},
    }

    def __init__(self, buffer: Buffer):
        self.buffer = memoryview(buffer)
        self.size, self.at = len(self.buffer), 0
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.append = self.stack.append
        self._names: dict[str, Any] = {
            "_codecs.encode": self._encode,
            "numpy.dtype": self._dtype,
            "numpy.ndarray": "ndarray",  # not to be called, only the argument of _reconstruct
            **dict.fromkeys(("__builtin__.bytes", "builtins.bytes"), self._bytes),
        }
        for core in ("numpy.core", "numpy._core"):
            self._names[f"{core}.multiarray._reconstruct"] = self._reconstruct
            self._names[f"{core}.multiarray.scalar"] = self._scalar
            self._names[f"{core}.numeric._frombuffer"] = self._frombuffer

    def load(self) -> Any:
        """The value: lists, tuples, None, bools, ints, `Blob`s and `Array`s.

        Raises:
            RefusedPickleError: it holds anything else, is cut short, or is not a pickle.
        """
        limit = FREE_OPCODES + self.size // BYTES_PER_OPCODE
        for _ in range(limit):
            start = self.at
            try:
                code = self.number(1)
                if code not in self.dispatch:
                    # What begins with one is a file of another kind: 'P' is that of a zip archive.
                    known = code in _NAMES
                    what = f"opcode {_NAMES[code]}" if known else f"byte 0x{code:02x}, no opcode"
                    raise RefusedPickleError(
                        f"the {what}", "forbidden" if known and start else "damaged"
                    )
                if code == _CODES["STOP"]:
                    return self.stack.pop()
                self.dispatch[code](self)
            except RefusedPickleError as error:
                raise RefusedPickleError(f"byte {start} has {error}", error.fault) from error
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
                    pickle.UnpicklingError) as error:  # fmt: skip
                raise RefusedPickleError(
                    f"byte {start} has the opcode {_NAMES[code]} on an unsuitable value: {error}"
                ) from error
        raise RefusedPickleError(
            f"it has more than {limit:,} opcodes, too many for a file of {self.size:,} bytes"
        )

    def find_class(self, module: str, name: str) -> Any:
        found = self._names.get(f"{module}.{name}")
        if found is None:
            raise RefusedPickleError(f"a reference to {f'{module}.{name}'[:64]!r}", "forbidden")
        return found

    def span(self, length: int) -> int:
        """The offset of the next `length` bytes, which are passed over."""
        left = self.size - self.at
        if not 0 <= length <= left:
            raise RefusedPickleError(
                f"a length of {length} bytes where only {left} follow", "cut short"
            )
        self.at += length
        return self.at - length

    def read(self, length: int) -> bytes:
        """The next bytes, of a number or a code."""
        begin = self.span(length)
        return bytes(self.buffer[begin : begin + length])

    def number(self, width: int) -> int:
        """A little-endian number of `width` bytes."""
        return int.from_bytes(self.read(width), "little")

    def readline(self, longest: int = _LONGEST_LINE) -> bytes:
        """The rest of the line, with its end."""
        begin, step, line = self.at, 64, b""
        while not line.endswith(b"\n"):
            # Never much more than the line is long: a file can hold millions of lines.
            line = bytes(self.buffer[begin : begin + min(step, longest + 1)])
            line = line[: line.find(b"\n") + 1] or line
            if not line.endswith(b"\n") and len(line) < step:
                fault: Fault = "cut short" if begin + len(line) == self.size else "damaged"
                raise RefusedPickleError(
                    f"a line that does not end within {len(line)} bytes", fault
                )
            step *= 2
        self.at = begin + len(line)
        return line

    def push(self, length: int, codec: str) -> None:
        """Push the next `length` bytes without reading them."""
        self.append(Blob(self.span(length), length, codec))

    def text(self, value: Any) -> str:
        """A short `Blob` as text, for the names of codecs, types and callables."""
        if type(value) is not Blob or value.length > _LONGEST_LINE:
            raise TypeError("a name that is no short text")
        return bytes(value.read(self.buffer)).decode("ascii")

    def _encode(self, text: Any, codec: Any) -> Blob:
        if type(text) is not Blob or self.text(codec) != "latin1":
            raise TypeError("another codec than latin1")
        return text

    def _bytes(self) -> Blob:
        return Blob(0, 0, "raw")

    def _dtype(self, kind: Any, align: Any = None, copy: Any = None) -> DType:
        if self.text(kind) not in ("u1", "b1"):
            raise RefusedPickleError(f"a numpy array of type {self.text(kind)!r}")
        return DType(self.text(kind))

    def _reconstruct(self, kind: Any, shape: Any, data: Any) -> Array:
        if kind != "ndarray":
            raise TypeError("a subclass of numpy's array")
        return Array()

    def _scalar(self, dtype: Any, data: Any) -> Array:
        return Array(dtype.kind, (), data)._check()

    def _frombuffer(self, data: Any, dtype: Any, shape: Any, order: Any) -> Array:
        return Array(dtype.kind, shape, data)._check(self.text(order))
