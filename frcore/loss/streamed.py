"""The loss in tiles of classes: no logit is ever stored.

Two passes over the class centres. The first accumulates the reduction R over the other columns and
the embeddings' gradient together, as attention accumulates its output. The second, in the backward
pass or in the optimiser's step, recomputes each tile for the centres' gradient. In between lives
only what belongs to rows, so that memory is rows × (D + tile).

What acts on one number per row (margin, scale, penalty, the loss itself) is ordinary autograd, as
in `dense`. A head's rule for the other columns is differentiated tile by tile: any head works.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.deferred import CenterGradient, Weights
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision, unit_rows
from frcore.loss.rows import finish, join, scale_of_rows, update_head
from frcore.loss.tiles import Columns, RowValues, Rule, Tile, add_product

TILE = 2048
"""Columns at a time. A tile of 256 rows is 2 MiB: it stays in a core's cache between its steps."""


def streamed_loss(
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    *,
    active: Tensor | None = None,
    extra_rows: ExtraRows | None = None,
    entry_filter: EntryFilter | None = None,
    deferred: list[CenterGradient] | None = None,
    precision: Precision | None = None,
    tile: int = TILE,
) -> LossOutput:
    """`dense_loss`, in tiles; see there for the arguments.

    Args:
        deferred: where the backward pass leaves the centres' gradient, not yet computed; None
            computes it there and then, as a (C, D) tensor.
        precision: of the operands of products with centres; sums and each row's own entry are in
            32 bits in any case. None is "fp32".
        tile: columns in memory at a time; any gives the same numbers up to rounding.
    """
    count = len(embedding_ND)
    embedding_MD, label_M = join(embedding_ND, label_N, extra_rows)
    norm_M, unit_MD = embedding_MD.norm(dim=1), unit_rows(embedding_MD)
    columns = Columns(
        center_CD.detach(), active, tile, head.normalizes_centers, precision or "fp32"
    )
    column_M = columns.of(label_M)
    work = Work(columns, column_M, label_M, count, deferred)

    cosine_M = OwnCosine.apply(unit_MD, center_CD, work)
    batch = HeadBatch(cosine_M, norm_M, label_M, len(center_CD))
    if head.training:
        update_head(
            head,
            batch,
            count,
            lambda scale: _statistic(work, unit_MD[:count].detach(), batch, entry_filter, scale),
        )
    scale_M = scale_of_rows(head, batch)
    target_M = head.target(cosine_M, batch)
    rows = RowValues.of(target_M, scale_M, batch)
    work.rule = Rule(head, rows, unit_MD, column_M, entry_filter, columns.precision)
    reduced_M = _Reduction.apply(
        unit_MD, target_M, scale_M, cosine_M, norm_M, work, *work.rule.parameters
    )
    return finish(head, batch, count, scale_M, target_M, reduced_M)


class Work:
    """What the passes of one loss share."""

    rule: Rule

    def __init__(
        self,
        columns: Columns,
        column_M: Tensor,
        label_M: Tensor,
        count: int,
        deferred: list[CenterGradient] | None,
    ) -> None:
        self.columns, self.column_M, self.label_M = columns, column_M, label_M
        self.count = count
        self.deferred = deferred
        self.weights: Weights | None = None
        """Of the other columns, once the backward pass has been at R."""

    def gradient(self, cosine_M: Tensor, slope_M: Tensor) -> CenterGradient:
        """∂loss/∂centres from each row's own entry and the loss's slope by it."""
        return CenterGradient(self.columns, self.rule, cosine_M, slope_M, self.weights)


