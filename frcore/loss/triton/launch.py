"""How the kernels are launched: tiles, splits, buffers, and the sums over splits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
import triton
from torch import Tensor

from frcore.centers.sgd import Rates
from frcore.loss.triton import kernels
from frcore.loss.triton.problem import Move, Problem, Reduced, Slopes, padded
from frcore.loss.triton.tiles import (
    NORM_TILE,
    Kernel,
    Tiles,
    candidates,
    shared_memory,
    splits_of,
)
from frcore.loss.triton.tuning import Run, may_time, tuner_for

REHEARSED_COLUMNS = {"reduce": 2**18, "score": 2**18, "center": 2**15}
"""Most columns that tiles are timed on: a few waves of programs. Pass 2's are copied for it."""


P = ParamSpec("P")
R = TypeVar("R")


def _on_its_device(launch: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """`launch` with the device of its tensors as the current one, which Triton launches on.

    The first argument is a tensor of centres or a `Problem`. On a CPU nothing changes.
    """

    @wraps(launch)
    def wrapped(problem: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        center_CD = problem if isinstance(problem, Tensor) else problem.center_CD
        with torch.cuda.device_of(center_CD):
            return launch(problem, *args, **kwargs)

    return wrapped


@cache
def _processors(device: torch.device) -> int:
    """Programs that run at a time; a few without a GPU, so that tests cover several."""
    if device.type != "cuda":
        return 3
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@_on_its_device
def column_norms(center_CD: Tensor, active: Tensor | None) -> Tensor:
    """‖w‖ of each column in fp32, (A,)."""
    columns = len(center_CD) if active is None else len(active)
    norm_A = torch.empty(columns, dtype=torch.float32, device=center_CD.device)
    if not columns:  # a shard without classes: a grid of no programs is an error
        return norm_A
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


@_on_its_device
def reduce(problem: Problem, count: int, *, attend: bool, moment: bool) -> Reduced:
    """Pass 1: R of all rows, and ∂R/∂x̂ of the first `count`, which are the batch's.

    Rows of a queue have no gradient by x̂ and are reduced separately, without the second product.
    """
    total = len(problem.unit_MD)
    if not problem.columns:
        nothing_M = problem.scale_M.new_zeros(total)
        by_unit_ND = nothing_M.new_zeros(count, problem.unit_MD.shape[1]) if attend else None
        return Reduced(nothing_M - torch.inf, by_unit_ND, nothing_M if moment else None)
    if not attend or count == total:
        return _reduce_rows(problem, 0, total, attend=attend, moment=moment)
    batch = _reduce_rows(problem, 0, count, attend=True, moment=moment)
    queue = _reduce_rows(problem, count, total, attend=False, moment=moment)
    by_scale_M = None
    if batch.by_scale_M is not None and queue.by_scale_M is not None:
        by_scale_M = torch.cat([batch.by_scale_M, queue.by_scale_M])
    return Reduced(torch.cat([batch.value_M, queue.value_M]), batch.by_unit_ND, by_scale_M)


def _reduce_rows(problem: Problem, first: int, last: int, *, attend: bool, moment: bool) -> Reduced:
    kernel: Kernel = "reduce" if attend else "score"
    launch = partial(_launch_reduce, first=first, last=last, attend=attend, moment=moment)
    tiles = _choose(
        kernel,
        problem,
        last - first,
        f"shift={problem.shift} moment={moment}",
        lambda: partial(launch, _fewer_columns(problem, REHEARSED_COLUMNS[kernel])),
    )
    return launch(problem, tiles)


def _choose(
    kernel: Kernel, problem: Problem, rows: int, kind: str, rehearsal: Callable[[], Run]
) -> Tiles:
    """The static tiles, or those that were timed for launches of this kind."""
    device = problem.center_CD.device
    options = candidates(kernel, problem.width, problem.precision, shared_memory(device))
    tuner = tuner_for(device)
    if tuner is None:
        return options[0]
    key = f"{kernel} {problem.kind()} {kind} rows={_rounded(rows)}"
    key += f" columns={_rounded(problem.columns)}"
    return tuner.tuned(key, options, rehearsal, may_time=may_time(device))


def _rounded(count: int) -> int:
    """The next power of two."""
    return 1 << max(0, count - 1).bit_length()


def _fewer_columns(problem: Problem, most: int) -> Problem:
    """The first columns of a problem; nothing is copied."""
    active = None if problem.active is None else problem.active[:most]
    return replace(problem, norm_A=problem.norm_A[:most], active=active)


def _launch_reduce(
    problem: Problem, tiles: Tiles, *, first: int, last: int, attend: bool, moment: bool
) -> Reduced:
    total, dim = problem.unit_MD.shape
    row_tiles = triton.cdiv(last - first, tiles.rows)
    column_tiles = triton.cdiv(problem.columns, tiles.columns)
    processors = _processors(problem.unit_MD.device)
    wanted = splits_of(row_tiles, column_tiles, processors, 4 * last * dim if attend else 0)
    tiles_per_split = triton.cdiv(column_tiles, wanted)
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


def center_gradient(problem: Problem, slopes: Slopes) -> Tensor:
    """Pass 2: the gradient of the centres, (C, D); 0 where they are no columns."""
    empty = torch.empty_like if problem.active is None else torch.zeros_like
    gradient_CD = empty(problem.center_CD, dtype=torch.float32)
    _pass_over_centers(problem, slopes, gradient_CD)
    return gradient_CD


def move_centers(problem: Problem, slopes: Slopes, move: Move) -> None:
    """Pass 2 with the optimiser in it: centres and momentum of the columns, in place."""
    _pass_over_centers(problem, slopes, move)


@_on_its_device
def _pass_over_centers(problem: Problem, slopes: Slopes, into: Tensor | Move) -> None:
    if not problem.columns:
        return
    move = into if isinstance(into, Move) else None
    momentum = move is not None and move.velocity_CD is not None
    split = move is not None and move.low_CD is not None
    tiles = _choose(
        "center",
        problem,
        len(problem.unit_MD),
        f"move={move is not None} momentum={momentum} split={split}",
        lambda: _rehearse_centers(problem, slopes, into),
    )
    _launch_centers(problem, slopes, into, tiles)


def _rehearse_centers(problem: Problem, slopes: Slopes, into: Tensor | Move) -> Run:
    """Pass 2 on copies of some columns' centres: its step is in place, and may be taken once only.

    The kernel is the very one, with its step: without it, registers and traffic are others.
    """
    fewer = _fewer_columns(problem, REHEARSED_COLUMNS["center"])
    if fewer.active is None:
        center_CD, active = problem.center_CD[: fewer.columns].clone(), None
    else:
        center_CD = problem.center_CD[fewer.active]
        active = torch.arange(fewer.columns, dtype=fewer.active.dtype, device=fewer.active.device)
    scratch = replace(fewer, center_CD=center_CD, active=active)

    def zeros(table_CD: Tensor | None) -> Tensor | None:
        return None if table_CD is None else table_CD.new_zeros(center_CD.shape)

    if isinstance(into, Tensor):
        into = torch.empty_like(center_CD, dtype=torch.float32)
    else:
        into = replace(
            into,
            center_CD=center_CD,
            low_CD=zeros(into.low_CD),
            velocity_CD=zeros(into.velocity_CD),
            rates=Rates(0.0, 0.0, 0.0),
        )
    return partial(_launch_centers, scratch, slopes, into)


def _launch_centers(problem: Problem, slopes: Slopes, into: Tensor | Move, tiles: Tiles) -> None:
    move = into if isinstance(into, Move) else None
    # Missing arguments are never written: any tensor can take their place.
    target_CD = problem.center_CD if move is None else _bits(move.center_CD)
    low_CD = None if move is None else move.low_CD
    velocity_CD = None if move is None else move.velocity_CD
    part = min(tiles.part, problem.width)
    switches = problem.switches()
    del switches["WIDE"]
    kernels.center_kernel[(triton.cdiv(problem.columns, tiles.columns),)](
        *problem.inputs(),
        slopes.reduced_M,
        slopes.weight_M,
        slopes.own_M,
        target_CD,
        target_CD if low_CD is None else low_CD,
        target_CD if velocity_CD is None else _bits(velocity_CD),
        target_CD if isinstance(into, Move) else into,
        len(problem.unit_MD),
        problem.columns,
        problem.filter_threshold,
        *map(float, (0.0, 0.0, 0.0) if move is None else move.rates),
        0 if move is None else move.key,
        **switches,
        TILE_D=part,
        PARTS=triton.cdiv(problem.center_CD.shape[1], part),
        TILE_A=tiles.columns,
        TILE_M=tiles.rows,
        MOVE=move is not None,
        HAS_MOMENTUM=velocity_CD is not None,
        SPLIT=low_CD is not None,
        num_warps=tiles.warps,
        num_stages=tiles.stages,
    )


def _bits(tensor_CD: Tensor) -> Tensor:
    """A bfloat16 table as int16, its bits; any other as it is."""
    return tensor_CD.view(torch.int16) if tensor_CD.dtype == torch.bfloat16 else tensor_CD
