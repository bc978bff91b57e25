"""Softmax, cosine softmax and the additive margins."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


class SlowSoftmax(SlowHead):
    """Inner products; `row_loss` hands over x · w / (‖x‖ ‖w‖), so this needs the products."""

    uses_inner_products = True


class SlowNormFace(SlowHead):
    scale_value = 20.0


class SlowCosFace(SlowHead):
    scale_value = 64.0

    def __init__(self, num_classes: int, margin: float = 0.35, scale: float | None = None) -> None:
        super().__init__(num_classes, scale)
        self.margin = margin

    def target(self, theta: Tensor) -> Tensor:
        return torch.cos(theta) - self.margin


class SlowArcFace(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float | None = None,
        gradient: str = "full",
        beyond_pi: str = "linear",
        easy_margin: bool = False,
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin, self.gradient = margin, gradient
        self.beyond_pi, self.easy_margin = beyond_pi, easy_margin

    def target(self, theta: Tensor) -> Tensor:
        value = self._value(theta)
        if self.gradient == "detached":  # the value of the formula, the derivative of cos θ
            return value.detach() + torch.cos(theta) - torch.cos(theta).detach()
        return value

    def _value(self, theta: Tensor) -> Tensor:
        if self.easy_margin:
            return torch.cos(theta + self.margin) if theta < math.pi / 2 else torch.cos(theta)
        if theta + self.margin <= math.pi or self.beyond_pi == "cos":
            return torch.cos(theta + self.margin)
        if self.beyond_pi == "clip":
            return torch.cos(theta) * 0 - 1
        if self.beyond_pi == "plain":
            return torch.cos(theta)
        return torch.cos(theta) - self.margin * math.sin(self.margin)
