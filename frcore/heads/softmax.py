"""Plain softmax: the baseline without any normalisation."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from frcore.heads.base import Head, HeadBatch, Source


class Softmax(Head):
    """Softmax on inner products, logit_ij = x_i · w_j = ‖x_i‖ ‖w_j‖ cos θ_ij.

    No bias, as usual for a last layer that is thrown away after training (ArcFace, Eq. 1, has one).

    Args:
        num_classes: number of classes.
    """

    source: ClassVar[Source | None] = Source("Deng et al.", 2019, "1801.07698", equation="Eq. 1")
    formula: ClassVar[tuple[str, str]] = ("‖x‖ ‖w_y‖ c_y", "‖x‖ ‖w_k‖ c_k")

    normalizes_centers: ClassVar[bool] = False

    def scale(self, batch: HeadBatch) -> Tensor:
        """‖x‖ of each row: with the centres' own norms this makes the inner product whole."""
        return batch.norm_N
