"""Sizes of the kernels' tiles: a static table, by what the compiler reports for each kind of GPU,
and the few others that are worth timing (`frcore.loss.triton.tuning`).

At D = 512 an accumulator of 64 rows fills half of the registers of 8 warps, as in FlashMLA. What
limits a tile besides registers is the shared memory that one program may have; GPUs come in three
classes of it. What registers, spills and shared memory the sizes take is in
tests/loss/triton_resources.csv; that they are the fastest is for a GPU to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from frcore.loss.inputs import Precision

Kernel = Literal["reduce", "score", "center"]
"""Pass 1 with the embeddings' gradient, or without it; pass 2."""

WIDEST = 512
"""Dimensions, padded, beyond which a row does not fit: the sums over D live in registers."""

NORM_TILE = 16

KIB = 1024
HOPPER, A100, CONSUMER = 227 * KIB, 163 * KIB, 99 * KIB
"""Bytes of shared memory that one program may have, by NVIDIA's CUDA C++ programming guide, table
of compute capabilities: 227 KiB on 9.0 (H100, H200) and 10.0 (B200); 163 KiB on 8.0 (A100) and 8.7;
99 KiB on 8.6, 8.9 and 12.0 (RTX 30, 40 and 50, A10, L4, L40S). A GPU with less cannot run the
kernels."""


@dataclass(frozen=True)
class Tiles:
    """One kernel's tile and how it runs.

    Attributes:
        rows: rows of batch and queue.
        columns: class centres.
        warps: warps of a program.
        stages: tiles in flight from memory.
        part: dimensions at a time, where a kernel goes through D in parts.
    """

    rows: int
    columns: int
    warps: int
    stages: int
    part: int = 128


Table = dict[Kernel, tuple[tuple[int, int, Tiles], ...]]
"""(Dimensions at most, bytes of shared memory at least, tiles), of which the first that fits is
taken."""

_BF16: Table = {
    "reduce": (
        (128, CONSUMER, Tiles(64, 64, 8, 3)),
        (256, HOPPER, Tiles(64, 64, 8, 3)),
        (256, A100, Tiles(64, 64, 8, 2)),
        (256, CONSUMER, Tiles(64, 32, 8, 2)),
        (512, HOPPER, Tiles(64, 32, 8, 3)),
        (512, A100, Tiles(64, 32, 8, 2)),
        (512, CONSUMER, Tiles(32, 16, 4, 2)),
    ),
    "score": (
        (128, CONSUMER, Tiles(64, 64, 8, 2)),
        (256, A100, Tiles(64, 64, 8, 2)),
        (256, CONSUMER, Tiles(64, 32, 8, 2)),
        (512, HOPPER, Tiles(64, 32, 8, 3)),
        (512, A100, Tiles(64, 32, 8, 2)),
        (512, CONSUMER, Tiles(32, 32, 4, 2)),
    ),
    "center": (
        (128, CONSUMER, Tiles(64, 64, 8, 3)),
        (256, A100, Tiles(64, 64, 8, 3)),
        (256, CONSUMER, Tiles(32, 64, 8, 2)),
        (512, HOPPER, Tiles(32, 64, 8, 2, part=64)),
        (512, A100, Tiles(32, 64, 8, 3)),
        (512, CONSUMER, Tiles(32, 32, 4, 2)),
    ),
}

_TF32: Table = {
    "reduce": (
        (128, CONSUMER, Tiles(32, 32, 4, 2)),
        (512, HOPPER, Tiles(64, 16, 8, 2)),
        (512, A100, Tiles(32, 16, 4, 2)),
        (512, CONSUMER, Tiles(16, 16, 4, 2)),
    ),
    "score": (
        (128, CONSUMER, Tiles(32, 32, 4, 2)),
        (512, HOPPER, Tiles(64, 16, 8, 2)),
        (512, CONSUMER, Tiles(32, 16, 4, 2)),
    ),
    "center": (
        (128, CONSUMER, Tiles(32, 32, 4, 2)),
        (512, HOPPER, Tiles(16, 64, 8, 2, part=64)),
        (512, A100, Tiles(16, 32, 4, 2)),
        (512, CONSUMER, Tiles(16, 16, 4, 2)),
    ),
}

"""Hopper's own matrix instruction, wgmma, takes 64 rows of its first operand (in pass 2 columns);
with fewer the compiler falls back to Ampere's mma.sync."""

_FP32: Table = {
    "reduce": ((512, CONSUMER, Tiles(16, 16, 8, 2)),),
    "score": ((128, CONSUMER, Tiles(32, 32, 4, 2)), (512, CONSUMER, Tiles(32, 16, 4, 2))),
    "center": ((128, CONSUMER, Tiles(32, 32, 4, 2)), (512, CONSUMER, Tiles(16, 32, 4, 2))),
}
"""These products run on no tensor core and have whole rows of their operands in registers: with
TF32's tiles pass 1 spilled 23 kB per thread at D = 512, with these nothing."""

_TABLES: dict[Precision, Table] = {"bf16": _BF16, "tf32": _TF32, "fp32": _FP32}


