"""How class centres and their momentum are stored: as float32, or in half the bytes or less.

Three kinds of table, all read and written in tiles of float32 rows (`read`, `write`). torch counts
writes to a tensor and refuses a backward pass that needs it as it was. A table writes uncounted,
because deferred updates do not disturb a graph, and whoever moves rows by a step counts that once.

- `PlainRows`: what is stored is what is read.
- `SplitRows`: a float32 as its high half, a bfloat16 that the loss reads alone, and its low half,
  an int16. Together they are the float32 bit for bit; the idea is Intel's split SGD
  (Kalamkar et al. 2020, arXiv 2005.04680).
- `RoundedRows`: bfloat16, rounded up or down at random such that the mean is exact.

The random bits of the rounding are a function of seed, time, row and column and of nothing else:
the same for any tile size, on any device, and after a resume.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from frcore.errors import UserError

Index = slice | Tensor
"""Rows of a table: a contiguous piece, or an int64 index without repetitions."""

CenterFormat = Literal["fp32", "split"]

Draw = Literal["host", "device"]
"""Where initial centres are drawn; see `initial_centers`."""

TILE = 4096
"""Rows in memory at a time when a whole table is traversed: 8 MiB at dimension 512."""

GOLDEN = 0x9E3779B97F4A7C15
MIX_1, MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Constants of splitmix64 (Steele, Lea, Flood 2014; reference code by Vigna)."""

LANES = 4
"""16-bit random numbers in one 64-bit word."""


