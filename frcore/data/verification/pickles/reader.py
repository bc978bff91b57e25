"""The interpreter: one pass over a pickle's opcodes, with a stack and a memo."""

from __future__ import annotations

from typing import Any, NoReturn

from frcore.data.verification.pickles.calls import RECIPES
from frcore.data.verification.pickles.opcodes import MARK, NAMES, OPCODES
from frcore.data.verification.pickles.values import Blob, Buffer, Fault, Name, RefusedPickleError

FREE_OPCODES, BYTES_PER_OPCODE = 10_000, 16
"""A pickle may have so many opcodes, and one more for every so many bytes: an image of a kilobyte
takes 3 as bytes and 20 as a numpy array."""

_LONGEST_LINE = 256
_SHORT_TEXT = 64


class PickleReader:
    """One pass over the opcodes of `buffer`.

    Args:
        buffer: the whole file, usually a memory map.

    >>> import pickle
    >>> data = pickle.dumps([b"abc", True])
    >>> blob, flag = PickleReader(data).read()
    >>> bytes(blob.read(data)), flag
    (b'abc', True)
    """

    def __init__(self, buffer: Buffer):
        self.buffer = memoryview(buffer)
        self.size = len(self.buffer)
        self.at = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._start = 0
        self.finished = False

    def read(self) -> Any:
        """The value: lists, tuples, None, bools, ints, `Blob`s and `Array`s.

        Raises:
            RefusedPickleError: it holds anything else, is cut short, or is not a pickle.
        """
        limit = FREE_OPCODES + self.size // BYTES_PER_OPCODE
        for _ in range(limit):
            self._start = self.at
            code = self.number(1)
            function = OPCODES.get(code)
            if function is None:
                known = NAMES.get(code)
                if known is None:
                    self.refuse(f"the byte 0x{code:02x}, which is no opcode")
                # What begins with one is a file of another kind: 'P' is that of a zip archive.
                self.refuse(f"the opcode {known}", "forbidden" if self._start else "damaged")
            try:
                function(self)
            except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
                why = f": {error}" if type(error) is ValueError else ""
                self.refuse(f"the opcode {NAMES[code]} on what it is not meant for{why}")
            if self.finished:
                return self.stack.pop()
        self.refuse(f"more than {limit:,} opcodes, too many for a file of {self.size:,} bytes")

    def refuse(self, what: str, fault: Fault = "damaged") -> NoReturn:
        """Stop reading."""
        raise RefusedPickleError(f"byte {self._start} has {what}", fault)

    def span(self, length: int) -> int:
        """The offset of the next `length` bytes, which are passed over."""
        offset = self.at
        if not 0 <= length <= self.size - offset:
            left = self.size - offset
            self.refuse(f"a length of {length} bytes where only {left} follow", "cut short")
        self.at += length
        return offset

    def number(self, width: int, *, signed: bool = False) -> int:
        """A little-endian number of `width` bytes."""
        offset = self.span(width)
        return int.from_bytes(self.buffer[offset : offset + width], "little", signed=signed)

    def line(self, longest: int = _LONGEST_LINE) -> tuple[int, int]:
        """Offset and length of the text up to the end of the line."""
        offset, found, step = self.at, -1, _SHORT_TEXT
        while found < 0:
            part = bytes(self.buffer[self.at : min(self.at + step, offset + longest + 1)])
            if not part:
                fault: Fault = "cut short" if self.at >= self.size else "damaged"
                self.refuse(f"a line that does not end within {self.at - offset} bytes", fault)
            found = part.find(b"\n")
            self.at += len(part) if found < 0 else found + 1
            step *= 2  # Never much more than the line is long: a file can hold millions of lines.
        return offset, self.at - 1 - offset

    def word(self) -> str:
        """A short line as text."""
        offset, length = self.line()
        return bytes(self.buffer[offset : offset + length]).decode("ascii")

    def text(self, value: object) -> str:
        """A short `Blob` as text, for the names of codecs, types and callables."""
        if not isinstance(value, Blob) or value.length > _LONGEST_LINE:
            raise TypeError
        return bytes(value.read(self.buffer)).decode("ascii")

    def push_blob(self, length: int, codec: str = "raw") -> None:
        """Push the next `length` bytes."""
        self.stack.append(Blob(self.span(length), length, codec))

    def since_mark(self) -> list[Any]:
        """Take off the stack what lies above the last mark, and the mark."""
        stack = self.stack
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is MARK:
                values = stack[place + 1 :]
                del stack[place:]
                return values
        raise IndexError

    def push_name(self, name: Name) -> None:
        """Push a callable's name, if it is one of `RECIPES`."""
        if name not in RECIPES:
            self.refuse(f"a reference to {str(name)[:_SHORT_TEXT]!r}", "forbidden")
        self.stack.append(name)

    def pop(self) -> Any:
        """Take a value off the stack; a mark is none."""
        value = self.stack.pop()
        if value is MARK:
            raise TypeError
        return value

    def top_list(self) -> list[Any]:
        """The list on top of the stack."""
        top = self.stack[-1]
        if type(top) is not list:
            raise TypeError
        return top
