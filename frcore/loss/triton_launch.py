"""How the kernels are launched: tiles, splits, buffers, and the sums over splits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor

from frcore.heads.base import NegativeRule
from frcore.loss import triton_kernels as kernels
from frcore.loss.base import EntryFilter
from frcore.loss.triton_tiles import (
    NORM_TILE,
    Precision,
    Tiles,
    center_tiles,
    reduce_tiles,
    score_tiles,
)

OPERANDS: dict[Precision, torch.dtype] = {
    "bf16": torch.bfloat16,
    "tf32": torch.float32,
    "fp32": torch.float32,
}
"""Types of what is multiplied; sums are fp32 in all."""

SHIFTED = 130.0
"""Width of the interval of z whose exponentials all are normal fp32 numbers around one shift."""


@dataclass(frozen=True)
class Problem:
    """What both passes read.

    Attributes:
        unit_MD: directions of batch and queue, in the operands' type.
        center_CD: all centres; cast to the operands' type when they are read.
        norm_A: ‖w‖ of each column.
        active: rows of `center_CD` that are the columns; None = all.
        column_M: each row's own column, int32.
        scale_M: s, fp32.
        threshold_M: of the head's rule, fp32, or None.
        coefficients: (q₂, q₁, q₀) of the rule, fp32, on the device.
        shift: whether exponents may be shifted by a constant.
        entry_filter: which entries are taken out.
        normalizes: whether entries are cosines, or x̂ · w.
        precision: of the operands.
    """

    unit_MD: Tensor
    center_CD: Tensor
    norm_A: Tensor
    active: Tensor | None
    column_M: Tensor
    scale_M: Tensor
    threshold_M: Tensor | None
    coefficients: Tensor
    shift: bool
    entry_filter: EntryFilter | None
    normalizes: bool
    precision: Precision

    @property
    def columns(self) -> int:
        """A."""
        return len(self.norm_A)

    @property
    def width(self) -> int:
        """D, padded to what the kernels load."""
        return padded(self.center_CD.shape[1])

    def inputs(self) -> tuple[Tensor, ...]:
        """The first arguments of both kernels; what a problem lacks is never read."""
        column_M, scale_M = self.column_M, self.scale_M
        index = column_M if self.active is None else self.active
        threshold_M = scale_M if self.threshold_M is None else self.threshold_M
        rows = (self.unit_MD, self.center_CD, self.norm_A, index, column_M, scale_M, threshold_M)
        return (*rows, self.coefficients)

    def switches(self) -> dict[str, Any]:
        """What kernels are compiled for."""
        mode = "keep" if self.entry_filter is None else self.entry_filter.mode
        return {
            "D": self.center_CD.shape[1],
            "WIDE": self.width,
            "GATHER": self.active is not None,
            "HARD": self.threshold_M is not None,
            "FILTER": {"keep": kernels.KEEP, "zero": kernels.ZERO, "drop": kernels.DROP}[
                mode
            ].value,
            "NORMALIZES": self.normalizes,
            "PRECISION": "tf32" if self.precision == "tf32" else "ieee",
        }

    @property
    def filter_threshold(self) -> float:
        """Of the filter; any number without one."""
        return 0.0 if self.entry_filter is None else float(self.entry_filter.threshold)


@dataclass(frozen=True)
class Reduced:
    """What pass 1 gives.

    Attributes:
        value_M: R.
        by_unit_ND: ∂R/∂x̂ of the rows that asked for it; None without.
        by_scale_M: ∂R/∂s; None unless asked for.
    """

    value_M: Tensor
    by_unit_ND: Tensor | None
    by_scale_M: Tensor | None


def padded(dim: int) -> int:
    """The power of two, at least 16, that a row of `dim` is loaded as."""
    return max(16, 1 << (dim - 1).bit_length())


def shift_is_safe(rule: NegativeRule, scale: float | None, *, normalizes: bool) -> bool:
    """Whether exp(z − max(0, s − 48)) can neither overflow in a sum nor vanish, for any cosines.

    exp and its sum over 10⁸ columns stay normal for z within (−82, 69) of the shift. Where the
    scale or the rule is known on the device only, nobody can say.
    """
    bounds = rule.bounds()
    if scale is None or bounds is None or not normalizes:
        return False
    shift = max(0.0, scale - 48.0)
    low, high = (scale * bound - shift for bound in bounds)
    return low > -82.0 and high < 69.0


@cache
def _processors(device: torch.device) -> int:
    """Programs that run at a time; a few without a GPU, so that tests see several."""
    if device.type != "cuda":
        return 3
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def column_norms(center_CD: Tensor, active: Tensor | None) -> Tensor:
    """‖w‖ of each column in fp32, (A,)."""
    columns = len(center_CD) if active is None else len(active)
    norm_A = torch.empty(columns, dtype=torch.float32, device=center_CD.device)
    dim = center_CD.shape[1]
    kernels.norm_kernel[(triton.cdiv(columns, NORM_TILE),)](
        center_CD,
        norm_A if active is None else active,
        norm_A,
        columns,
        D=dim,
        WIDE=padded(dim),
        TILE=NORM_TILE,
        GATHER=active is not None,
    )
    return norm_A


def reduce(problem: Problem, count: int, *, attend: bool, moment: bool) -> Reduced:
    """Pass 1: R of all rows, and ∂R/∂x̂ of the first `count`, which are the batch's.

    Rows of a queue have no gradient by x̂ and are reduced by themselves, without the second product.
    """
    total = len(problem.unit_MD)
    if not attend or count == total:
        return _reduce_rows(problem, 0, total, attend=attend, moment=moment)
    batch = _reduce_rows(problem, 0, count, attend=True, moment=moment)
    queue = _reduce_rows(problem, count, total, attend=False, moment=moment)
    by_scale_M = None
    if batch.by_scale_M is not None and queue.by_scale_M is not None:
        by_scale_M = torch.cat([batch.by_scale_M, queue.by_scale_M])
    return Reduced(torch.cat([batch.value_M, queue.value_M]), batch.by_unit_ND, by_scale_M)


def _reduce_rows(problem: Problem, first: int, last: int, *, attend: bool, moment: bool) -> Reduced:
    total, dim = problem.unit_MD.shape
    tiles = (reduce_tiles if attend else score_tiles)(problem.width, problem.precision)
    row_tiles = triton.cdiv(last - first, tiles.rows)
    column_tiles = triton.cdiv(problem.columns, tiles.columns)
    wanted = max(1, _processors(problem.unit_MD.device) // row_tiles)
    tiles_per_split = triton.cdiv(column_tiles, min(wanted, column_tiles))
    splits = triton.cdiv(column_tiles, tiles_per_split)
    top_SM = problem.scale_M.new_empty(splits, total)
    sum_SM = torch.empty_like(top_SM)
    moment_SM = torch.empty_like(top_SM) if moment else top_SM
    attended_SND = problem.scale_M.new_empty(splits, last, dim) if attend else top_SM
    kernels.reduce_kernel[(row_tiles, splits)](
        *problem.inputs(),
        top_SM,
        sum_SM,
        moment_SM,
        attended_SND,
        first,
        last,
        total,
        problem.columns,
        tiles_per_split * tiles.columns,
        problem.filter_threshold,
        **problem.switches(),
        TILE_M=tiles.rows,
        TILE_A=tiles.columns,
        SHIFT=problem.shift,
        ATTEND=attend,
        MOMENT=moment,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
    rows = slice(first, last)
    return _combine(
        top_SM[:, rows],
        sum_SM[:, rows],
        moment_SM[:, rows] if moment else None,
        attended_SND if attend else None,
        problem.scale_M[rows],
    )


def _combine(
    top_SM: Tensor,
    sum_SM: Tensor,
    moment_SM: Tensor | None,
    attended_SND: Tensor | None,
    scale_M: Tensor,
) -> Reduced:
    """The splits' sums as those of all columns; in the splits' order, so that it is repeatable."""
    top_M = top_SM.amax(0)
    factor_SM = torch.exp2(top_SM - top_M)
    sum_M = (sum_SM * factor_SM).sum(0)
    # A row without any column has R = −∞, and no slope.
    inverse_M = sum_M.reciprocal().where(sum_M > 0, 0.0)
    value_M = (top_M + sum_M.log2()) / kernels.LOG2E.value
    by_unit_ND = by_scale_M = None
    if attended_SND is not None:
        by_unit_ND = attended_SND.mul_(factor_SM[:, :, None]).sum(0)
        by_unit_ND.mul_((inverse_M * scale_M)[:, None])
    if moment_SM is not None:
        by_scale_M = (moment_SM * factor_SM).sum(0) * inverse_M
    return Reduced(value_M, by_unit_ND, by_scale_M)


@dataclass(frozen=True)
class Slopes:
    """What pass 2 needs of the rows, fp32, (M,) each.

    Attributes:
        reduced_M: R; any number where a row has no column.
        by_reduced_M: ∂loss/∂R; 0 where a row has no column.
        own_entry_M: each row's entry in its own column.
        by_own_M: ∂loss/∂ of it.
    """

    reduced_M: Tensor
    by_reduced_M: Tensor
    own_entry_M: Tensor
    by_own_M: Tensor


@dataclass(frozen=True)
class Move:
    """A step of SGD, v ← μ v + g + λ w, w ← w − lr v.

    Attributes:
        velocity_CD: v, moved in place; None without momentum.
        lr: learning rate.
        momentum: μ.
        weight_decay: λ.
    """

    velocity_CD: Tensor | None
    lr: float
    momentum: float
    weight_decay: float


def center_gradient(problem: Problem, slopes: Slopes) -> Tensor:
    """Pass 2: the gradient of the columns' centres, (A, D)."""
    gradient_AW = problem.scale_M.new_empty(problem.columns, problem.width)
    programs = triton.cdiv(problem.columns, _center_tiles(problem).columns)
    _launch_centers(problem, slopes, gradient_AW, programs, None)
    return gradient_AW[:, : problem.center_CD.shape[1]]


