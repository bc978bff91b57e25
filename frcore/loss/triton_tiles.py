"""Sizes of the kernels' tiles, chosen by what the compiler reports for Hopper (sm_90a).

At D = 512 an accumulator of 64 rows fills half of the registers of 8 warps, as in FlashMLA. What
registers, spills and shared memory these sizes take is in tests/loss/triton_resources.csv; that
they are the fastest is for a GPU to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["bf16", "tf32", "fp32"]

WIDEST = 512
"""Dimensions, padded, beyond which a row does not fit: the sums over D live in registers."""

NORM_TILE = 16


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


def reduce_tiles(width: int, precision: Precision) -> Tiles:
    """Of pass 1 with the embeddings' gradient."""
    if precision != "bf16":
        return Tiles(32, 16, 4, 2) if width > 128 else Tiles(32, 32, 4, 2)
    return Tiles(64, 32, 8, 3) if width > 256 else Tiles(64, 64, 8, 3)


def score_tiles(width: int, precision: Precision) -> Tiles:
    """Of pass 1 without it."""
    if precision != "bf16":
        return Tiles(32, 16, 4, 2) if width > 128 else Tiles(32, 32, 4, 2)
    return Tiles(64, 32, 8, 3) if width > 256 else Tiles(64, 64, 8, 2)


def center_tiles(width: int, precision: Precision) -> Tiles:
    """Of pass 2."""
    if precision != "bf16":
        return Tiles(16, 32, 4, 2) if width > 128 else Tiles(32, 32, 4, 2)
    return Tiles(32, 64, 8, 3) if width > 256 else Tiles(64, 64, 8, 3)
