"""Collectives that autograd goes through.

The objective that is differentiated is the sum of what every rank calls its loss. Each backward
pass below is the adjoint of its forward pass for that sum, so that ordinary autograd on every rank
gives derivatives of the whole, whatever stands between the collectives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup

# Newer versions of torch have renamed it, and warn of the old name.
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


@dataclass
class Stopwatch:
    """Time in collectives: transfer, reduction, and waiting for ranks that come later."""

    seconds: float = 0.0


_stopwatch: Stopwatch | None = None


@contextmanager
def timed() -> Iterator[Stopwatch]:
    """Within, the time of all collectives of this process is added up.

    A GPU is waited for before and after each, so that only the collective is counted; steps are
    slower with it. Backward passes run in threads of their own: it is for the whole process.
    """
    global _stopwatch
    _stopwatch = watch = Stopwatch()
    try:
        yield watch
    finally:
        _stopwatch = None


def _communicate(collective: Callable[..., object], x: Tensor, *arguments: Any) -> None:
    """Call a collective whose tensors are on the device of `x`."""
    watch = _stopwatch
    if watch is None:
        collective(*arguments)
        return
    _wait_for(x)
    start = time.perf_counter()
    collective(*arguments)
    _wait_for(x)
    watch.seconds += time.perf_counter() - start


def _wait_for(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)


def summed(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum of `x` over the ranks; without gradient."""
    total = x.detach().contiguous().clone()
    _communicate(dist.all_reduce, total, total, dist.ReduceOp.SUM, group)
    return total


def maximum(x: Tensor, group: ProcessGroup) -> Tensor:
    """The elementwise maximum of `x` over the ranks; without gradient."""
    largest = x.detach().contiguous().clone()
    _communicate(dist.all_reduce, largest, largest, dist.ReduceOp.MAX, group)
    return largest


def gathered(x_N: Tensor, sizes: list[int], group: ProcessGroup) -> Tensor:
    """The rows of all ranks, in their order; without gradient.

    Args:
        x_N: this rank's rows.
        sizes: number of rows of each rank.
        group: of the ranks.
    """
    # All ranks send as many rows as the largest batch has, because NCCL gathers equal sizes only.
    most = max(sizes)
    sent = x_N.detach().new_zeros((most, *x_N.shape[1:]))
    sent[: len(x_N)] = x_N.detach()
    received = sent.new_empty((len(sizes), *sent.shape))
    _communicate(dist.all_gather, sent, list(received), sent, group)
    return torch.cat([rows[:size] for rows, size in zip(received, sizes, strict=True)])


def in_equal_parts(x_N: Tensor, sizes: list[int]) -> Tensor:
    """The rows of all ranks, each rank's filled up with zeros to as many as the largest batch has.

    Args:
        x_N: the rows, in the ranks' order.
        sizes: number of rows of each rank.
    """
    most = max(sizes)
    if len(x_N) == most * len(sizes):
        return x_N.contiguous()
    parts = x_N.new_zeros((len(sizes), most, *x_N.shape[1:]))
    for part, rows in zip(parts, x_N.split(sizes), strict=True):
        part[: len(rows)] = rows
    return parts.flatten(0, 1)


def summed_rows(x_N: Tensor, sizes: list[int], rank: int, group: ProcessGroup) -> Tensor:
    """This rank's rows of the sum of `x_N` over the ranks; without gradient.

    With NCCL half of what `summed` sends. gloo of torch 2.6 sums everything and keeps a part.

    Args:
        x_N: the rows of all ranks, in their order, as this rank has them.
        sizes: number of rows of each rank.
        rank: this one.
        group: of the ranks.
    """
    sent = in_equal_parts(x_N.detach(), sizes)
    received = sent.new_empty((max(sizes), *sent.shape[1:]))
    _communicate(_reduce_scatter, sent, received, sent, dist.ReduceOp.SUM, group)
    return received[: sizes[rank]]


class GatherRows(torch.autograd.Function):
    """`gathered`; backward, a rank gets its rows' slopes, summed over the ranks, × `factor`."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, sizes: list[int], rank: int, factor: float, group: ProcessGroup
    ) -> Tensor:
        ctx.sizes, ctx.rank, ctx.factor, ctx.group = sizes, rank, factor, group
        return gathered(x_ND, sizes, group)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_ND: Tensor) -> tuple[Tensor | None, ...]:
        own_ND = summed_rows(slope_ND, ctx.sizes, ctx.rank, ctx.group)
        return own_ND * ctx.factor, None, None, None, None


class Sum(torch.autograd.Function):
    """`summed`, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return summed(x, group)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return summed(slope, ctx.group), None


class LogSumExp(torch.autograd.Function):
    """log Σ exp(x) over the ranks; −∞, without a slope, where it is −∞ on all of them."""

    @staticmethod
    def forward(ctx: Any, x_M: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        shift_M = maximum(x_M, group)
        shift_M = shift_M.masked_fill(shift_M == -torch.inf, 0.0)
        total_M = summed((x_M - shift_M).exp(), group)
        result_M = shift_M + total_M.log()
        ctx.save_for_backward(x_M, result_M)
        return result_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor, None]:
        x_M, result_M = ctx.saved_tensors
        share_M = (x_M - result_M).exp().where(result_M != -torch.inf, 0.0)
        # A slope of NaN stays one: a loss that has gone wrong must say so on every rank.
        return summed(slope_M, ctx.group).where(result_M != -torch.inf, 0.0) * share_M, None


class ScaleSlope(torch.autograd.Function):
    """See `scale_slope`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope * ctx.factor, None


class _OfThread(threading.local):
    own_part = False


_of_thread = _OfThread()


@contextmanager
def own_part() -> Iterator[None]:
    """Within, autograd computes what this rank contributes: no gradient of a parameter is summed.

    A parameter's hook runs for `torch.autograd.grad` too, which a backend may call tile by tile.
    """
    before, _of_thread.own_part = _of_thread.own_part, True
    try:
        yield
    finally:
        _of_thread.own_part = before


def sum_gradient(parameter: nn.Parameter, group: ProcessGroup) -> None:
    """Have every backward pass sum a parameter's gradient over the ranks."""
    parameter.register_hook(
        lambda gradient: gradient if _of_thread.own_part else summed(gradient, group)
    )


def scale_slope(x: Tensor, factor: float) -> Tensor:
    """`x` unchanged; its slope × `factor`."""
    return apply(ScaleSlope, x, factor)


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """`function.apply`, whose type torch does not say."""
    return cast(Tensor, function.apply(*arguments))
