"""The opcodes that are allowed, one function each. None of them imports or calls anything."""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import TYPE_CHECKING

from frcore.data.verification.pickles.calls import RECIPES, build
from frcore.data.verification.pickles.values import Blob, Name

if TYPE_CHECKING:
    from frcore.data.verification.pickles.reader import PickleReader

_Function = Callable[["PickleReader"], None]

OPCODES: dict[int, _Function] = {}
"""What is done for each byte that is allowed."""

NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
"""The name of every opcode there is."""


class _Mark:
    """Where on the stack a list or tuple begins."""


MARK = _Mark()


def _opcode(name: str) -> Callable[[_Function], _Function]:
    (code,) = (code for code, known in NAMES.items() if known == name)

    def register(function: _Function) -> _Function:
        OPCODES[code] = function
        return function

    return register


@_opcode("PROTO")
def _proto(reader: PickleReader) -> None:
    version = reader.number(1)
    if version > 5:
        reader.refuse(f"pickle protocol {version}")


@_opcode("FRAME")
def _frame(reader: PickleReader) -> None:
    length = reader.number(8)
    start = reader.at
    reader.span(length)  # Only a hint for buffering, but it must fit the file.
    reader.at = start


@_opcode("STOP")
def _stop(reader: PickleReader) -> None:
    if len(reader.stack) != 1 or reader.stack[0] is MARK:
        raise IndexError
    reader.finished = True


@_opcode("MARK")
def _mark(reader: PickleReader) -> None:
    reader.stack.append(MARK)


@_opcode("EMPTY_LIST")
def _empty_list(reader: PickleReader) -> None:
    reader.stack.append([])


@_opcode("LIST")
def _list(reader: PickleReader) -> None:
    reader.stack.append(reader.since_mark())


@_opcode("APPEND")
def _append(reader: PickleReader) -> None:
    value = reader.pop()
    reader.top_list().append(value)


@_opcode("APPENDS")
def _appends(reader: PickleReader) -> None:
    values = reader.since_mark()
    reader.top_list().extend(values)


@_opcode("EMPTY_TUPLE")
def _empty_tuple(reader: PickleReader) -> None:
    reader.stack.append(())


@_opcode("TUPLE")
def _tuple(reader: PickleReader) -> None:
    reader.stack.append(tuple(reader.since_mark()))


def _tuple_of(count: int) -> Callable[[PickleReader], None]:
    def function(reader: PickleReader) -> None:
        values = [reader.pop() for _ in range(count)]
        reader.stack.append(tuple(values[::-1]))

    return function


def _constant(value: object) -> Callable[[PickleReader], None]:
    return lambda reader: reader.stack.append(value)


def _integer(width: int, *, signed: bool = False) -> Callable[[PickleReader], None]:
    return lambda reader: reader.stack.append(reader.number(width, signed=signed))


def _blob(width: int, codec: str = "raw") -> Callable[[PickleReader], None]:
    return lambda reader: reader.push_blob(reader.number(width), codec)


def _put(width: int) -> Callable[[PickleReader], None]:
    def function(reader: PickleReader) -> None:
        key = reader.number(width)
        reader.memo[key] = reader.stack[-1]

    return function


def _get(width: int) -> Callable[[PickleReader], None]:
    return lambda reader: reader.stack.append(reader.memo[reader.number(width)])


for _name, _function in {
    "TUPLE1": _tuple_of(1), "TUPLE2": _tuple_of(2), "TUPLE3": _tuple_of(3),
    "NONE": _constant(None), "NEWTRUE": _constant(True), "NEWFALSE": _constant(False),
    "BININT": _integer(4, signed=True), "BININT1": _integer(1), "BININT2": _integer(2),
    "BINBYTES": _blob(4), "SHORT_BINBYTES": _blob(1), "BINBYTES8": _blob(8),
    "BYTEARRAY8": _blob(8), "BINSTRING": _blob(4), "SHORT_BINSTRING": _blob(1),
    "BINUNICODE": _blob(4, "utf-8"), "SHORT_BINUNICODE": _blob(1, "utf-8"),
    "BINUNICODE8": _blob(8, "utf-8"),
    "BINPUT": _put(1), "LONG_BINPUT": _put(4), "BINGET": _get(1), "LONG_BINGET": _get(4),
}.items():  # fmt: skip
    _opcode(_name)(_function)


@_opcode("INT")
def _int(reader: PickleReader) -> None:
    word = reader.word()
    # Protocols 0 and 1 write bools as these two ints.
    reader.stack.append(word == "01" if word in ("00", "01") else int(word))


@_opcode("LONG")
def _long(reader: PickleReader) -> None:
    reader.stack.append(int(reader.word().removesuffix("L")))


@_opcode("LONG1")
def _long1(reader: PickleReader) -> None:
    width = reader.number(1)
    if width > 8:
        reader.refuse(f"an integer of {width} bytes")
    reader.stack.append(reader.number(width, signed=True))


@_opcode("STRING")
def _string(reader: PickleReader) -> None:
    offset, length = reader.line(reader.size)
    quotes = bytes(reader.buffer[offset : offset + 1]) + bytes(reader.buffer[reader.at - 2 :][:1])
    if length < 2 or quotes not in (b"''", b'""'):
        raise ValueError("a string without quotes")
    reader.stack.append(Blob(offset + 1, length - 2, "repr"))


@_opcode("UNICODE")
def _unicode(reader: PickleReader) -> None:
    offset, length = reader.line(reader.size)
    reader.stack.append(Blob(offset, length, "raw-unicode-escape"))


@_opcode("PUT")
def _text_put(reader: PickleReader) -> None:
    reader.memo[int(reader.word())] = reader.stack[-1]


@_opcode("GET")
def _text_get(reader: PickleReader) -> None:
    reader.stack.append(reader.memo[int(reader.word())])


@_opcode("MEMOIZE")
def _memoize(reader: PickleReader) -> None:
    reader.memo[len(reader.memo)] = reader.stack[-1]


@_opcode("GLOBAL")
def _global(reader: PickleReader) -> None:
    module, name = reader.word(), reader.word()
    reader.push_name(Name(module, name))


@_opcode("STACK_GLOBAL")
def _stack_global(reader: PickleReader) -> None:
    name, module = reader.text(reader.pop()), reader.text(reader.pop())
    reader.push_name(Name(module, name))


@_opcode("REDUCE")
def _reduce(reader: PickleReader) -> None:
    arguments, function = reader.pop(), reader.pop()
    recipe = RECIPES.get(function) if type(function) is Name else None
    if recipe is None or type(arguments) is not tuple:
        raise TypeError
    reader.stack.append(recipe(reader, arguments))


@_opcode("BUILD")
def _build(reader: PickleReader) -> None:
    state = reader.pop()
    build(reader, reader.stack[-1], state)