class Rows(Protocol):
    """A table (C, D) that is read and written in tiles."""

    def __len__(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """Where the table is."""
        ...

    def read(self, index: Index) -> Tensor:
        """The rows of `index`, (T, D), to be changed in place and put back by `write`."""
        ...

    def write(self, index: Index, row_TD: Tensor) -> None:
        """Put back what `read(index)` gave."""
        ...


class PlainRows:
    """A tensor (C, D), stored unchanged. A slice is read as a view and needs no write."""

    def __init__(self, tensor_CD: Tensor) -> None:
        self.tensor_CD = tensor_CD

    def __len__(self) -> int:
        return len(self.tensor_CD)

    @property
    def device(self) -> torch.device:
        return self.tensor_CD.device

    def read(self, index: Index) -> Tensor:
        return self.tensor_CD.data[index]

    def write(self, index: Index, row_TD: Tensor) -> None:
        if isinstance(index, slice) and self.read(index).data_ptr() == row_TD.data_ptr():
            return
        self.tensor_CD.data[index] = row_TD


class SplitRows:
    """Float32 rows as high halves in bfloat16 and low halves in int16.

    Args:
        high_CD: what the loss reads: the centre rounded to bfloat16, ties away from zero.
        low_CD: the difference to the centre, in units of its last bit.

    Raises:
        UserError: a conversion of the module (`.double()`, `.half()`) changed the high halves.
    """

    def __init__(self, high_CD: Tensor, low_CD: Tensor) -> None:
        if high_CD.dtype != torch.bfloat16:
            raise UserError(
                f"class centres in format 'split' converted to {high_CD.dtype}; allowed is "
                "torch.bfloat16: do not convert the classifier, or build it with "
                "center_format='fp32'"
            )
        self.high_CD, self.low_CD = high_CD, low_CD

    def __len__(self) -> int:
        return len(self.high_CD)

    @property
    def device(self) -> torch.device:
        return self.high_CD.device

    def read(self, index: Index) -> Tensor:
        """A tensor of its own."""
        return join(self.high_CD.data[index], self.low_CD[index])

    def write(self, index: Index, row_TD: Tensor) -> None:
        """Any float32 rows."""
        self.high_CD.data[index], self.low_CD[index] = split(row_TD)


class RoundedRows:
    """Rows in bfloat16, written with stochastic rounding.

    Args:
        tensor_CD: bfloat16.
        seed: of the random bits.
        first: the number that the random bits know the first row by: its class.

    Attributes:
        time: part of the random bits' key; the writer advances it between writes to the same row.
    """

    def __init__(self, tensor_CD: Tensor, seed: int, time: int = 0, first: int = 0) -> None:
        self.tensor_CD, self.seed, self.time, self.first = tensor_CD, seed, time, first

    def __len__(self) -> int:
        return len(self.tensor_CD)

    @property
    def device(self) -> torch.device:
        return self.tensor_CD.device

    def read(self, index: Index) -> Tensor:
        """A tensor of its own."""
        return self.tensor_CD[index].float()

    def write(self, index: Index, row_TD: Tensor) -> None:
        """Any float32 rows."""
        noise_TD = random_bits(
            row_numbers(index, len(self), self.device) + self.first,
            row_TD.shape[1],
            seed=self.seed,
            time=self.time,
        )
        self.tensor_CD[index] = round_with(row_TD, noise_TD)


def tiles(rows: int, tile: int | None = None) -> list[slice]:
    """Slices of `tile` rows (None: `TILE`) that cover a table of `rows`."""
    tile = TILE if tile is None else tile
    return [slice(start, min(start + tile, rows)) for start in range(0, rows, tile)]


def row_numbers(index: Index, rows: int, device: torch.device) -> Tensor:
    """The rows that `index` selects out of `rows`, int64."""
    if isinstance(index, Tensor):
        return index.long()
    return torch.arange(*index.indices(rows), device=device)


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """High and low half of float32 numbers: bfloat16 and int16, exact for all but NaN's bits.

    The high half is rounded half up in its bits. Rounding half to even, as bfloat16 usually is,
    would need a low half of +32768 on some ties, one more than an int16 holds.
    """
    bits = _one_nan(x).view(torch.int32)
    high = (bits + 0x8000).bitwise_right_shift_(16).to(torch.int16)
    # The remainder is below 2^16 in size, so its low 16 bits are all of it.
    return high.view(torch.bfloat16), bits.to(torch.int16)


def join(high: Tensor, low: Tensor) -> Tensor:
    """The float32 numbers whose halves `split` gave."""
    bits = high.contiguous().view(torch.int16).int().bitwise_left_shift_(16)
    return bits.add_(low).view(torch.float32)


def round_with(x: Tensor, noise: Tensor) -> Tensor:
    """Float32 to bfloat16: up in magnitude where the bits that are cut off exceed 65535 − noise.

    With noise uniform in 0 to 65535 the expected result is `x`; numbers that bfloat16 has stay.

    Args:
        x: any float32; infinities and NaN stay unchanged.
        noise: int32, 0 to 65535, of the same shape.
    """
    bits = _one_nan(x).view(torch.int32)
    return bits.add_(noise).bitwise_and_(-0x10000).view(torch.float32).to(torch.bfloat16)


def random_bits(row_T: Tensor, dim: int, *, seed: int, time: int) -> Tensor:
    """Uniform integers 0 to 65535, (T, dim) int32, each a function of its row and column.

    One word of a splitmix64 gives four columns; its number is row × words per row + word.

    Args:
        row_T: row numbers, int64.
        dim: columns.
        seed: of a stream; streams of different seeds or times are unrelated.
        time: number of the draw.
    """
    words = -(-dim // LANES)
    counter_TW = row_T[:, None] * words + torch.arange(words, device=row_T.device)
    x = counter_TW.mul_(_signed(GOLDEN)).add_(stream_key(seed, time))
    x.bitwise_xor_(_shift(x, 30)).mul_(_signed(MIX_1))
    x.bitwise_xor_(_shift(x, 27)).mul_(_signed(MIX_2))
    x.bitwise_xor_(_shift(x, 31))
    return x.view(torch.int16)[:, :dim].int().bitwise_and_(0xFFFF)


def stream_key(seed: int, time: int, skipped: int = 0) -> int:
    """What a word's number × `GOLDEN` is added to in the stream of a seed and a time, as an int64.

    Args:
        seed: of the stream.
        time: of the draw.
        skipped: words before the one with number 0.
    """
    return _signed((_mix(_mix(seed) + time) + (1 + skipped) * GOLDEN) % 2**64)


def _one_nan(x: Tensor) -> Tensor:
    """A copy in which every NaN is 0x7FC00000.

    Others' bits, such as a GPU's 0x7FFFFFFF, overflow into a number when they are rounded up.
    """
    inf = torch.inf
    return torch.nan_to_num(x.contiguous(), nan=torch.nan, posinf=inf, neginf=-inf)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Shift to the right that fills up with 0: torch has no unsigned integers to compute with."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(x: int) -> int:
    """The first output of a splitmix64 whose state is `x`."""
    x = (x + GOLDEN) % 2**64
    x = (x ^ (x >> 30)) * MIX_1 % 2**64
    x = (x ^ (x >> 27)) * MIX_2 % 2**64
    return x ^ (x >> 31)


def _signed(x: int) -> int:
    """The int64 with the bits of a 64-bit number."""
    return x - 2**64 if x >= 2**63 else x


def initial_centers(
    num_classes: int,
    dim: int,
    *,
    seed: int,
    std: float,
    center_format: CenterFormat,
    rows: slice | None = None,
    device: torch.device | str | None = None,
    draw: Draw = "host",
) -> tuple[Tensor, Tensor | None]:
    """Normal centres (C, D) and, under "split", their low halves; the same in either format.

    They are drawn in tiles, so that no other table than the one that is kept exists even at the
    start, and on a GPU none in the host's memory.

    Args:
        num_classes: C.
        dim: D.
        seed: of the draws.
        std: standard deviation.
        center_format: of what is returned.
        rows: the classes that are kept, all by default; each has the same numbers in any.
        device: of what is returned; None is torch's default device.
        draw: where numbers come from. "host": the processor's stream, the same on every device.
            "device": that device's own stream, which is faster and other numbers on a GPU.
    """
    if center_format not in ("fp32", "split"):
        raise UserError(
            f"center_format = {center_format!r}; allowed are 'fp32' and 'split': fp32 holds the "
            "centres as they are, split as bfloat16 + int16"
        )
    kept = slice(0, num_classes) if rows is None else rows
    is_split = center_format == "split"
    count = kept.stop - kept.start
    dtype = torch.bfloat16 if is_split else torch.float32
    center_CD = torch.empty(count, dim, dtype=dtype, device=device)
    low_CD = torch.empty(count, dim, dtype=torch.int16, device=device) if is_split else None
    if center_CD.is_meta:
        return center_CD, low_CD  # whoever gives them memory says what is in it
    source = center_CD.device if draw == "device" else torch.device("cpu")
    generator = torch.Generator(source).manual_seed(seed)
    table = PlainRows(center_CD) if low_CD is None else SplitRows(center_CD, low_CD)
    for start in range(0, max(num_classes - TILE, 0) + 1, TILE):
        # torch draws in blocks of 16 numbers and the last block overlaps the one before. So a tile
        # is a multiple of 16, and the last one takes in the rest.
        last = start + 2 * TILE > num_classes
        stop = num_classes if last else start + TILE
        drawn_TD = torch.randn(stop - start, dim, generator=generator, device=source).mul_(std)
        first, end = max(start, kept.start), min(stop, kept.stop)
        if first < end:
            index = slice(first - kept.start, end - kept.start)
            table.write(index, drawn_TD[first - start : end - start].to(center_CD.device))
    return center_CD, low_CD


def bytes_of(*tensors: Tensor | None) -> int:
    """Bytes of some tensors."""
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def copy_in_tiles(target: Tensor, source: Tensor) -> None:
    """`target.copy_(source)` tile by tile, between any dtypes and devices."""
    if target.dim() == 0:
        target.copy_(source)
        return
    for index in tiles(len(target)):
        target[index].copy_(source[index])
