"""SphereFace: a multiplicative angular margin, annealed."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.heads.base import Head, HeadBatch, Source
from frcore.heads.combined import angle, detached, guarded_cosine


class SphereFace(Head):
    """SphereFace / A-Softmax (Liu et al. 2017, arXiv 1704.08063, Eq. 7).

    Target ‖x‖ (λ cos θ_y + ψ(θ_y)) / (1 + λ), other entries ‖x‖ cos θ_k, where

        ψ(θ) = (−1)^k cos(mθ) − 2k   for θ in [kπ/m, (k+1)π/m]

    falls over the whole of [0, π], for every m ≥ 1. λ anneals over the training steps t = 1, 2, …

        λ = max(λ_min, λ_0 (1 + γ t)^−p)

    as in the authors' Caffe layer (1000 to 5, γ = 0.12, p = 1); step and λ are saved as state and
    resume with it. That layer's backward pass is not reproduced: it rescales the
    gradient of the margin. The form that later papers compare with has no
    norms and no annealing: `{margin: 1.35, scale: 64, annealing: false}`.

    Args:
        num_classes: number of classes.
        margin: m, whole or not: 4 is the paper's, 1.35 the ArcFace paper's, 1.7 opensphere's.
        scale: "norm" is ‖x‖ of each row, as in the paper. A number is the cosine form: 64 in the
            ArcFace paper, 30 in opensphere.
        annealing: λ as above (the paper's code, SV-X-Softmax, cavaface). False is λ = 0, ψ alone
            from the first step (the paper's Eq. 7 by itself, opensphere).
        lambda_base: λ_0.
        gamma: γ; 0.12 in the authors' layer and cavaface, 0.0001 in SV-X-Softmax.
        power: p; 1 in the authors' layer and cavaface, 2 in SV-X-Softmax.
        lambda_min: λ_min.
        gradient: "full" is the derivative of the formula. "detached" has derivative 1 with respect
            to cos θ: opensphere's code, after SphereFace Revived (arXiv 2109.05565).
        beyond_pi: the rule at mθ > π. "fold" is ψ (the paper); "cos" is cos(mθ), which rises again
            (the ArcFace paper's combined margin, HaiyuWu's code); "clip" clamps mθ to π, where the
            target has no gradient (opensphere's SphereFace-R v1).
    """

    source = Source(
        "Liu et al.",
        2017,
        "1704.08063",
        "Eq. 7",
        "wy1iu/sphereface:tools/caffe-sphereface/src/caffe/layers/margin_inner_product_layer.cpp",
    )
    formula = ("‖x‖ (λ c_y + ψ(θ_y)) / (1 + λ), ψ = (−1)^k cos(m θ) − 2k", "‖x‖ c_k")
    dialects: ClassVar[tuple[str, ...]] = (
        "scale",
        "annealing",
        "gamma",
        "power",
        "gradient",
        "beyond_pi",
    )

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=1, le=8)] = 4.0,
        scale: Literal["norm"] | Annotated[float, Field(gt=0)] = "norm",
        annealing: bool = True,
        lambda_base: Annotated[float, Field(ge=0)] = 1000.0,
        gamma: Annotated[float, Field(ge=0)] = 0.12,
        power: Annotated[float, Field(ge=0)] = 1.0,
        lambda_min: Annotated[float, Field(ge=0)] = 5.0,
        gradient: Literal["full", "detached"] = "full",
        beyond_pi: Literal["fold", "cos", "clip"] = "fold",
    ) -> None:
        super().__init__(num_classes)
        self.margin = float(margin)
        self.fixed_scale = None if scale == "norm" else float(scale)
        self.annealing = annealing
        self.lambda_base, self.lambda_min = float(lambda_base), float(lambda_min)
        self.gamma, self.power = float(gamma), float(power)
        self.gradient = gradient
        self.beyond_pi = beyond_pi
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.steps: Tensor

    def update(self, batch: HeadBatch) -> None:
        """Count the step: the first one trains with λ of t = 1, as in the authors' layer."""
        self.steps += 1

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """(λ cos θ_y + ψ(θ_y)) / (1 + λ)."""
        target_N = guarded_cosine(self.margin * angle(cosine_N), self.beyond_pi)
        if self.annealing:
            weight = self._lambda(cosine_N.dtype)
            target_N = (weight * cosine_N + target_N) / (1 + weight)
        return detached(target_N, cosine_N) if self.gradient == "detached" else target_N

    def scale(self, batch: HeadBatch) -> Tensor | float:
        """‖x‖ of each row, or s."""
        return batch.norm_N if self.fixed_scale is None else self.fixed_scale

    def diagnostics(self) -> dict[str, Tensor]:
        """λ, where there is one."""
        return {"lambda": self._lambda(torch.float32)} if self.annealing else {}

    def _lambda(self, dtype: torch.dtype) -> Tensor:
        falling = self.lambda_base * (1 + self.gamma * self.steps.to(dtype)) ** -self.power
        return falling.clamp_min(self.lambda_min)

    def extra_repr(self) -> str:
        """Shown by `print(head)`."""
        scale = "norm" if self.fixed_scale is None else f"{self.fixed_scale:g}"
        return f"num_classes={self.num_classes}, margin={self.margin:g}, scale={scale}"
