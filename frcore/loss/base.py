"""The interface of a loss backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from frcore.centers.gradient_parts import GradientForm
from frcore.heads.base import Head
from frcore.loss.inputs import EntryFilter, ExtraRows, Precision
from frcore.sharding.shard import Whole


@dataclass(frozen=True)
class LossOutput:
    """What a training step needs from the loss.

    Attributes:
        loss: scalar. Its value is the mean over the batch. Its gradient with respect to the
            embeddings is that of the mean over the batch, and with respect to the centres and the
            head's parameters that of the mean over batch and extra rows.
        row_loss_N: loss of each row of the batch, to weight samples with: the gradient of its mean
            is that of `loss` but for the extra rows, which are in `loss` alone.
        target_cosine_N: cosine between each row of the batch and its centre, detached.
        scale: mean scale of the batch's logits, detached.
        operands: what the products of embeddings and centres were computed from: "fp64", "fp32",
            "tf32" or "bf16". Sums are of 32 bits at least, and so are head and loss.
    """

    loss: Tensor
    row_loss_N: Tensor
    target_cosine_N: Tensor
    scale: Tensor
    operands: str = "fp32"


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
        gradient_form: GradientForm = "tensor",
        precision: Precision | None = None,
        shard: Whole | None = None,
    ) -> LossOutput:
        """See `frcore.loss.dense.dense_loss`."""
        ...