_OTHERS: dict[tuple[Kernel, bool, bool], tuple[Tiles, ...]] = {
    ("reduce", True, True): (Tiles(64, 32, 8, 2), Tiles(32, 64, 8, 2), Tiles(32, 32, 4, 2)),
    ("score", True, True): (Tiles(64, 32, 8, 2), Tiles(128, 32, 8, 2), Tiles(32, 64, 4, 2)),
    ("center", True, True): (
        Tiles(32, 64, 8, 3, part=64),
        Tiles(32, 32, 4, 3),
        Tiles(64, 32, 4, 2),
    ),
    ("reduce", True, False): (Tiles(128, 64, 8, 3), Tiles(64, 128, 8, 2), Tiles(64, 64, 4, 3)),
    ("score", True, False): (Tiles(128, 128, 8, 2), Tiles(64, 128, 4, 3), Tiles(128, 64, 4, 3)),
    ("center", True, False): (Tiles(64, 128, 8, 2), Tiles(64, 64, 8, 2), Tiles(32, 64, 4, 3)),
    ("reduce", False, True): (Tiles(32, 16, 8, 2), Tiles(32, 16, 4, 1)),
    ("score", False, True): (Tiles(32, 32, 4, 2), Tiles(64, 16, 4, 2)),
    ("center", False, True): (Tiles(32, 32, 8, 2), Tiles(16, 32, 8, 2)),
    ("reduce", False, False): (Tiles(64, 32, 8, 2), Tiles(32, 64, 8, 2)),
    ("score", False, False): (Tiles(64, 32, 8, 2), Tiles(64, 64, 8, 2)),
    ("center", False, False): (Tiles(32, 32, 8, 2), Tiles(32, 64, 8, 2)),
}
"""Besides the static ones, by (kernel, whether bf16, whether wide).

Few, as each takes seconds to compile. For sm_90a all assemble at D = 512 and 128 in bf16 and 512 in
tf32, within 227 KiB of shared memory and with no more spills than the static ones may have
(tests/loss/test_triton_resources.py); those with fewer stages or columns are for GPUs with less.
"""


def static_tiles(kernel: Kernel, width: int, precision: Precision, shared: int = HOPPER) -> Tiles:
    """The tiles of a kernel: a function of its arguments alone, so that a run repeats itself.

    Args:
        kernel: which.
        width: D, padded; at most `WIDEST`.
        precision: of the operands.
        shared: bytes of shared memory that a program may have, at least `CONSUMER`.
    """
    rows = _TABLES[precision][kernel]
    return next(tiles for most, least, tiles in rows if width <= most and shared >= least)


@cache
def candidates(
    kernel: Kernel, width: int, precision: Precision, shared: int = HOPPER
) -> tuple[Tiles, ...]:
    """Tiles worth trying, the static ones first.

    Args:
        kernel: pass 1 with ("reduce") or without ("score") its second product; pass 2 ("center").
        width: D, padded.
        precision: of the operands.
        shared: bytes of shared memory that a program may have; others are tried on any GPU.
    """
    static = static_tiles(kernel, width, precision, shared)
    wide = width > (256 if precision == "bf16" else 128)
    others = _OTHERS[kernel, precision == "bf16", wide]
    return (static, *(tiles for tiles in others if tiles != static))


MOST_SPLITS = 32
"""Tried where one wave of programs would have fewer."""

SPLIT_COST = 4
"""What a program of pass 1 costs besides its columns, in tiles of them: it reads its rows and
writes its sums, which are read again to be combined."""

SPLIT_BYTES = 32 * 1024 * KIB
"""That all splits' sums of D dimensions may take, or four splits, if that is more."""


@cache
def splits_of(row_tiles: int, column_tiles: int, processors: int, bytes_each: int) -> int:
    """Into how many parts pass 1 cuts the columns, so that few processors wait for the last ones.

    A program takes one tile of rows and one part of the columns, and one program runs on a
    processor at a time: the time is that of the waves of programs, times the columns of one.

    Args:
        row_tiles: tiles of rows.
        column_tiles: tiles of columns.
        processors: of the device.
        bytes_each: of the sums of one part.

    >>> splits_of(16, 31250, 132, 1024 * 512 * 4)  # 128 of an H200's 132 processors
    8
    """
    most = min(column_tiles, max(MOST_SPLITS, processors // row_tiles))
    if bytes_each:
        most = min(most, max(4, SPLIT_BYTES // bytes_each))

    def cost(splits: int) -> int:
        waves = -(-row_tiles * splits // processors)
        return waves * (-(-column_tiles // splits) + SPLIT_COST)

    # The fewest among equals.
    return min(range(1, most + 1), key=cost)


@cache
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that one program may have on a GPU; as on Hopper without one."""
    if device.type != "cuda":
        return HOPPER
    from triton.runtime import driver

    index = torch.cuda.current_device() if device.index is None else device.index
    return int(driver.active.utils.get_device_properties(index)["max_shared_mem"])


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on a CPU."""
    from triton import knobs

    return bool(knobs.runtime.interpret)
