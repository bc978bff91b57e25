"""CosFace: an additive cosine margin."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source


class CosFace(FixedScaleHead):
    """CosFace / AM-Softmax, target s (cos θ_y − m) (Wang et al. 2018, arXiv 1801.09414, Eq. 4).

    Args:
        num_classes: number of classes.
        margin: m; 0.35 is the paper's, 0.4 that of insightface's arcface_torch.
        scale: s; 64 in insightface, 30 in older code.
    """

    source: ClassVar[Source | None] = Source("Wang et al.", 2018, "1801.09414", equation="Eq. 4")
    formula: ClassVar[tuple[str, str]] = ("s (c_y − m)", "s c_k")

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
