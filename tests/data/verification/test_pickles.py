"""Hostile pickles are refused before anything runs; harmless ones read as Python reads them."""

from __future__ import annotations

import contextlib
import copyreg
import doctest
import io
import os
import pickle
import pickletools
import struct
import time
import tracemalloc

import numpy as np
import pytest

import frcore.data.verification.pickles
from frcore.data.verification.pickles import Array, Blob, PickleReader, RefusedPickleError

PROTOCOLS = range(6)


def plain(value, data):
    """What Python's own unpickler would have given."""
    if isinstance(value, Blob):
        return bytes(value.read(data))
    if isinstance(value, Array):
        array = np.frombuffer(value.data.read(data), np.dtype(value.kind))
        return array.reshape(value.shape)
    return type(value)(plain(item, data) for item in value) if isinstance(
        value, list | tuple
    ) else value  # fmt: skip


def read(data):
    return plain(PickleReader(data).load(), data)


def test_docstrings():
    assert doctest.testmod(frcore.data.verification.pickles).failed == 0


@pytest.mark.fast_cases(54)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        [], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), None, True, False, 0, 1, -1, 255, 256, -300,
        70_000, 2**31, 2**40, -(2**62), b"", b"\xff\xd8 \n\r\x00\x1a\\'\"\\u0041", b"x" * 300,
        [b"a" * 70_000, [True, False], (None,)], bytes(range(256)),
    ],
)  # fmt: skip
def test_as_python_reads_it(value, protocol):
    data = pickle.dumps(value, protocol)
    assert read(data) == value == pickle.loads(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(200, dtype=np.uint8),
        np.arange(5, dtype=np.uint8).reshape(-1, 1),
        np.frombuffer(b"read-only", np.uint8),
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.array([True, False, True]),
        np.bool_(True),
        np.uint8(200),
    ],
)
def test_as_numpy_reads_it(array, protocol):
    data = pickle.dumps([array, array], protocol)
    first, second = read(data)
    np.testing.assert_array_equal(first, array)
    np.testing.assert_array_equal(second, array)
    assert first.dtype == array.dtype


def test_other_arrays_are_named():
    for array in (np.zeros(3), np.zeros(3, ">u2"), np.array([object()]), np.array(["a"])):
        with pytest.raises(RefusedPickleError, match=r"numpy array of|not meant|reference"):
            PickleReader(pickle.dumps(array)).load()
    with pytest.raises(RefusedPickleError, match="Fortran"):
        PickleReader(pickle.dumps(np.asfortranarray(np.zeros((2, 3), np.uint8)))).load()


# --- hostile -----------------------------------------------------------------------------------


class Reduced:
    def __init__(self, function, *arguments):
        self.what = (function, arguments)

    def __reduce__(self):
        return self.what


class WithState:
    def __reduce__(self):
        return (Reduced, (len, "a"), {"x": 1})

    def __setstate__(self, state):
        raise AssertionError("must not run")


class Registered:
    pass


