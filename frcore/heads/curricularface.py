"""CurricularFace: hard negatives weigh more as training progresses."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.heads.arcface import ArcFace, add_angle
from frcore.heads.base import HeadBatch, NegativeRule, Scale, Source


class CurricularFace(ArcFace):
    """CurricularFace (Huang et al. 2020, arXiv 2004.00288; t is its Eq. 9).

    The target is ArcFace's, s cos(θ_y + m). A class k is hard where cos θ_k > cos(θ_y + m); its
    cosine becomes N(t, cos θ_k) = cos θ_k (t + cos θ_k). t is a running mean of the target cosines,

        t ← α mean_i cos θ_y,i + (1 − α) t,   from t = 0,

    updated before the logits of the step, in training only. No gradient flows through t or through
    the choice of the hard classes, which is made with cos(θ_y + m) even where the target has a rule
    beyond π, as in the authors' code. The paper writes r as a sum over the batch; the code takes
    the mean.

    Args:
        num_classes: number of classes.
        margin: m in radians.
        scale: s.
        ema: α, the weight of the newest batch. 0.01 in the authors' code, which they call the right
            version where their text has 0.99 (HuangYG123/CurricularFace, issue 8); 0.1 in TFace, by
            the same laboratory.
        beyond_pi: the rule where θ_y + m > π, as for the head `arcface`: "linear" is
            cos θ − m sin m (the authors' code); "cos" leaves it alone (the formula); "clip" clamps
            θ_y + m to π, where the target has no gradient.
    """

    source = Source(
        "Huang et al.", 2020, "2004.00288", "Eq. 9 (t)", "HuangYG123/CurricularFace:head/metrics.py"
    )
    formula = ("s cos(θ_y + m)", "s c_k (t + c_k) where c_k > cos(θ_y + m), else s c_k")
    dialects: ClassVar[tuple[str, ...]] = ("ema", "beyond_pi")

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, lt=math.pi)] = 0.5,
        scale: Scale = 64.0,
        ema: Annotated[float, Field(gt=0, le=1)] = 0.01,
        beyond_pi: Literal["linear", "cos", "clip"] = "linear",
    ) -> None:
        super().__init__(num_classes, margin=margin, scale=scale, beyond_pi=beyond_pi)
        self.ema = float(ema)
        # t is float64: it accumulates over the whole training.
        self.register_buffer("t", torch.zeros((), dtype=torch.float64))
        self.t: Tensor

    def update(self, batch: HeadBatch) -> None:
        """One step of Eq. 9."""
        # Of the target cosines: HaiyuWu's code averages over all classes, which keeps t near 0.
        self.t.lerp_(batch.cosine_N.double().mean().to(self.t.dtype), self.ema)

    def negative(self, cosine_NC: Tensor, target_N1: Tensor, batch: HeadBatch) -> Tensor:
        """N(t, cos θ_k) of the hard classes."""
        hard_NC = cosine_NC > add_angle(batch.cosine_N.detach(), self.margin)[:, None]
        t = self.t.to(cosine_NC.dtype, copy=True)
        return torch.where(hard_NC, cosine_NC * (t + cosine_NC), cosine_NC)

    def negative_rule(self, batch: HeadBatch) -> NegativeRule:
        """c (t + c) above cos(θ_y + m)."""
        threshold_N = add_angle(batch.cosine_N.detach(), self.margin)
        return NegativeRule(threshold_N, (1.0, self.t.clone(), 0.0))

    def diagnostics(self) -> dict[str, Tensor]:
        """t."""
        return {"t": self.t.clone()}
