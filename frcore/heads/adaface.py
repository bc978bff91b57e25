"""AdaFace: the margin depends on image quality, which is read from the embedding's norm."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.heads.arcface import add_angle
from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source

EPS = 1e-3
"""`eps` of the authors' code: in the divisor, and the distance kept from angles 0 and π."""

NORM_RANGE = (0.001, 100.0)
"""The authors' code clips norms to this."""


class AdaFace(FixedScaleHead):
    """AdaFace, target s (cos(θ_y − m ẑ) − m ẑ − m) (Kim et al. 2022, Eq. 13-16).

    The quality ẑ = clip(h (‖x‖ − μ) / (σ + 0.001), −1, 1) has no gradient. μ and σ are running
    mean and standard deviation (of a sample: divisor N − 1) of the norms, from 20 and 100 on, with
    norms clipped to [0.001, 100] as in the authors' code. ẑ = −1 is ArcFace, 0 is CosFace, 1 a
    negative angular margin with m twice.

    μ and σ are float64 buffers, updated before the logits, in training mode only and from the
    batch's rows alone. A row of a queue has its own norm's quality by the μ and σ of the step. A
    batch of one row has no deviation and leaves σ as it was (the authors' code makes it NaN).

    Args:
        num_classes: number of classes.
        margin: m.
        h: concentration of ẑ.
        ema: weight of the new batch in μ and σ. 0.01 is what the authors' runs use (their `config`
            and README); the default of their class is 1.0, no memory at all, as in many
            copies. The paper's text has 0.99 for this weight, or for the other one.
        scale: s.
        edges: "clip" is the authors' code: cos θ_y is clipped to ±(1 − 0.001) and the angle
            θ_y − m ẑ to [0.001, π − 0.001], without gradient outside; the code does so for the
            other cosines as well, which do not get that close to 1. "none" is the paper's formula
            unchanged: where θ_y < m ẑ it pushes a row away from its centre.
    """

    source: ClassVar[Source | None] = Source(
        "Kim et al.",
        2022,
        "2204.00964",
        equation="Eq. 13-16",
        code="mk-minchul/AdaFace:head.py",
    )
    formula: ClassVar[tuple[str, str]] = ("s (cos(θ_y − m ẑ) − m ẑ − m)", "s c_k")
    dialects: ClassVar[tuple[str, ...]] = ("ema", "edges")

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, lt=math.pi / 2)] = 0.4,
        h: Annotated[float, Field(gt=0)] = 0.333,
        ema: Annotated[float, Field(gt=0, le=1)] = 0.01,
        scale: Scale = 64.0,
        edges: Literal["clip", "none"] = "clip",
    ) -> None:
        super().__init__(num_classes, scale=scale)
        self.margin, self.h, self.ema = float(margin), float(h), float(ema)
        self.edges = edges
        self.register_buffer("norm_mean", torch.tensor(20.0, dtype=torch.float64))
        self.register_buffer("norm_std", torch.tensor(100.0, dtype=torch.float64))
        self.norm_mean: Tensor
        self.norm_std: Tensor

    def update(self, batch: HeadBatch) -> None:
        """One step of μ and σ."""
        norm_N = batch.norm_N.double().clamp(*NORM_RANGE)
        self._move(self.norm_mean, norm_N.mean())
        if len(norm_N) > 1:
            self._move(self.norm_std, norm_N.std(correction=1))

    def _move(self, state: Tensor, value: Tensor) -> None:
        # Through float64 whatever a cast of the module has made of the buffer.
        state.copy_(torch.lerp(state.double(), value, self.ema))

    def quality(self, norm_N: Tensor) -> Tensor:
        """ẑ of each row, in [−1, 1], without gradient."""
        norm_N = norm_N.detach().clamp(*NORM_RANGE)
        z_N = self.h * (norm_N.double() - self.norm_mean) / (self.norm_std + EPS)
        return z_N.clamp(-1, 1).to(norm_N.dtype)

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos(θ_y + g_angle) − g_add."""
        shift_N = self.margin * self.quality(batch.norm_N)
        if self.edges == "clip":
            theta_N = cosine_N.clamp(EPS - 1, 1 - EPS).arccos()
            turned_N = (theta_N - shift_N).clamp(EPS, math.pi - EPS).cos()
        else:
            turned_N = add_angle(cosine_N, -shift_N)
        return turned_N - (shift_N + self.margin)

    def diagnostics(self) -> dict[str, Tensor]:
        """μ and σ."""
        return {"norm_mean": self.norm_mean.clone(), "norm_std": self.norm_std.clone()}
