"""The readable reference: the whole logit matrix, in memory, by plain autograd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.centers.autocast import without_autocast
from frcore.centers.gradient import CentersGradient
from frcore.centers.gradient_parts import GradientForm, RowsGradient
from frcore.errors import UserError
from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision, operands_of, unit_rows
from frcore.loss.once import once
from frcore.loss.rows import check_shape, join, loss_of_rows
from frcore.sharding.collectives import apply
from frcore.sharding.shard import Whole


def dense_loss(
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    *,
    active: Tensor | None = None,
    extra_rows: ExtraRows | None = None,
    entry_filter: EntryFilter | None = None,
    gradient_form: GradientForm = "tensor",
    precision: Precision | None = None,
    shard: Whole | None = None,
) -> LossOutput:
    """Loss of `head` over the active centres, for the batch and the extra rows.

    For a softmax, a row's loss is softplus(R − z_y) with R = log Σ_{k≠y} exp z_k. The target is
    left out of the sum instead of being subtracted from it: 1 − p_y then keeps its precision where
    p_y is close to 1, and the loss has no floor or ceiling.

    Args:
        embedding_ND: embeddings, not normalised.
        center_CD: all class centres.
        label_N: classes, 0-based, below C.
        head: the rule; its state is updated if it is in training mode.
        active: sorted indices of the softmax's centres, including all positives; None = all.
        extra_rows: rows of the queue.
        entry_filter: which entries are taken out.
        gradient_form: of the centres; "tiles" is "rows" here, and without `active` a tensor.
        precision: "fp32" or None, which is the same.
        shard: of all classes, those of `center_CD`; None = all are here. With a shard the rows are
            those of all ranks, and labels are of all classes.

    Raises:
        UserError: another precision.
    """
    check_precision(precision)
    count, shard = len(embedding_ND), shard or Whole(len(center_CD))
    embedding_MD, label_M = join(embedding_ND, label_N, extra_rows)
    norm_M = embedding_MD.norm(dim=1)
    column_M = shard.local(label_M)
    if active is not None:
        column_M = torch.searchsorted(active, column_M).where(column_M >= 0, -1)
        center_CD = _select(center_CD, active, gradient_form)
    direction_CD = unit_rows(center_CD) if head.normalizes_centers else center_CD
    cosine_MC = apply(_Product, unit_rows(embedding_MD), direction_CD)
    columns_C = torch.arange(cosine_MC.shape[1], device=column_M.device)
    is_target_MC = columns_C == column_M[:, None]
    target_cosine_M = shard.sum(_own_entries(cosine_MC, column_M))

    absent_MC = is_target_MC
    if entry_filter is not None:
        # The filter's threshold is on cos θ, even where entries are x̂ · w.
        norm_C = 1.0 if head.normalizes_centers else center_CD.detach().norm(dim=1)
        alike_MC = (cosine_MC.detach() > entry_filter.threshold * norm_C) & ~is_target_MC
        if entry_filter.mode == "zero":
            cosine_MC = cosine_MC.masked_fill(alike_MC, 0.0)
        else:
            absent_MC = absent_MC | alike_MC

    reduce = _logsumexp if head.reduction == "logsumexp" else _softplus_sum
    batch = HeadBatch(target_cosine_M, norm_M, label_M, shard.num_classes)

    def statistic(scale: Tensor | float) -> Tensor:
        # double: this feeds a head's state, which accumulates over the whole training.
        return _logsumexp(scale * cosine_MC[:count].detach().double(), absent_MC[:count])

    def reduction(target_M: Tensor, scale_M: Tensor, _: Tensor | float) -> Tensor:
        negative_MC = head.negative(cosine_MC, target_M[:, None], batch)
        check_shape(head, "negative", negative_MC, cosine_MC.shape)
        return reduce(scale_M[:, None] * negative_MC, absent_MC)

    output = loss_of_rows(head, batch, count, statistic, reduction, shard)
    return replace(output, operands=operands_of(precision, direction_CD))


def _own_entries(cosine_MC: Tensor, column_M: Tensor) -> Tensor:
    """Each row's entry in its own column; 0 where that is −1, on another shard."""
    if not cosine_MC.shape[1]:
        return cosine_MC.sum(1)
    own_M = cosine_MC.gather(1, column_M.clamp_min(0)[:, None]).squeeze(1)
    return own_M.where(column_M >= 0, 0.0)


class _Product(torch.autograd.Function):
    """a · bᵀ; in the types of its tensors even where a backward pass runs inside autocast."""

    @staticmethod
    @without_autocast()
    def forward(ctx: Any, a_MD: Tensor, b_CD: Tensor) -> Tensor:
        ctx.save_for_backward(a_MD, b_CD)
        return a_MD @ b_CD.T

    @staticmethod
    def backward(ctx: Any, slope_MC: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a_MD, b_CD = ctx.saved_tensors
        by_a, by_b = ctx.needs_input_grad
        return (
            apply(_Product, slope_MC, b_CD.T) if by_a else None,
            apply(_Product, slope_MC.T, a_MD.T) if by_b else None,
        )


class _Select(torch.autograd.Function):
    """`center_CD[active]`, whose gradient is that of these rows alone."""

    @staticmethod
    def forward(ctx: Any, center_CD: Tensor, active: Tensor) -> Tensor:
        ctx.active = active
        # Saved so that torch refuses a backward pass after they were written to, as elsewhere.
        ctx.save_for_backward(center_CD)
        return center_CD[active]

    @staticmethod
    @once
    def backward(ctx: Any, gradient_AD: Tensor) -> tuple[Tensor, None]:
        (center_CD,) = ctx.saved_tensors
        return CentersGradient([RowsGradient(ctx.active, gradient_AD)], center_CD), None


def _select(center_CD: Tensor, active: Tensor, gradient_form: GradientForm) -> Tensor:
    if gradient_form == "tensor":
        return center_CD[active]
    return _Select.apply(center_CD, active)


def check_precision(precision: Precision | None) -> None:
    """Refuse a precision other than this backend's.

    Raises:
        UserError: it is not fp32.
    """
    if precision not in (None, "fp32"):
        raise UserError(
            f"the loss backend 'dense' with precision '{precision}'; it computes in fp32 alone: "
            "choose 'streamed' or 'triton', or leave the precision out"
        )


def _logsumexp(logit_MC: Tensor, absent_MC: Tensor) -> Tensor:
    """log Σ exp over the columns that are present; −inf where there is none."""
    empty_M = absent_MC.all(1)
    # A row without any column keeps its logits and is replaced afterwards: an empty logsumexp has
    # a NaN gradient, which trips anomaly detection.
    lse_M = logit_MC.masked_fill(absent_MC & ~empty_M[:, None], -torch.inf).logsumexp(1)
    return lse_M.masked_fill(empty_M, -torch.inf)


def _softplus_sum(logit_MC: Tensor, absent_MC: Tensor) -> Tensor:
    """Σ log(1 + exp) over the columns that are present."""
    return -F.logsigmoid(-logit_MC).masked_fill(absent_MC, 0.0).sum(1)
