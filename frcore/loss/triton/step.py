"""One training step in fused kernels: autograd around the two passes. Importing this needs triton.

What acts on one number per row is ordinary autograd, as in every backend; only the reduction over
the columns and the centres' gradient are kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from frcore.centers.storage import Rows
from frcore.heads.base import Head, HeadBatch, NegativeRule
from frcore.loss.base import LossOutput
from frcore.loss.deferred import CenterGradient, Weights
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision, unit_rows
from frcore.loss.rows import expand_scale, finish, join, update_head
from frcore.loss.streamed import TILE, OwnCosine, Work
from frcore.loss.tiles import Columns, RowValues, Rule
from frcore.loss.triton.launch import center_gradient, column_norms, move_centers, reduce
from frcore.loss.triton.problem import OPERANDS, Move, Problem, Slopes, shift_is_safe


def fused_loss(
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    active: Tensor | None,
    extra_rows: ExtraRows | None,
    entry_filter: EntryFilter | None,
    deferred: list[CenterGradient] | None,
    precision: Precision,
) -> LossOutput:
    """`frcore.loss.triton.triton_loss` for a head, centres and a device that suit the kernels."""
    count = len(embedding_ND)
    embedding_MD, label_M = join(embedding_ND, label_N, extra_rows)
    norm_M, unit_MD = embedding_MD.norm(dim=1), unit_rows(embedding_MD)
    columns = Columns(center_CD.detach(), active, TILE, head.normalizes_centers)
    work = TritonWork(columns, columns.of(label_M), label_M, count, deferred)
    work.prepare(unit_MD.detach(), entry_filter, precision)

    cosine_M = OwnCosine.apply(unit_MD, center_CD, work)
    batch = HeadBatch(cosine_M, norm_M, label_M, len(center_CD))
    if head.training:
        update_head(head, batch, count, work.statistic)
    scale = head.scale(batch)
    scale_M = expand_scale(scale, cosine_M)
    target_M = head.target(cosine_M, batch)
    rows = RowValues.of(target_M, scale_M, batch)
    work.rule = Rule(head, rows, unit_MD, work.column_M, entry_filter)
    work.set_rule(head.negative_rule(batch), scale_M, scale)
    reduced_M = _Reduction.apply(unit_MD, scale_M, cosine_M, work)
    return finish(head, batch, count, scale_M, target_M, reduced_M)


class TritonWork(Work):
    """What the passes of one loss share."""

    problem: Problem
    wants_scale: bool
    """Whether ∂R/∂s is asked for."""

    def prepare(
        self, unit_MD: Tensor, entry_filter: EntryFilter | None, precision: Precision
    ) -> None:
        """Operands and norms; the rule is not known yet, and is the plain cosine."""
        columns = self.columns
        self.problem = Problem(
            unit_MD=unit_MD.to(OPERANDS[precision]).contiguous(),
            center_CD=columns.center_CD,
            norm_A=column_norms(columns.center_CD, columns.active),
            active=columns.active,
            column_M=self.column_M.int(),
            scale_M=unit_MD.new_ones(len(unit_MD)),
            threshold_M=None,
            coefficients=unit_MD.new_ones(3),
            shift=False,
            entry_filter=entry_filter,
            normalizes=columns.normalizes,
            precision=precision,
        )

    def set_rule(self, rule: NegativeRule, scale_M: Tensor, scale: Tensor | float) -> None:
        """The head's rule; `scale` is what the head gave for `scale_M`."""
        threshold_M, like = rule.threshold_N, self.problem.scale_M
        known = None if isinstance(scale, Tensor) else float(scale)
        self.wants_scale = scale_M.requires_grad
        self.problem = replace(
            self.problem,
            scale_M=scale_M.detach().to(like).contiguous(),
            threshold_M=None if threshold_M is None else threshold_M.detach().to(like).contiguous(),
            # Filled in on the device: a tensor made on the host would be waited for.
            coefficients=torch.stack(
                [
                    q.detach().to(like) if isinstance(q, Tensor) else like.new_full((), q)
                    for q in rule.coefficients
                ]
            ),
            shift=shift_is_safe(rule, known, normalizes=self.columns.normalizes),
        )

    def statistic(self, scale: Tensor | float) -> Tensor:
        """log Σ_{k≠y} exp(s cos θ_k) of the batch's rows, (N,), in float64."""
        count, problem = self.count, self.problem
        batch = replace(
            problem,
            unit_MD=problem.unit_MD[:count],
            column_M=problem.column_M[:count],
            scale_M=expand_scale(scale, problem.scale_M[:count]).contiguous(),
        )
        return reduce(batch, count, attend=False, moment=False).value_M.double()

    def gradient(self, cosine_M: Tensor, slope_M: Tensor) -> CenterGradient:
        """∂loss/∂centres, for a kernel that moves them or for `CentersSGD`'s tiles."""
        weights = self.weights
        if weights is None:  # the loss does not depend on the other columns
            nothing_M = torch.zeros_like(slope_M)
            weights = Weights(nothing_M, nothing_M)
        slopes = Slopes(
            weights.reduced_M.masked_fill(weights.reduced_M == -torch.inf, 0.0),
            weights.slope_M * self.problem.scale_M,
            slope_M.contiguous(),
        )
        return TritonCenterGradient(
            self.columns, self.rule, cosine_M, slope_M, self.weights, self.problem, slopes
        )


