"""The interface of a loss backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from frcore.heads.base import Head
from frcore.loss.deferred import CenterGradient
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision


@dataclass(frozen=True)
class LossOutput:
    """What a training step needs from the loss.

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
