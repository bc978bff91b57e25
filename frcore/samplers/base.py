"""The contract of a sampler: which columns (centres) and extra rows (past embeddings) exist."""

from __future__ import annotations

from torch import Tensor, nn

from frcore.loss.base import ExtraRows


class Sampler(nn.Module):
    """Base of all samplers; by itself every column and no extra row.

    A classifier calls `attach` once. Then, in training mode only, for each batch: `rows`, `columns`
    with the labels of batch and rows, the loss, and `observe`.
    """

    def __init__(self) -> None:
        super().__init__()

    def attach(self, num_classes: int, dim: int, *, seed: int = 0) -> None:
        """Learn the shape of the logit matrix; randomness follows from `seed`."""
        self.num_classes = num_classes

    def rows(self, center_CD: Tensor) -> ExtraRows | None:
        """Extra rows for the centres' gradient, brought up to date with the centres."""
        return None

    def columns(self, label_M: Tensor) -> Tensor | None:
        """Sorted indices of the active centres, all of `label_M` among them; None = all."""
        return None

    def observe(self, embedding_ND: Tensor, label_N: Tensor, center_CD: Tensor) -> None:
        """See the batch and the centres its loss was computed with; without gradient."""