@dataclass(frozen=True)
class TritonCenterGradient(CenterGradient):
    """`CenterGradient` with kernels of its own.

    Attributes:
        problem: what pass 1 read.
        slopes: the loss's slopes by what it gave.
    """

    problem: Problem
    slopes: Slopes

    @torch.no_grad()
    def dense(self) -> Tensor:
        """The gradient as a tensor (C, D)."""
        return center_gradient(self.problem, self.slopes)

    @torch.no_grad()
    def apply_sgd(
        self,
        values: Rows,
        velocities: Rows | None,
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
    ) -> bool:
        """Move the columns' centres in the second pass, in place.

        False for tables that `Move.of` does not take, or another one than the loss read.
        """
        read_CD = self.problem.center_CD
        move = Move.of(values, velocities, lr=lr, momentum=momentum, decay=weight_decay)
        if move is None or move.center_CD.data_ptr() != read_CD.data_ptr():
            return False
        move_centers(self.problem, self.slopes, move)
        return True


class _Reduction(torch.autograd.Function):
    """R of each row over the other columns, and with it the embeddings' gradient.

    The rows' own entries are an input so that the backward pass comes before theirs, which needs
    its result; and at all, where embeddings have no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, unit_MD: Tensor, scale_M: Tensor, cosine_M: Tensor, work: TritonWork
    ) -> Tensor:
        reduced = reduce(
            work.problem, work.count, attend=ctx.needs_input_grad[0], moment=work.wants_scale
        )
        ctx.work, ctx.by_unit_ND, ctx.by_scale_M = work, reduced.by_unit_ND, reduced.by_scale_M
        ctx.save_for_backward(reduced.value_M)
        return reduced.value_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (reduced_M,) = ctx.saved_tensors
        work: TritonWork = ctx.work
        slope_M = slope_M.where(reduced_M.isfinite(), 0.0)  # no column, no slope
        work.weights = Weights(reduced_M, slope_M)
        by_unit_MD = None
        if ctx.by_unit_ND is not None:
            by_unit_MD = ctx.by_unit_ND.new_zeros(len(slope_M), ctx.by_unit_ND.shape[1])
            by_unit_MD[: work.count] = slope_M[: work.count, None] * ctx.by_unit_ND
        by_scale_M = None if ctx.by_scale_M is None else slope_M * ctx.by_scale_M
        return by_unit_MD, by_scale_M, None, None
