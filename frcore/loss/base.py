"""What every loss backend takes and gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from frcore.heads.base import Head
from frcore.loss.products import Precision

if TYPE_CHECKING:
    from frcore.loss.deferred import CenterGradient


@dataclass(frozen=True)
class ExtraRows:
    """Rows that move the class centres but not the encoder: BroadFace's queue.

    Attributes:
        embedding_QD: without gradient, not normalised.
        label_Q: their classes.
    """

    embedding_QD: Tensor
    label_Q: Tensor


@dataclass(frozen=True)
class EntryFilter:
    """Entries of the matrix that are taken out because they look like the row's own identity.

    Acts on cos θ_ik, k ≠ y, before the head does, and carries no gradient of its own.

    Attributes:
        threshold: entries with cos θ_ik above it are taken out.
        mode: "zero" makes their cosine 0, which still counts in the denominator (insightface's
            code); "drop" takes them out of it.
    """

    threshold: float
    mode: Literal["zero", "drop"]


@dataclass(frozen=True)
class LossOutput:
    """What a training step needs of the loss.

    Attributes:
        loss: scalar. Its value is the mean over the batch. Its gradient with respect to the
            embeddings is that of the mean over the batch, and with respect to the centres and the
            head's parameters that of the mean over batch and extra rows.
        row_loss_N: loss of each row of the batch, detached.
        target_cosine_N: cosine between each row of the batch and its centre, detached.
        scale: mean scale of the batch's logits, detached.
    """

    loss: Tensor
    row_loss_N: Tensor
    target_cosine_N: Tensor
    scale: Tensor


class LossBackend(Protocol):
    """The signature that `dense` and later backends share."""

    def __call__(
        self,
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
        """See `frcore.loss.dense.dense_loss`."""
        ...


def inverse_norm(x_ND: Tensor) -> Tensor:
    """1/‖x‖ of each row, (N, 1); 0 for a row of norm 0."""
    norm_N1 = x_ND.norm(dim=1, keepdim=True)
    # √tiny: the backward pass squares the reciprocal, and a norm below it underflows to 0 anyway.
    floor = math.sqrt(torch.finfo(x_ND.dtype).tiny)
    return norm_N1.clamp_min(floor).reciprocal().where(norm_N1 > 0, 0.0)


def unit_rows(x_ND: Tensor) -> Tensor:
    """Each row divided by its norm; a row of norm 0 stays 0 and gets no gradient.

    `F.normalize` divides such a row by 1e-12 and sends back a gradient of 1e12: one dead embedding
    (a network's zero, or an underflow in float16) would destroy the model at the next step.
    """
    return x_ND * inverse_norm(x_ND)
