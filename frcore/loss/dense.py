"""The readable reference: the whole logit matrix, in memory, by plain autograd."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import EntryFilter, ExtraRows, LossOutput, unit_rows


def dense_loss(
    embedding_ND: Tensor,
    center_CD: Tensor,
    label_N: Tensor,
    head: Head,
    *,
    active: Tensor | None = None,
    extra_rows: ExtraRows | None = None,
    entry_filter: EntryFilter | None = None,
) -> LossOutput:
    """Loss of `head` over the active centres, for the batch and the extra rows.

    For a softmax, a row's loss is softplus(R − z_y) with R = log Σ_{k≠y} exp z_k. The target is
    left out of the sum instead of being subtracted from it: 1 − p_y then keeps its digits where p_y
    is close to 1, and the loss has no floor or ceiling.

    Args:
        embedding_ND: embeddings, not normalised.
        center_CD: all class centres.
        label_N: classes, 0-based, below C.
        head: the rule; its state is updated if it is in training mode.
        active: sorted indices of the centres that the softmax has, all positives among them;
            None = all.
        extra_rows: rows of the queue.
        entry_filter: which entries are taken out.
    """
    rows = len(embedding_ND)
    label_M = label_N
    if extra_rows is not None and len(extra_rows.label_Q):
        total = rows + len(extra_rows.label_Q)
        embedding_MD = torch.cat(
            [_scale_gradient(embedding_ND, total / rows), extra_rows.embedding_QD.detach()]
        )
        label_M = torch.cat([label_N, extra_rows.label_Q])
    else:
        embedding_MD = embedding_ND

    cosine_MC, norm_M = _cosines(embedding_MD, center_CD, active, head)
    column_M = label_M if active is None else torch.searchsorted(active, label_M)
    columns_C = torch.arange(cosine_MC.shape[1], device=column_M.device)
    is_target_MC = columns_C == column_M[:, None]
    target_cosine_M = cosine_MC.gather(1, column_M[:, None]).squeeze(1)

    absent_MC = is_target_MC
    if entry_filter is not None:
        alike_MC = _alike(cosine_MC, center_CD, active, head, entry_filter) & ~is_target_MC
        if entry_filter.mode == "zero":
            cosine_MC = cosine_MC.masked_fill(alike_MC, 0.0)
        else:
            absent_MC = absent_MC | alike_MC

    batch = HeadBatch(target_cosine_M, norm_M, label_M, len(center_CD))
    if head.training:
        _update(head, batch, rows, cosine_MC, absent_MC)

    scale = head.scale(batch)
    # A number is filled in on the device: `as_tensor` would copy it there and wait for the copy.
    scale_M = scale.to(cosine_MC) if isinstance(scale, Tensor) else cosine_MC.new_full((), scale)
    scale_M = scale_M.expand(len(label_M))
    target_M = head.target(target_cosine_M, batch)
    negative_MC = head.negative(cosine_MC, target_M[:, None], batch)
    reduce = _logsumexp if head.reduction == "logsumexp" else _softplus_sum
    reduced_M = reduce(scale_M[:, None] * negative_MC, absent_MC)
    row_loss_M = head.row_loss(scale_M * target_M, reduced_M) + head.penalty(batch)

    return LossOutput(
        loss=_two_means(row_loss_M, rows),
        row_loss_N=row_loss_M[:rows].detach(),
        target_cosine_N=target_cosine_M[:rows].detach(),
        scale=scale_M[:rows].detach().mean(),
    )


def _cosines(
    embedding_MD: Tensor, center_CD: Tensor, active: Tensor | None, head: Head
) -> tuple[Tensor, Tensor]:
    """Cosines (M, active) and the embeddings' norms (M,)."""
    norm_M = embedding_MD.norm(dim=1)
    if active is not None:
        center_CD = center_CD[active]
    if head.normalizes_centers:
        center_CD = unit_rows(center_CD)
    return unit_rows(embedding_MD) @ center_CD.T, norm_M


@torch.no_grad()
def _alike(
    cosine_MC: Tensor,
    center_CD: Tensor,
    active: Tensor | None,
    head: Head,
    entry_filter: EntryFilter,
) -> Tensor:
    """Entries (M, active) with cos θ above the filter's threshold."""
    if not head.normalizes_centers:
        norm_C = (center_CD if active is None else center_CD[active]).norm(dim=1)
        return cosine_MC > entry_filter.threshold * norm_C
    return cosine_MC > entry_filter.threshold


def _update(head: Head, batch: HeadBatch, rows: int, cosine_MC: Tensor, absent_MC: Tensor) -> None:
    """Let the head update its state from the batch's rows, without gradient."""
    cosine_NC = cosine_MC[:rows].detach()

    def negative_logsumexp(scale: Tensor | float) -> Tensor:
        # double: this feeds a head's state, which accumulates over the whole training.
        return _logsumexp(scale * cosine_NC.double(), absent_MC[:rows])

    with torch.no_grad():
        head.update(
            HeadBatch(
                cosine_N=batch.cosine_N[:rows].detach(),
                norm_N=batch.norm_N[:rows].detach(),
                label_N=batch.label_N[:rows],
                num_classes=batch.num_classes,
                negative_logsumexp=(
                    negative_logsumexp if "negative_logsumexp" in head.statistics else None
                ),
            )
        )


def _logsumexp(logit_MC: Tensor, absent_MC: Tensor) -> Tensor:
    """log Σ exp over the columns that are present; −inf where there is none."""
    empty_M = absent_MC.all(1)
    # A row without any column keeps its logits and is replaced afterwards: logsumexp of nothing has
    # a NaN gradient, which anomaly detection finds.
    lse_M = logit_MC.masked_fill(absent_MC & ~empty_M[:, None], -torch.inf).logsumexp(1)
    return lse_M.masked_fill(empty_M, -torch.inf)


def _softplus_sum(logit_MC: Tensor, absent_MC: Tensor) -> Tensor:
    """Σ log(1 + exp) over the columns that are present."""
    return -F.logsigmoid(-logit_MC).masked_fill(absent_MC, 0.0).sum(1)


def _two_means(row_loss_M: Tensor, rows: int) -> Tensor:
    """Value: the batch's mean. Gradient: the mean over all rows (see `_scale_gradient`)."""
    mean_all = row_loss_M.mean()
    if rows == len(row_loss_M):
        return mean_all
    return mean_all + (row_loss_M[:rows].mean() - mean_all).detach()


def _scale_gradient(x: Tensor, factor: float) -> Tensor:
    """`x` itself; its gradient times `factor`.

    Rows carry two weights: 1/N towards the encoder and 1/(N+Q) towards the centres. The loss is a
    mean over N+Q rows, so what flows back into the batch's embeddings is multiplied by (N+Q)/N.
    """
    return _ScaleGradient.apply(x, factor)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor  # type: ignore[attr-defined]
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None  # type: ignore[attr-defined]
