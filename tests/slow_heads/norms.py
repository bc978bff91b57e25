"""Heads whose margin follows the norm of the embedding: MagFace and AdaFace."""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


class SlowMagFace(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin_type: str = "arc",
        l_a: float = 10,
        u_a: float = 110,
        l_m: float | None = None,
        u_m: float = 0.8,
        lambda_g: float | None = None,
        scale: float | None = None,
        easy_margin: bool = True,
        beyond_pi: str = "linear",
    ) -> None:
        super().__init__(num_classes, scale)
        is_arc = margin_type == "arc"
        self.is_arc, self.easy_margin, self.beyond_pi = is_arc, easy_margin, beyond_pi
        self.l_a, self.u_a, self.u_m = l_a, u_a, u_m
        self.l_m = (0.45 if is_arc else 0.35) if l_m is None else l_m
        self.lambda_g = (35 if is_arc else 150) if lambda_g is None else lambda_g

    def bounded(self, norm: Tensor) -> Tensor:
        if norm < self.l_a:
            return torch.tensor(float(self.l_a), dtype=norm.dtype)
        if norm > self.u_a:
            return torch.tensor(float(self.u_a), dtype=norm.dtype)
        return norm

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        out = {k: self.scale_value * cosine for k, cosine in cosines.items()}
        share = (self.bounded(norm) - self.l_a) / (self.u_a - self.l_a)
        margin = self.l_m * (1 - share) + self.u_m * share
        out[label] = self.scale_value * self.moved(torch.arccos(cosines[label]), margin)
        return out

    def moved(self, theta: Tensor, margin: Tensor) -> Tensor:
        if not self.is_arc:
            return torch.cos(theta) - margin
        if self.easy_margin:
            return torch.cos(theta + margin) if theta < math.pi / 2 else torch.cos(theta)
        if theta + margin <= math.pi:
            return torch.cos(theta + margin)
        if self.beyond_pi == "plain":
            return torch.cos(theta)
        return torch.cos(theta) - margin * torch.sin(margin)

    def penalty(self, norm: Tensor) -> Tensor:
        a = self.bounded(norm)
        return self.lambda_g * (a / self.u_a**2 + 1 / a)


class SlowAdaFace(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.4,
        h: float = 0.333,
        ema: float = 0.01,
        scale: float | None = None,
        edges: str = "clip",
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin, self.h, self.ema, self.edges = margin, h, ema, edges
        self.mean, self.deviation = 20.0, 100.0

    def update(
        self, cosines: list[dict[int, float]], labels: list[int], norms: list[float]
    ) -> None:
        safe = [min(100.0, max(0.001, norm)) for norm in norms]
        self.mean = self.ema * statistics.fmean(safe) + (1 - self.ema) * self.mean
        if len(safe) > 1:
            new = statistics.stdev(safe)
            self.deviation = self.ema * new + (1 - self.ema) * self.deviation

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        out = {k: self.scale_value * cosine for k, cosine in cosines.items()}
        safe = min(100.0, max(0.001, float(norm.detach())))
        quality = (safe - self.mean) / (self.deviation + 0.001) * self.h
        quality = max(-1.0, min(1.0, quality))
        g_angle, g_add = -self.margin * quality, self.margin * quality + self.margin
        turned = self.turned(cosines[label], g_angle)
        out[label] = self.scale_value * (torch.cos(turned) - g_add)
        return out

    def turned(self, cosine: Tensor, g_angle: float) -> Tensor:
        if self.edges == "none":
            return torch.arccos(cosine) + g_angle
        if abs(cosine) > 0.999:
            cosine = torch.copysign(torch.tensor(0.999, dtype=cosine.dtype), cosine.detach())
        angle = torch.arccos(cosine) + g_angle
        if angle < 0.001:
            return angle.detach() * 0 + 0.001
        if angle > math.pi - 0.001:
            return angle.detach() * 0 + math.pi - 0.001
        return angle
