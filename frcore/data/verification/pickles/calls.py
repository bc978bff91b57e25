"""What REDUCE and BUILD stand for: the few calls by which bytes and arrays are pickled.

The forms are those of `_codecs.encode` in Python's `pickle` (protocols 0 to 2), and of numpy's
`ndarray.__reduce__`, `ndarray.__reduce_ex__`, `dtype.__reduce__` and `generic.__reduce__`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from frcore.data.verification.pickles.values import Array, Blob, DType, Name, array_of

if TYPE_CHECKING:
    from frcore.data.verification.pickles.reader import PickleReader


def _encode(reader: PickleReader, arguments: tuple[Any, ...]) -> Blob:
    text, codec = arguments
    if not isinstance(text, Blob) or reader.text(codec) != "latin1":
        raise TypeError
    return text


def _bytes(_: PickleReader, arguments: tuple[Any, ...]) -> Blob:
    if arguments:
        raise TypeError
    return Blob(0, 0, "raw")


def _dtype(reader: PickleReader, arguments: tuple[Any, ...]) -> DType:
    kind = reader.text(arguments[0])
    if kind not in ("u1", "b1") or len(arguments) > 3:
        reader.refuse(f"a numpy array of type {kind!r}")
    return DType(kind)


def _reconstruct(_: PickleReader, arguments: tuple[Any, ...]) -> Array:
    if type(arguments[0]) is not Name or arguments[0].name != "ndarray":
        raise TypeError
    return Array()


def _scalar(_: PickleReader, arguments: tuple[Any, ...]) -> Array:
    dtype, data = arguments
    return array_of(dtype, (), data)


def _frombuffer(reader: PickleReader, arguments: tuple[Any, ...]) -> Array:
    data, dtype, shape, order = arguments
    array = array_of(dtype, shape, data)
    if reader.text(order) != "C" and sum(side > 1 for side in array.shape) > 1:
        reader.refuse("a numpy array in Fortran's order")
    return array


Recipe = Callable[["PickleReader", tuple[Any, ...]], Any]

RECIPES: Mapping[Name, Recipe | None] = {
    Name("_codecs", "encode"): _encode,
    Name("__builtin__", "bytes"): _bytes,
    Name("builtins", "bytes"): _bytes,
    Name("numpy", "ndarray"): None,
    Name("numpy", "dtype"): _dtype,
    **{
        Name(f"{core}.{module}", name): recipe
        for core in ("numpy.core", "numpy._core")
        for module, name, recipe in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}
"""The names a pickle may ask for, and what a call of them means here; None: only as an argument."""


def build(reader: PickleReader, value: object, state: object) -> None:
    """Finish a numpy array or dtype; nothing else has a state.

    Raises:
        TypeError, ValueError: it is something else, or in another form.
    """
    if type(state) is not tuple:
        raise TypeError
    if type(value) is DType:
        _, order, *rest = state
        if reader.text(order) != "|" or any(part is not None for part in rest[:3]):
            raise TypeError
    elif type(value) is Array and value.data is None:
        _, shape, dtype, fortran, data = state
        built = array_of(dtype, shape, data)
        if fortran and sum(side > 1 for side in built.shape) > 1:
            reader.refuse("a numpy array in Fortran's order")
        value.kind, value.shape, value.data = built.kind, built.shape, built.data
    else:
        raise TypeError
