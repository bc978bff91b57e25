"""MV-Softmax and CurricularFace: other classes that weigh more where they win."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


class SlowMVSoftmax(SlowHead):
    scale_value = 32.0

    def __init__(
        self,
        num_classes: int,
        margin_type: str = "am",
        margin: float = 0.35,
        t: float = 0.2,
        weighting: str = "adaptive",
        scale: float | None = None,
        easy_margin: str = "positive",
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin_type, self.margin, self.t = margin_type, margin, t
        self.weighting, self.easy_margin = weighting, easy_margin

    def f(self, theta: Tensor) -> Tensor:
        """The paper's f(m, θ)."""
        if self.margin_type == "am":
            return torch.cos(theta) - self.margin
        return torch.cos(theta + self.margin)

    def target(self, theta: Tensor) -> Tensor:
        limit = {"off": -2.0, "positive": 0.0, "margin": self.margin}[self.easy_margin]
        return self.f(theta) if torch.cos(theta) > limit else torch.cos(theta)

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        """With the weight h of the paper's loss as log h added to the logit."""
        out = super().logits(cosines, label, norm, row)
        f = float(self.f(torch.arccos(cosines[label])).detach())
        for k, cosine in cosines.items():
            if k != label and f - float(cosine.detach()) < 0:
                st = self.scale_value * self.t
                out[k] = out[k] + (st * (cosine + 1) if self.weighting == "adaptive" else st)
        return out


class SlowCurricularFace(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float | None = None,
        ema: float = 0.01,
        beyond_pi: str = "linear",
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin, self.ema, self.beyond_pi = margin, ema, beyond_pi
        self.t = 0.0

    def update(
        self, cosines: list[dict[int, float]], labels: list[int], norms: list[float]
    ) -> None:
        r = sum(row[label] for row, label in zip(cosines, labels, strict=True)) / len(labels)
        self.t = self.ema * r + (1 - self.ema) * self.t

    def target(self, theta: Tensor) -> Tensor:
        if theta + self.margin > math.pi and self.beyond_pi != "cos":
            if self.beyond_pi == "clip":
                return theta * 0 - 1
            return torch.cos(theta) - self.margin * math.sin(math.pi - self.margin)
        return torch.cos(theta + self.margin)

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        out = super().logits(cosines, label, norm, row)
        limit = math.cos(math.acos(float(cosines[label].detach())) + self.margin)
        for k, cosine in cosines.items():
            if k != label and float(cosine.detach()) > limit:
                out[k] = self.scale_value * cosine * (self.t + cosine)
        return out
