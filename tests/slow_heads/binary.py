"""Losses that are a binary classification per class: SphereFace2 and UniFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


def yes(logit: Tensor) -> Tensor:
    """−log of the probability 1 / (1 + e^−z) that the answer is yes."""
    return torch.log(1 + torch.exp(-logit))


def no(logit: Tensor) -> Tensor:
    """−log of the probability that the answer is no."""
    return torch.log(1 + torch.exp(logit))


def as_stored(value: float) -> Tensor:
    """A parameter starts in single precision."""
    return torch.tensor(value).double().requires_grad_()


class SlowSphereFace2(SlowHead):
    scale_value = 40.0

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.4,
        scale: float | None = None,
        balance: float = 0.7,
        exponent: float = 3.0,
        loss_weight: float = 50.0,
        variant: str = "C",
        gradient: str = "full",
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin, self.balance, self.exponent = margin, balance, exponent
        self.loss_weight, self.variant, self.gradient = loss_weight, variant, gradient
        self.bias = as_stored(self._start())

    def parameters(self) -> dict[str, Tensor]:
        return {"bias": self.bias}

    def _start(self) -> float:
        """By bisection: where dL/db = 0 with every angle at 90°."""
        right = torch.tensor(math.pi / 2, dtype=torch.float64)
        own, other = (float(self._entry(right, is_target=it)) for it in (True, False))
        low, high = -1e3, 1e3
        for _ in range(200):
            middle = (low + high) / 2
            pull = self.balance / (1 + math.exp(min(700, own + middle)))
            push = (1 - self.balance) * (self.num_classes - 1)
            push /= 1 + math.exp(min(700, -other - middle))
            low, high = (middle, high) if pull > push else (low, middle)
        return low

    def _entry(self, theta: Tensor, *, is_target: bool) -> Tensor:
        """r times the adjusted similarity, without b."""
        if self.variant == "A" and is_target:
            moved = theta + self.margin
            theta = moved if moved < math.pi else theta * 0 + math.pi
        similarity = 2 * ((torch.cos(theta) + 1) / 2) ** self.exponent - 1
        if self.variant == "C":
            similarity = similarity - self.margin if is_target else similarity + self.margin
        return self.scale_value * similarity

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        out = {}
        for k, cosine in cosines.items():
            z = self._entry(torch.arccos(cosine), is_target=k == label)
            if self.gradient == "detached":  # the value of the formula, the derivative of r cos θ
                z = z.detach() + self.scale_value * (cosine - cosine.detach())
            out[k] = z + self.bias
        return out

    def loss(self, logits: dict[int, Tensor], label: int) -> Tensor:
        total = self.balance * yes(logits[label])
        for k, z in logits.items():
            if k != label:
                total = total + (1 - self.balance) * no(z)
        return self.loss_weight / self.scale_value * total


class SlowUniFace(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.4,
        scale: float | None = None,
        negative_weight: float = 1.0,
        bias_rate: float = 1.0,
        clamp: bool = False,
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin, self.negative_weight, self.clamp = margin, negative_weight, clamp
        self.bias = as_stored(math.log(num_classes) + math.log(bias_rate) + math.log(10))

    def parameters(self) -> dict[str, Tensor]:
        return {"bias": self.bias}

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        out = {k: self.scale_value * cosine - self.bias for k, cosine in cosines.items()}
        out[label] = out[label] - self.scale_value * self.margin
        if self.clamp:
            out = {k: self._held(z) for k, z in out.items()}
        return out

    def _held(self, z: Tensor) -> Tensor:
        if abs(z) <= self.scale_value:
            return z
        return z * 0 + math.copysign(self.scale_value, float(z.detach()))

    def loss(self, logits: dict[int, Tensor], label: int) -> Tensor:
        negatives = [no(z) for k, z in logits.items() if k != label]
        return yes(logits[label]) + self.negative_weight * sum(negatives)