def assembled(command: str) -> dict[str, bytes]:
    """Programs that run `command` when Python unpickles them, one for each way to call."""
    text = command.encode()
    line = b"(S'" + text + b"'\n"
    unicode = b"X" + struct.pack("<I", len(text)) + text
    reduce_ = b"cos\nsystem\n(" + unicode + b"tR"
    return {
        "GLOBAL and REDUCE": reduce_ + b".",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x94\x93(" + unicode + b"tR.",
        "INST": line + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + unicode + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + unicode + b"\x85\x81.",
        "BUILD through __setstate__": (
            # The state is applied by what a __dict__ was set to: a gadget of one opcode.
            b"ccopyreg\n__newobj__\n}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb" + unicode + b"b."
        ),
        "eval": b"cbuiltins\neval\n(" + unicode + b"tR.",
        "in a list of images": b"((lp0\n" + reduce_ + b"a(lt.",
        "after a whole value": b"(lp0\n0" + reduce_ + b".",
        "through a name that is allowed": b"cnumpy\nndarray\n" + unicode + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.__new__\x93(" + unicode + b"tR.",
    }


RUNS = sorted(assembled("x"))


@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_run(name, tmp_path):
    trace = tmp_path / "ran"
    data = assembled(f"touch {trace}")[name]
    with pytest.raises(RefusedPickleError):
        PickleReader(data).load()
    assert not trace.exists()


@pytest.mark.parametrize("name", ["GLOBAL and REDUCE", "STACK_GLOBAL", "INST", "OBJ"])
def test_the_programs_are_real(name, tmp_path):
    """Python runs them: the test above would notice."""
    trace = tmp_path / "ran"
    data = assembled(f"touch {trace}")[name]
    with contextlib.suppress(Exception):
        pickle.loads(data)
    assert trace.exists()


def test_the_refused_is_named():
    for data, name in (
        (pickle.dumps(Reduced(os.system, "true")), f"'{os.system.__module__}.system'"),
        (pickle.dumps(WithState()), "Reduced'"),
        (pickle.dumps({}), "the opcode EMPTY_DICT"),
        (pickle.dumps({1}), "the opcode EMPTY_SET"),
        (pickle.dumps(1.5), "the opcode BINFLOAT"),
        (pickle.dumps(Registered()), "Registered'"),
        (b"\x80\x02\x8b\x04\x00\x00\x00abcd.", "the opcode LONG4"),
        (b"Pid\n.", "the opcode PERSID"),
        (b"I1\nQ.", "the opcode BINPERSID"),
        (b"\x80\x04)}\x92.", "the opcode EMPTY_DICT"),
        (b"\x80\x04N)N\x92.", "the opcode NEWOBJ_EX"),
        (b"\x80\x02(ios\nsystem\n.", "the opcode INST"),
        (b"\x80\x05\x97.", "the opcode NEXT_BUFFER"),
        (b"\xff\xd8\xff\xe0", "the byte 0xff"),
        (b"\x80\x06N.", "protocol: 6"),
    ):  # fmt: skip
        with pytest.raises(RefusedPickleError, match="byte ") as caught:
            PickleReader(data).load()
        assert name in str(caught.value)


def test_the_extension_registry():
    copyreg.add_extension(Registered.__module__, "Registered", 240)
    try:
        data = pickle.dumps(Registered, 2)
        assert b"\x82\xf0" in data
        with pytest.raises(RefusedPickleError, match="the opcode EXT1"):
            PickleReader(data).load()
    finally:
        copyreg.remove_extension(Registered.__module__, "Registered", 240)


def test_every_opcode_that_calls_is_unknown():
    known = {pickletools.code2op[chr(code)].name for code in PickleReader.dispatch}
    assert known.isdisjoint({
        "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID",
        "NEXT_BUFFER", "READONLY_BUFFER", "LONG4", "DICT", "SETITEM", "SETITEMS", "DUP",
    })  # fmt: skip


# --- bombs -------------------------------------------------------------------------------------


BOMBS = {
    "a length of 2^63": b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"x.",
    "a negative length": b"T\xff\xff\xff\xffx.",
    "a frame of 2^60": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"N.",
    "a text of 2^40": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".",
    "a byte array of 2^50": b"\x80\x05\x96" + struct.pack("<Q", 2**50) + b".",
    "digits without end": b"I" + b"9" * 10_000_000,
    "a name without end": b"c" + b"a" * 10_000_000,
    "a long without end": b"L" + b"9" * 10_000_000 + b"L\n.",
    "nested tuples": b"N" + b"\x85" * 200_000 + b".",
    "nested lists": b"]" * 5_000 + b"a" * 4_999 + b".",
    "doubling": b"]q\x00" + b"(h\x00h\x00e" * 2_000 + b".",
    "only marks": b"(" * 200_000,
    "marks and tuples": b"(" * 5_000 + b"t" * 4_999 + b".",
    "the memo": b"N" + b"\x94" * 200_000,
    "short lines": b"V\n" * 200_000,
    "nested tuples in a large file": b"N"
    + b"\x85" * 100_000
    + b"B"
    + struct.pack("<I", 2_000_000)
    + bytes(2_000_000)
    + b"\x86.",
    "a shape that overflows": pickle.dumps(np.zeros(3, np.uint8), 2).replace(
        b"K\x03\x85", b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_bombs_end_quickly_and_small(name):
    data = BOMBS[name]
    tracemalloc.start()
    started = time.process_time()
    try:
        PickleReader(data).load()
    except RefusedPickleError:
        pass
    else:
        assert name in (
            "nested lists",
            "doubling",
            "marks and tuples",
            "nested tuples in a large file",
        )
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.process_time() - started < 20
    assert peak < 40e6


def test_the_doubling_is_not_followed():
    value = PickleReader(b"]q\x00(h\x00h\x00e.").load()
    assert value[0] is value  # A list in itself: what reads it must not descend without end.


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cut_short_anywhere(protocol):
    stream = io.BytesIO()
    pickle.dump(([b"a" * 40, np.zeros(3, np.uint8)], [True, np.bool_(False)]), stream, protocol)
    data = stream.getvalue()
    for end in range(len(data)):
        with pytest.raises(RefusedPickleError):
            PickleReader(data[:end]).load()