class OwnCosine(torch.autograd.Function):
    """Each row's entry in its own column; its backward pass comes after that of R."""

    @staticmethod
    def forward(ctx: Any, unit_MD: Tensor, center_CD: Tensor, work: Work) -> Tensor:
        """x̂ · ŵ_y, or x̂ · w_y, (M,)."""
        own_MD = work.columns.read(work.label_M)
        own_MD = own_MD * work.columns.inverse(own_MD)[:, None]
        cosine_M = (unit_MD * own_MD).sum(1)
        ctx.save_for_backward(own_MD, cosine_M)
        ctx.work = work
        return cosine_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """By x̂; the centres' gradient, that of the other columns included, or defers it."""
        own_MD, cosine_M = ctx.saved_tensors
        work: Work = ctx.work
        gradient_MD = slope_M[:, None] * own_MD if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return gradient_MD, None, None
        centers = work.gradient(cosine_M, slope_M)
        if work.deferred is None:
            return gradient_MD, centers.dense(), None
        if not work.rule.is_plain:
            # The head's parameters or state may move before the centres do: by their own optimiser,
            # or by the next of several batches whose gradients add up.
            work.rule.head = copy.deepcopy(work.rule.head)
        work.deferred.append(centers)
        return gradient_MD, None, None


class _Reduction(torch.autograd.Function):
    """R of each row over the other columns, and with it the embeddings' gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        unit_MD: Tensor,
        target_M: Tensor,
        scale_M: Tensor,
        cosine_M: Tensor,
        norm_M: Tensor,
        work: Work,
        *parameters: Tensor,
    ) -> Tensor:
        sums = _Sums(work.rule, work.count, values=ctx.needs_input_grad[1:5])
        wants_slopes = any(ctx.needs_input_grad[:5])
        for start, index in work.columns:
            center_TD = work.columns.read(index)
            inverse_T = work.columns.inverse(center_TD)
            tile = work.rule.apply(start, center_TD, inverse_T)
            weight_MT = sums.add(tile)
            if wants_slopes:
                sums.add_slopes(tile, weight_MT, center_TD, inverse_T)
        reduced_M, ctx.embedding_ND, ctx.rows = sums.finish()
        ctx.work, ctx.parameters = work, len(parameters)
        ctx.save_for_backward(reduced_M)
        return reduced_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope_M: Tensor) -> tuple[Tensor | None, ...]:
        (reduced_M,) = ctx.saved_tensors
        work: Work = ctx.work
        # A row without any column has R = −∞ and no slope.
        slope_M = slope_M.where(reduced_M.isfinite(), 0.0)
        work.weights = Weights(reduced_M, slope_M)
        gradient_MD = torch.zeros_like(work.rule.row_MD)
        gradient_MD[: work.count] = slope_M[: work.count, None] * ctx.embedding_ND
        rows = [None if sum_M is None else slope_M * sum_M for sum_M in ctx.rows]
        parameters = _parameter_gradients(work) if ctx.parameters else []
        return gradient_MD, *rows, None, *parameters


class _Sums:
    """Running sums over the columns: R, its slope by x̂, and its slopes by row values.

    A softmax keeps its maximum m and sums of exp(z − m), which shrink when it grows.

    Args:
        rule: head, filter and rows.
        count: rows of the batch, which come first and alone have a gradient by x̂.
        values: which of the row values have a gradient.
    """

    def __init__(self, rule: Rule, count: int, *, values: tuple[bool, ...] = ()) -> None:
        self.rule, self.count, self.values = rule, count, values
        row_MD = rule.row_MD
        self.maximum_M = row_MD.new_full((len(row_MD),), -torch.inf)
        self.total_M = row_MD.new_zeros(len(row_MD))
        self.embedding_ND = torch.zeros_like(row_MD[:count])
        self.rows: list[Tensor | None] = [None] * 4

    def add(self, tile: Tile) -> Tensor:
        """Take in a tile; gives ∂R/∂z (a softmax: times its denominator), overwriting z."""
        if not self.rule.is_softmax:
            self.total_M = self.total_M - F.logsigmoid(-tile.logit_MT).sum(1)
            return tile.logit_MT.sigmoid_()
        maximum_M = torch.maximum(self.maximum_M, tile.logit_MT.amax(1))
        # Where nothing counts yet the maximum is −∞, and −∞ − −∞ is no number.
        shift_M = maximum_M.masked_fill(maximum_M == -torch.inf, 0.0)
        weight_MT = tile.logit_MT.sub_(shift_M[:, None]).exp_()
        factor_M = torch.exp(self.maximum_M - shift_M)
        self.maximum_M = maximum_M
        self.total_M = self.total_M * factor_M + weight_MT.sum(1)
        self.embedding_ND *= factor_M[: self.count, None]
        self.rows = [None if sum_M is None else sum_M * factor_M for sum_M in self.rows]
        return weight_MT

    def add_slopes(
        self, tile: Tile, weight_MT: Tensor, center_TD: Tensor, inverse_T: Tensor
    ) -> None:
        """Take in a tile's slopes; ends its graph and overwrites the weights."""
        if any(self.values):
            for k, sum_M in enumerate(self.rule.row_slopes(tile, weight_MT)):
                if sum_M is not None:
                    known_M = self.rows[k]
                    self.rows[k] = sum_M if known_M is None else known_M + sum_M
        slope_MT = self.rule.slope(tile, weight_MT)
        slope_NT = slope_MT[: self.count].mul_(inverse_T)
        add_product(self.embedding_ND, slope_NT, center_TD, self.rule.precision)

    def finish(self) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """R (M,), ∂R/∂x̂ (N, D) and ∂R/∂(row values) (M,) each."""
        embedding_ND = self.embedding_ND.mul_(self.rule.factor_M[: self.count, None])
        if not self.rule.is_softmax:
            return self.total_M, embedding_ND, self.rows
        inverse_M = self.total_M.reciprocal().where(self.total_M > 0, 0.0)
        rows = [None if sum_M is None else sum_M * inverse_M for sum_M in self.rows]
        reduced_M = self.maximum_M + self.total_M.log()
        return reduced_M, embedding_ND.mul_(inverse_M[: self.count, None]), rows


