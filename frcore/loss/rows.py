"""The per-row computations of every backend, around the reduction over the columns."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.inputs import ExtraRows

Reduction = Callable[[Tensor, Tensor, Tensor | float], Tensor]
"""R (M,) of the other columns from target entries (M,), scales (M,), and what `Head.scale` gave."""


def join(
    embedding_ND: Tensor, label_N: Tensor, extra_rows: ExtraRows | None
) -> tuple[Tensor, Tensor]:
    """Embeddings (M, D) and labels (M,) of batch and extra rows; gradients go to the batch's."""
    if extra_rows is None or not len(extra_rows.label_Q):
        return embedding_ND, label_N
    count, total = len(label_N), len(label_N) + len(extra_rows.label_Q)
    # Rows carry two weights: 1/N towards the encoder and 1/(N+Q) towards the centres. The loss is a
    # mean over N+Q rows, so what flows back into the batch's embeddings is multiplied by (N+Q)/N.
    embedding_ND = embedding_ND.view_as(embedding_ND)
    if embedding_ND.requires_grad:
        embedding_ND.register_hook(lambda gradient_ND: gradient_ND * (total / count))
    embedding_MD = torch.cat([embedding_ND, extra_rows.embedding_QD.detach()])
    return embedding_MD, torch.cat([label_N, extra_rows.label_Q])


def expand_scale(scale: Tensor | float, like_M: Tensor) -> Tensor:
    """The value of `Head.scale`, for each row."""
    # A number is filled in on the device: `as_tensor` would copy it there and wait for the copy.
    tensor = scale.to(like_M) if isinstance(scale, Tensor) else like_M.new_full((), scale)
    return tensor.expand(len(like_M))


def loss_of_rows(
    head: Head,
    batch: HeadBatch,
    count: int,
    statistic: Callable[[Tensor | float], Tensor],
    reduce: Reduction,
) -> LossOutput:
    """The output from each row's own entry; in training mode the head's state advances.

    Args:
        head: the rule.
        batch: all rows, of which the first `count` are the batch's.
        count: N.
        statistic: `HeadBatch.negative_logsumexp` of the batch's rows.
        reduce: gives R of all rows.
    """
    if head.training:
        with torch.no_grad():
            head.update(
                HeadBatch(
                    cosine_N=batch.cosine_N[:count].detach(),
                    norm_N=batch.norm_N[:count].detach(),
                    label_N=batch.label_N[:count],
                    num_classes=batch.num_classes,
                    negative_logsumexp=(
                        statistic if "negative_logsumexp" in head.statistics else None
                    ),
                )
            )
    scale = head.scale(batch)
    scale_M = expand_scale(scale, batch.cosine_N)
    target_M = head.target(batch.cosine_N, batch)
    reduced_M = reduce(target_M, scale_M, scale)
    row_loss_M = head.row_loss(scale_M * target_M, reduced_M) + head.penalty(batch)
    if head.training:
        with torch.no_grad():
            head.observe(reduced_M[:count].detach())
    return LossOutput(
        loss=_two_means(row_loss_M, count),
        row_loss_N=row_loss_M[:count].detach(),
        target_cosine_N=batch.cosine_N[:count].detach(),
        scale=scale_M[:count].detach().mean(),
    )


def _two_means(row_loss_M: Tensor, count: int) -> Tensor:
    """Value: the batch's mean. Gradient: the mean over all rows (see `join`)."""
    mean_all = row_loss_M.mean()
    if count == len(row_loss_M):
        return mean_all
    return mean_all + (row_loss_M[:count].mean() - mean_all).detach()