def move_centers(problem: Problem, slopes: Slopes, move: Move) -> None:
    """Pass 2 with the optimiser in it: centres and momentum of the columns, in place."""
    tiles = _center_tiles(problem)
    programs = min(_processors(problem.unit_MD.device), triton.cdiv(problem.columns, tiles.columns))
    scratch = problem.scale_M.new_empty(programs * tiles.columns, problem.width)
    _launch_centers(problem, slopes, scratch, programs, move)


def _center_tiles(problem: Problem) -> Tiles:
    return center_tiles(problem.width, problem.precision)


def _launch_centers(
    problem: Problem, slopes: Slopes, gradient: Tensor, programs: int, move: Move | None
) -> None:
    tiles = _center_tiles(problem)
    velocity_CD = None if move is None else move.velocity_CD
    kernels.center_kernel[(programs,)](
        *problem.inputs(),
        slopes.reduced_M,
        slopes.by_reduced_M,
        slopes.own_entry_M,
        slopes.by_own_M,
        gradient,
        problem.center_CD,
        problem.center_CD if velocity_CD is None else velocity_CD,
        len(problem.unit_MD),
        problem.columns,
        problem.filter_threshold,
        0.0 if move is None else float(move.lr),
        0.0 if move is None else float(move.momentum),
        0.0 if move is None else float(move.weight_decay),
        **problem.switches(),
        TILE_A=tiles.columns,
        TILE_M=tiles.rows,
        TILE_D=min(tiles.epilogue, problem.width),
        MOVE=move is not None,
        HAS_MOMENTUM=velocity_CD is not None,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )
