"""CosFace: an additive cosine margin."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from frcore.heads.base import FixedScaleHead, HeadBatch, Scale


class CosFace(FixedScaleHead):
    """CosFace / AM-Softmax, target s (cos θ_y − m) (Wang et al. 2018, arXiv 1801.09414, Eq. 4)."""

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.35,
        scale: Scale = 64.0,
    ) -> None:
        super().__init__(num_classes, scale=scale)
        self.margin = float(margin)

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos θ_y − m."""
        return cosine_N - self.margin
