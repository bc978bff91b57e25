"""The combined margin and SphereFace: margins that multiply the angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


def without_gradient_of_its_own(value: Tensor, theta: Tensor) -> Tensor:
    """The value given, the derivative of cos θ."""
    return value.detach() + torch.cos(theta) - torch.cos(theta).detach()


def psi(angle: Tensor) -> Tensor:
    """SphereFace's ψ of mθ, by looking for the interval [kπ, (k+1)π] that holds the angle."""
    k = 0
    while angle > (k + 1) * math.pi:
        k += 1
    return (-1) ** k * torch.cos(angle) - 2 * k


class SlowCombined(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        m1: float = 1.0,
        m2: float = 0.3,
        m3: float = 0.2,
        scale: float | None = None,
        gradient: str = "full",
        beyond_pi: str = "cos",
    ) -> None:
        super().__init__(num_classes, scale)
        self.m1, self.m2, self.m3 = m1, m2, m3
        self.gradient, self.beyond_pi = gradient, beyond_pi

    def target(self, theta: Tensor) -> Tensor:
        value = self._value(theta)
        if self.gradient == "detached":
            return without_gradient_of_its_own(value, theta)
        return value

    def _value(self, theta: Tensor) -> Tensor:
        angle = self.m1 * theta + self.m2
        if angle > math.pi:
            if self.beyond_pi == "clip":
                return theta * 0 - 1 - self.m3
            if self.beyond_pi == "fold":
                return psi(angle) - self.m3
            if self.beyond_pi == "linear":
                return torch.cos(theta) - self.m2 * math.sin(self.m2)
        return torch.cos(angle) - self.m3


class SlowSphereFace(SlowHead):
    def __init__(
        self,
        num_classes: int,
        margin: float = 4.0,
        scale: float | str = "norm",
        annealing: bool = True,
        lambda_base: float = 1000.0,
        gamma: float = 0.12,
        power: float = 1.0,
        lambda_min: float = 5.0,
        gradient: str = "full",
        beyond_pi: str = "fold",
    ) -> None:
        super().__init__(num_classes)
        self.margin, self.scale, self.annealing = margin, scale, annealing
        self.lambda_base, self.gamma = lambda_base, gamma
        self.power, self.lambda_min = power, lambda_min
        self.gradient, self.beyond_pi = gradient, beyond_pi
        self.step = 0

    def update(
        self, cosines: list[dict[int, float]], labels: list[int], norms: list[float]
    ) -> None:
        self.step += 1

    def target(self, theta: Tensor) -> Tensor:
        angle = self.margin * theta
        if self.beyond_pi == "fold":
            value = psi(angle)
        elif self.beyond_pi == "clip" and angle > math.pi:
            value = theta * 0 - 1
        else:
            value = torch.cos(angle)
        if self.annealing:
            divisor = math.pow(1 + self.gamma * self.step, self.power)
            weight = max(self.lambda_min, self.lambda_base / divisor)
            value = (weight * torch.cos(theta) + value) / (1 + weight)
        if self.gradient == "detached":
            return without_gradient_of_its_own(value, theta)
        return value

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        s = norm if self.scale == "norm" else self.scale
        out = {k: s * cosine for k, cosine in cosines.items()}
        out[label] = s * self.target(torch.arccos(cosines[label]))
        return out