def _parameter_gradients(work: Work) -> list[Tensor | None]:
    """Gradients of the head's parameters through R: a pass of its own, for heads that have any."""
    assert work.weights is not None
    totals: list[Tensor | None] = [None] * len(work.rule.parameters)
    for start, index in work.columns:
        center_TD = work.columns.read(index)
        tile = work.rule.apply(start, center_TD, work.columns.inverse(center_TD))
        weight_MT = work.weights.of(tile.logit_MT, softmax=work.rule.is_softmax)
        for k, part in enumerate(work.rule.parameter_slopes(tile, weight_MT)):
            if part is not None:
                known = totals[k]
                totals[k] = part if known is None else known + part
    return totals


@torch.no_grad()
def _statistic(
    work: Work,
    unit_ND: Tensor,
    batch: HeadBatch,
    entry_filter: EntryFilter | None,
    scale: Tensor | float,
) -> Tensor:
    """log Σ_{k≠y} exp(s cos θ_k) of the batch's rows, (N,); a pass over the columns of its own."""
    count = len(unit_ND)
    # In the type of the rows: in float64 this pass would cost more than all the others together,
    # and a scale that is 1e-7 off is not fed on: the next B is of the next batch.
    scale_N = torch.as_tensor(scale, dtype=unit_ND.dtype, device=unit_ND.device).expand(count)
    plain = Head(batch.num_classes)
    plain.normalizes_centers = work.columns.normalizes  # type: ignore[misc]
    rows = RowValues.of(scale_N, scale_N, HeadBatch(scale_N, scale_N, scale_N, batch.num_classes))
    rule = Rule(plain, rows, unit_ND, work.column_M[:count], entry_filter, work.columns.precision)
    sums = _Sums(rule, 0)
    for start, index in work.columns:
        center_TD = work.columns.read(index)
        sums.add(rule.apply(start, center_TD, work.columns.inverse(center_TD)))
    return sums.finish()[0]
