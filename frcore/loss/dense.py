"""The readable reference: the whole logit matrix, in memory, by plain autograd."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.deferred import CenterGradient
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision, unit_rows
from frcore.loss.rows import join, loss_of_rows


def dense_loss(
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
        deferred: not used; the gradient is a tensor (C, D) in `center_CD.grad`.
        precision: "fp32" or None, which is the same.

    Raises:
        UserError: another precision.
    """
    check_precision(precision)
    count, num_classes = len(embedding_ND), len(center_CD)
    embedding_MD, label_M = join(embedding_ND, label_N, extra_rows)
    norm_M = embedding_MD.norm(dim=1)
    column_M = label_M
    if active is not None:
        center_CD, column_M = center_CD[active], torch.searchsorted(active, label_M)
    direction_CD = unit_rows(center_CD) if head.normalizes_centers else center_CD
    cosine_MC = unit_rows(embedding_MD) @ direction_CD.T
    columns_C = torch.arange(cosine_MC.shape[1], device=column_M.device)
    is_target_MC = columns_C == column_M[:, None]
    target_cosine_M = cosine_MC.gather(1, column_M[:, None]).squeeze(1)

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
    batch = HeadBatch(target_cosine_M, norm_M, label_M, num_classes)

    def statistic(scale: Tensor | float) -> Tensor:
        # double: this feeds a head's state, which accumulates over the whole training.
        return _logsumexp(scale * cosine_MC[:count].detach().double(), absent_MC[:count])

    def reduction(target_M: Tensor, scale_M: Tensor, _: Tensor | float) -> Tensor:
        negative_MC = head.negative(cosine_MC, target_M[:, None], batch)
        return reduce(scale_M[:, None] * negative_MC, absent_MC)

    return loss_of_rows(head, batch, count, statistic, reduction)


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
