"""The per-row computations of every backend, around the reduction over the columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import Head, HeadBatch
from frcore.loss.base import LossOutput
from frcore.loss.inputs import ExtraRows
from frcore.sharding.collectives import scale_slope
from frcore.sharding.shard import Whole

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
        embedding_ND.register_hook(lambda gradient_ND: _weigh(gradient_ND, total / count))
    embedding_MD = torch.cat([embedding_ND, extra_rows.embedding_QD.detach()])
    return embedding_MD, torch.cat([label_N, extra_rows.label_Q])


def _weigh(gradient_ND: Tensor, factor: float) -> Tensor:
    if torch.is_grad_enabled():
        raise UserError(
            "a backward pass with create_graph=True and a queue; its rows have one weight towards "
            "the encoder and another towards the centres, so that the loss is no function to be "
            "differentiated twice: use a sampler without a queue"
        )
    return gradient_ND * factor


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
    shard: Whole,
) -> LossOutput:
    """The output from each row's own entry; in training mode the head's state advances.

    Args:
        head: the rule.
        batch: all rows, of which the first `count` are the batch's.
        count: N.
        statistic: `HeadBatch.negative_logsumexp` of the batch's rows.
        reduce: gives R of all rows.
        shard: of the columns that `statistic` and `reduce` are of.

    Raises:
        UserError: a method of the head returns something of another shape than it must.
    """
    cosine_M, rows = batch.cosine_N, batch.cosine_N.shape
    if head.training:
        with torch.no_grad():
            head.update(
                HeadBatch(
                    cosine_N=cosine_M[:count].detach(),
                    norm_N=batch.norm_N[:count].detach(),
                    label_N=batch.label_N[:count],
                    num_classes=batch.num_classes,
                    negative_logsumexp=(
                        (lambda scale: shard.logsumexp(statistic(scale)))
                        if "negative_logsumexp" in head.statistics
                        else None
                    ),
                )
            )
    scale = head.scale(batch)
    check_shape(head, "scale", scale, (), rows)
    scale_M = expand_scale(scale, cosine_M)
    target_M = head.target(cosine_M, batch)
    check_shape(head, "target", target_M, rows)
    reduced_M = reduce(target_M, scale_M, scale)
    reduced_M = (
        shard.logsumexp(reduced_M) if head.reduction == "logsumexp" else shard.sum(reduced_M)
    )
    row_loss_M = head.row_loss(scale_M * target_M, reduced_M)
    check_shape(head, "row_loss", row_loss_M, rows)
    penalty_M = head.penalty(batch)
    check_shape(head, "penalty", penalty_M, (), rows)
    row_loss_M = shard.share(row_loss_M + penalty_M)
    if head.training:
        with torch.no_grad():
            head.observe(reduced_M[:count].detach())
    return LossOutput(
        loss=_two_means(row_loss_M, count),
        row_loss_N=_as_batch(row_loss_M, count),
        target_cosine_N=cosine_M[:count].detach(),
        scale=scale_M[:count].detach().mean(),
    )


def check_shape(head: Head, method: str, value: Any, *shapes: Sequence[int]) -> None:
    """Refuse what a method of a head returned, unless it is a number or has one of `shapes`.

    A target of shape (N, 1) would broadcast to (N, N), and train on something else.
    """
    if isinstance(value, int | float) and () in shapes:
        return
    if not isinstance(value, Tensor) or tuple(value.shape) not in map(tuple, shapes):
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        allowed = " or ".join(str(tuple(shape)) for shape in shapes)
        raise UserError(
            f"{type(head).__name__}.{method} returned a value of shape {given}; needed is "
            f"{allowed}: see the shapes in frcore.heads.base.Head"
        )


def _as_batch(row_loss_M: Tensor, count: int) -> Tensor:
    """The batch's rows, whose gradient has the two weights of `join` as the loss's has."""
    row_loss_N = row_loss_M[:count]
    return (
        row_loss_N if count == len(row_loss_M) else scale_slope(row_loss_N, count / len(row_loss_M))
    )


def _two_means(row_loss_M: Tensor, count: int) -> Tensor:
    """Value: the batch's mean. Gradient: the mean over all rows (see `join`)."""
    mean_all = row_loss_M.mean()
    if count == len(row_loss_M):
        return mean_all
    return mean_all + (row_loss_M[:count].mean() - mean_all).detach()
