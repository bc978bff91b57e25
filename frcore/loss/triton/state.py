# mypy: disable-error-code="no-untyped-def,assignment"
"""How kernels read and write centres and momentum in either format. Importing this needs triton.

`frcore.centers.storage` in a kernel, bit for bit: `join`, `split`, `round_with` and `random_bits`
are its functions of these names. Under SPLIT pointers are to int16: of a bfloat16 the bits.
"""

from __future__ import annotations

import triton
import triton.language as tl

from frcore.centers import storage

GOLDEN = tl.constexpr(storage.GOLDEN)
MIX_1, MIX_2 = tl.constexpr(storage.MIX_1), tl.constexpr(storage.MIX_2)
LANES = tl.constexpr(storage.LANES)
NAN = tl.constexpr(0x7FC00000)
"""The one NaN: others' bits overflow into a number when they are rounded up."""


@triton.jit
def join(high, low):
    """Float32 from its halves' bits, int16."""
    return ((high.to(tl.int32) << 16) + low.to(tl.int32)).to(tl.float32, bitcast=True)


@triton.jit
def _bits(x):
    return tl.where(x != x, NAN, x.to(tl.int32, bitcast=True))


@triton.jit
def split(x):
    """High and low half of float32, as int16; the high one rounded half up in its bits."""
    bits = _bits(x)
    return ((bits + 0x8000) >> 16).to(tl.int16), bits.to(tl.int16)


@triton.jit
def round_with(x, noise):
    """Float32 to the bits of a bfloat16: up where what is cut off exceeds 65535 − noise."""
    return ((_bits(x) + noise) >> 16).to(tl.int16)


@triton.jit
def random_bits(row, dim, key, D: tl.constexpr):
    """Uniform integers 0 to 65535, int32, of rows (T,) and columns (K,) of a table (_, D).

    A word serves four columns, and each of them computes it: what is next to each other in memory
    need not be in one thread.
    """
    word = row.to(tl.uint64)[:, None] * ((D + LANES - 1) // LANES) + (dim // LANES)[None, :]
    x = word * GOLDEN + key.to(tl.uint64)
    x = (x ^ (x >> 30)) * MIX_1
    x = (x ^ (x >> 27)) * MIX_2
    x = x ^ (x >> 31)
    lane = (dim % LANES * 16).to(tl.uint64)
    return ((x >> lane[None, :]) & 0xFFFF).to(tl.int32)


@triton.jit
def _at(table, start, dim):
    """Addresses of columns `dim` of rows that begin at `start`: 64-bit sums for rows alone, which
    takes 108 bytes of spills less than 64-bit offsets for all."""
    return (table + start)[:, None] + dim[None, :]


@triton.jit
def load_centers(high, low, start, dim, mask, SPLIT: tl.constexpr):
    """Centres in float32."""
    w = tl.load(_at(high, start, dim), mask=mask, other=0)
    if SPLIT:
        return join(w, tl.load(_at(low, start, dim), mask=mask, other=0))
    else:
        return w.to(tl.float32)


@triton.jit
def store_centers(high, low, start, dim, w, mask, SPLIT: tl.constexpr):
    """Put back float32 centres."""
    if SPLIT:
        upper, lower = split(w)
        tl.store(_at(high, start, dim), upper, mask=mask)
        tl.store(_at(low, start, dim), lower, mask=mask)
    else:
        tl.store(_at(high, start, dim), w, mask=mask)


@triton.jit
def load_momentum(velocity, start, dim, mask, SPLIT: tl.constexpr):
    """Momentum in float32."""
    v = tl.load(_at(velocity, start, dim), mask=mask, other=0)
    if SPLIT:
        v = (v.to(tl.int32) << 16).to(tl.float32, bitcast=True)
    return v


@triton.jit
def store_momentum(
    velocity, start, dim, v, mask, row, key, D: tl.constexpr, SPLIT: tl.constexpr
):  # fmt: skip
    """Put back float32 momentum; under SPLIT rounded at random."""
    if SPLIT:
        v = round_with(v, random_bits(row, dim, key, D))
    tl.store(_at(velocity, start, dim), v, mask=mask)
