"""MV-Softmax: misclassified negatives weigh more."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.arcface import add_angle
from frcore.heads.base import FixedScaleHead, HeadBatch, NegativeRule, Scale, Source


class MVSoftmax(FixedScaleHead):
    """MV-Softmax (Wang et al. 2020, arXiv 1912.00833), with the numbers of the authors' code.

    The target is s f(θ_y), with f = cos θ − m ("am") or cos(θ + m) ("arc"). A class k is
    misclassified, I_k = 1, where f(θ_y) − cos θ_k < 0. Its term of the denominator is multiplied by
    h, which is a change of its cosine:

        adaptive   h = exp(s t (cos θ_k + 1) I_k)   cos θ_k becomes (t + 1) cos θ_k + t
        fixed      h = exp(s t I_k)                 cos θ_k becomes cos θ_k + t

    No gradient flows through I_k. It is decided with f even where the easy margin leaves the target
    without one, as in both codes. MV-Arc has no guard beyond π in either.

    Args:
        num_classes: number of classes.
        margin_type: "am" (the code's default) or "arc".
        margin: m; radians for "arc".
        t: the weight of misclassified classes; 0 is the plain margin. The authors' code has 0.2.
            FaceX-Zoo writes 1 + t: its `mv_weight` of 1.12 is t = 0.12.
        weighting: "adaptive" (the active line of the authors' code, and FaceX-Zoo's) or "fixed"
            (its alternative).
        scale: s.
        easy_margin: where the target has its margin. "positive" is cos θ_y > 0 (the authors' code,
            and FaceX-Zoo's for "arc"); "margin" is cos θ_y > m (FaceX-Zoo's for "am"); "off" is
            everywhere (the formula as the paper writes it).

    Raises:
        UserError: `easy_margin` "margin" with "arc", where m is an angle.
    """

    source = Source("Wang et al.", 2020, "1912.00833", code="xiaoboCASIA/SV-X-Softmax:fc_layers.py")
    formula = (
        "s (c_y − m) or s cos(θ_y + m)",
        "s ((t + 1) c_k + t) or s (c_k + t) where c_k > target, else s c_k",
    )
    dialects: ClassVar[tuple[str, ...]] = ("margin_type", "weighting", "t", "easy_margin")

    def __init__(
        self,
        num_classes: int,
        *,
        margin_type: Literal["am", "arc"] = "am",
        margin: Annotated[float, Field(ge=0, lt=math.pi)] = 0.35,
        t: Annotated[float, Field(ge=0)] = 0.2,
        weighting: Literal["adaptive", "fixed"] = "adaptive",
        scale: Scale = 32.0,
        easy_margin: Literal["positive", "margin", "off"] = "positive",
    ) -> None:
        super().__init__(num_classes, scale=scale)
        if margin_type == "arc" and easy_margin == "margin":
            raise UserError(
                "mv_softmax: easy_margin = 'margin' with margin_type = 'arc': it compares cos θ "
                "with m, which is an angle there; use 'positive' or 'off'"
            )
        self.margin_type = margin_type
        self.margin = float(margin)
        self.t = float(t)
        self.weighting = weighting
        self.easy_margin = easy_margin

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """f(θ_y), or cos θ_y where the margin does not act."""
        target_N = self._with_margin(cosine_N)
        if self.easy_margin == "off":
            return target_N
        threshold = 0.0 if self.easy_margin == "positive" else self.margin
        return torch.where(cosine_N > threshold, target_N, cosine_N)

    def negative(self, cosine_NC: Tensor, target_N1: Tensor, batch: HeadBatch) -> Tensor:
        """Cosines of misclassified classes enlarged by log(h) / s."""
        wrong_NC = cosine_NC > self._with_margin(batch.cosine_N.detach())[:, None]
        if self.weighting == "adaptive":
            enlarged_NC = (self.t + 1) * cosine_NC + self.t
        else:
            enlarged_NC = cosine_NC + self.t
        return torch.where(wrong_NC, enlarged_NC, cosine_NC)

    def negative_rule(self, batch: HeadBatch) -> NegativeRule:
        """(t + 1) c + t, or c + t, above f(θ_y)."""
        linear = self.t + 1 if self.weighting == "adaptive" else 1.0
        return NegativeRule(self._with_margin(batch.cosine_N.detach()), (0.0, linear, self.t))

    def _with_margin(self, cosine_N: Tensor) -> Tensor:
        if self.margin_type == "am":
            return cosine_N - self.margin
        return add_angle(cosine_N, self.margin)
