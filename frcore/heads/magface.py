"""MagFace: the margin grows with the embedding's norm, and a large norm is rewarded."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.arcface import add_angle
from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source

OWN_DEFAULTS = {"arc": (0.45, 35.0), "cos": (0.35, 150.0)}
"""l_m and λ_g of the authors' run.sh and run_dist_cos.sh."""

Margin = Annotated[float, Field(ge=0, lt=math.pi)]
Norm = Annotated[float, Field(gt=0)]


class MagFace(FixedScaleHead):
    """MagFace, target s cos(θ_y + m(a)) plus λ_g g(a) per row (Meng et al. 2021, Sec. 3.2).

    a = ‖x‖ clipped to [l_a, u_a]; m(a) is linear from l_m at l_a to u_m at u_a; the penalty
    g(a) = 1/a + a/u_a² falls until u_a. The gradient flows through a in both, as in the authors'
    code: m(a) pulls hard rows towards the origin, g(a) pushes easy ones away from it. Outside
    [l_a, u_a] the norm has no gradient. For one optimal norm per row the paper requires
    λ_g ≥ s m' / −g'(l_a): 22.6 at the defaults of "arc", 29.0 at those of "cos".

    Args:
        num_classes: number of classes.
        margin_type: "arc" is the paper's, cos(θ_y + m(a)). "cos" is Mag-CosFace of the authors'
            code and of later versions of the paper, cos θ_y − m(a), with different defaults.
        l_a: smallest norm.
        u_a: largest norm.
        l_m: margin at l_a, in radians for "arc"; None is the value of the authors' runs, 0.45 for
            "arc" and 0.35 for "cos".
        u_m: margin at u_a.
        lambda_g: weight λ_g of the penalty; None is the value of the authors' runs, 35 for "arc"
            and 150 for "cos" (the default of their trainers is 20).
        scale: s.
        easy_margin: true has the margin only where cos θ_y > 0: what the authors' runs use, being
            the default of their class. False is ArcFace's rule instead, cos θ_y − m sin m where
            θ_y + m > π. "cos" has no such rule and ignores this.
        beyond_pi: without `easy_margin`, the rule where θ_y + m > π: "linear", or "plain", cos θ_y
            without a margin, so that the target jumps up (FaceX-Zoo's code).

    Raises:
        UserError: l_a is not below u_a, or l_m is above u_m.
    """

    source: ClassVar[Source | None] = Source(
        "Meng et al.",
        2021,
        "2103.06627",
        equation="Sec. 3.2",
        code="IrvingMeng/MagFace:models/magface.py",
    )
    formula: ClassVar[tuple[str, str]] = ("s cos(θ_y + m(‖x‖)), and + λ_g g(‖x‖)", "s c_k")
    dialects: ClassVar[tuple[str, ...]] = ("margin_type", "easy_margin", "beyond_pi")

    def __init__(
        self,
        num_classes: int,
        *,
        margin_type: Literal["arc", "cos"] = "arc",
        l_a: Norm = 10.0,
        u_a: Norm = 110.0,
        l_m: Margin | None = None,
        u_m: Margin = 0.8,
        lambda_g: Annotated[float, Field(ge=0)] | None = None,
        scale: Scale = 64.0,
        easy_margin: bool = True,
        beyond_pi: Literal["linear", "plain"] = "linear",
    ) -> None:
        super().__init__(num_classes, scale=scale)
        own_l_m, own_lambda_g = OWN_DEFAULTS[margin_type]
        l_m = own_l_m if l_m is None else l_m
        if l_a >= u_a or l_m > u_m:
            raise UserError(
                f"magface with l_a = {l_a:g}, u_a = {u_a:g}, l_m = {l_m:g}, u_m = {u_m:g}; needed "
                "are l_a < u_a and l_m ≤ u_m: the margin grows with the norm"
            )
        self.margin_type = margin_type
        self.l_a, self.u_a, self.l_m, self.u_m = float(l_a), float(u_a), float(l_m), float(u_m)
        self.lambda_g = float(own_lambda_g if lambda_g is None else lambda_g)
        self.easy_margin = easy_margin
        self.beyond_pi = beyond_pi

    def margin(self, norm_N: Tensor) -> Tensor:
        """m(a) of each row."""
        slope = (self.u_m - self.l_m) / (self.u_a - self.l_a)
        return slope * (norm_N.clamp(self.l_a, self.u_a) - self.l_a) + self.l_m

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos(θ_y + m(a)), or cos θ_y − m(a)."""
        margin_N = self.margin(batch.norm_N)
        if self.margin_type == "cos":
            return cosine_N - margin_N
        target_N = add_angle(cosine_N, margin_N)
        if self.easy_margin:
            return torch.where(cosine_N > 0, target_N, cosine_N)
        beyond_N = cosine_N
        if self.beyond_pi == "linear":
            beyond_N = cosine_N - margin_N * margin_N.sin()
        return torch.where(cosine_N > -margin_N.cos(), target_N, beyond_N)

    def penalty(self, batch: HeadBatch) -> Tensor:
        """λ_g g(a); a row of a queue has one too, without a gradient."""
        norm_N = batch.norm_N.clamp(self.l_a, self.u_a)
        return self.lambda_g * (1 / norm_N + norm_N / self.u_a**2)
