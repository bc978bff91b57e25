"""ArcFace: an additive angular margin, in the dialects of public implementations."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source, sine


class ArcFace(FixedScaleHead):
    """ArcFace, target s cos(θ_y + m) (Deng et al., arXiv 1801.07698, Eq. 3); m in radians.

    Args:
        num_classes: number of classes.
        margin: m.
        scale: s.
        gradient: "full" is the derivative of the formula, sin(θ+m)/sin θ with respect to cos θ.
            "detached" has derivative 1: what insightface's `losses.py` computes since 2022-12,
            because its margin runs under `no_grad`; the loss is the same, the training is not.
        beyond_pi: the rule where θ + m > π, so that cos(θ+m) would rise again. "linear" is
            cos θ − m sin m, the rule of the paper's code; "cos" leaves it alone (insightface now);
            "clip" clamps θ + m to π, where the target has no gradient (AdaFace's and opensphere's
            code); "plain" has no margin there, so that the target jumps up (FaceX-Zoo's code).
        easy_margin: true applies the margin only where cos θ > 0, and `beyond_pi` then has no
            effect; an option of insightface's code until 2022-12 and of many copies.
    """

    source: ClassVar[Source | None] = Source(
        "Deng et al.",
        2019,
        "1801.07698",
        equation="Eq. 3",
        code="deepinsight/insightface:recognition/arcface_torch/losses.py",
    )
    formula: ClassVar[tuple[str, str]] = ("s cos(θ_y + m)", "s c_k")
    dialects: ClassVar[tuple[str, ...]] = ("gradient", "beyond_pi", "easy_margin")

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, lt=math.pi)] = 0.5,
        scale: Scale = 64.0,
        gradient: Literal["full", "detached"] = "full",
        beyond_pi: Literal["linear", "cos", "clip", "plain"] = "linear",
        easy_margin: bool = False,
    ) -> None:
        super().__init__(num_classes, scale=scale)
        self.margin = float(margin)
        self.gradient = gradient
        self.beyond_pi = beyond_pi
        self.easy_margin = easy_margin

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos(θ_y + m) with the chosen rules at the edges."""
        target_N = add_angle(cosine_N, self.margin)
        if self.easy_margin:
            target_N = torch.where(cosine_N > 0, target_N, cosine_N)
        elif self.beyond_pi != "cos":
            # θ + m > π  ⇔  cos θ < cos(π − m) = −cos m
            if self.beyond_pi == "linear":
                beyond_N = cosine_N - self.margin * math.sin(self.margin)
            elif self.beyond_pi == "clip":
                beyond_N = torch.full_like(cosine_N, -1.0)
            else:
                beyond_N = cosine_N
            target_N = torch.where(cosine_N > -math.cos(self.margin), target_N, beyond_N)
        if self.gradient == "detached":
            target_N = cosine_N + (target_N - cosine_N).detach()
        return target_N


def add_angle(cosine: Tensor, margin: Tensor | float) -> Tensor:
    """cos(θ + m) = cos θ cos m − sin θ sin m, without the arccos; one m, or one per cosine."""
    if isinstance(margin, Tensor):
        return cosine * margin.cos() - sine(cosine) * margin.sin()
    return cosine * math.cos(margin) - sine(cosine) * math.sin(margin)
