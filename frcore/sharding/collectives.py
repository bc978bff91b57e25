"""Collectives that autograd goes through.

The objective that is differentiated is the sum of what every rank calls its loss. Each backward
pass below is the adjoint of its forward pass for that sum, so that ordinary autograd on every rank
gives derivatives of the whole, whatever stands between the collectives.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import ProcessGroup


def summed(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum of `x` over the ranks; without gradient."""
    total = x.detach().contiguous().clone()
    dist.all_reduce(total, dist.ReduceOp.SUM, group)
    return total


def maximum(x: Tensor, group: ProcessGroup) -> Tensor:
    """The elementwise maximum of `x` over the ranks; without gradient."""
    largest = x.detach().contiguous().clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX, group)
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
    dist.all_gather(list(received), sent, group)
    return torch.cat([rows[:size] for rows, size in zip(received, sizes, strict=True)])


class GatherRows(torch.autograd.Function):
    """`gathered`; backward, a rank gets its rows' slopes, summed over the ranks, × `factor`."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, sizes: list[int], rank: int, factor: float, group: ProcessGroup
    ) -> Tensor:
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        ctx.factor, ctx.group = factor, group
        return gathered(x_ND, sizes, group)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_ND: Tensor) -> tuple[Tensor | None, ...]:
        return summed(slope_ND, ctx.group)[ctx.own] * ctx.factor, None, None, None, None


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
