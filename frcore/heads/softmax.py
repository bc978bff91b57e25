"""Plain softmax: the baseline without any normalisation."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from frcore.heads.base import Head, HeadBatch


class Softmax(Head):
    """Softmax on inner products, logit_ij = x_i · w_j = ‖x_i‖ ‖w_j‖ cos θ_ij.

    No bias, as usual for a last layer that is thrown away after training (ArcFace, Eq. 1, has one).
    """

    normalizes_centers: ClassVar[bool] = False

    def scale(self, batch: HeadBatch) -> Tensor:
        """‖x‖ of each row: with the centres' own norms this makes the inner product whole."""
        return batch.norm_N
