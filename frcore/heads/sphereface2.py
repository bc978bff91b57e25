"""SphereFace2: a binary classification per class, with one bias for all of them."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from frcore.errors import UserError
from frcore.heads.arcface import add_angle
from frcore.heads.base import FixedScaleHead, HeadBatch, Source


class SphereFace2(FixedScaleHead):
    """SphereFace2 (Wen et al. 2022, arXiv 2108.01513), variants C and A.

    Each class k is a separate binary classification, with g(c) = 2 ((c + 1) / 2)^t − 1:

        L = (w/r) [λ log(1 + exp(−z_y)) + (1 − λ) Σ_{k≠y} log(1 + exp(z_k))]

        C:  z_y = r (g(cos θ_y) − m) + b,        z_k = r (g(cos θ_k) + m) + b
        A:  z_y = r g(cos min(θ_y + m, π)) + b,  z_k = r g(cos θ_k) + b

    The bias b is trained. It starts where, with every angle at 90° as in a network before training,
    the target's push on b and that of all other classes cancel (`initial_bias`). The number
    of classes in that equation is that of the data set, whatever a sampler leaves out.

    Not included: variant M of the code (a factor on the angle), and the code's renormalisation of
    centres before each step, which is up to the centres' optimiser.

    Args:
        num_classes: C, at least 2.
        margin: m, a cosine in variant C and radians in variant A. 0.4 is the authors' code's
            default; their configurations have 0.3 (VGGFace2) and 0.5 (MS1M; variant A).
        scale: r; 40 in the code, 30 (VGGFace2) and 64 (MS1M) in its configurations.
        balance: λ, the weight of the target's loss against 1 − λ for each other class; "alpha" in
            the code: 0.7, and 0.8 for MS1M.
        exponent: t of g, which spreads the similarities; 3 in code and configurations.
        loss_weight: w, a factor on the whole ("lw" in the code); 50, and 10 for VGGFace2.
        variant: "C" moves the cosine of every class, "A" the target's angle.
        gradient: "full" is the derivative of the formula. "detached" takes z as r cos θ in the
            backward pass: what the authors' code does, because it computes g and the margin under
            `no_grad`; the loss is the same, the training is not.

    Raises:
        UserError: fewer than 2 classes.
    """

    reduction: ClassVar[Literal["logsumexp", "softplus_sum"]] = "softplus_sum"
    # According to the code, λ is the paper's Eq. 5; the final loss has no number there.
    source = Source(
        "Wen et al.",
        2022,
        "2108.01513",
        code="ydwen/opensphere:opensphere/module/head/sphereface2.py",
    )
    formula = ("r (g(c_y) − m) + b", "r (g(c_k) + m) + b")
    dialects = ("variant", "gradient")

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.4,
        # At most 500: the solution for b has exp(r m).
        scale: Annotated[float, Field(gt=0, le=500)] = 40.0,
        balance: Annotated[float, Field(gt=0, lt=1)] = 0.7,
        exponent: Annotated[float, Field(ge=1)] = 3.0,
        loss_weight: Annotated[float, Field(gt=0)] = 50.0,
        variant: Literal["C", "A"] = "C",
        gradient: Literal["full", "detached"] = "full",
    ) -> None:
        if num_classes < 2:
            raise UserError(
                f"sphereface2 with {num_classes} classes; it needs at least 2 classes, because its "
                "bias balances the target against the others: use more identities or another head"
            )
        super().__init__(num_classes, scale=scale)
        self.margin = float(margin)
        self.balance = float(balance)
        self.exponent = float(exponent)
        self.loss_weight = float(loss_weight)
        self.variant = variant
        self.gradient = gradient
        self.bias = nn.Parameter(torch.tensor(self._balanced_bias()))

    def _balanced_bias(self) -> float:
        """b that makes the head indifferent to b where every angle is 90°."""
        own, other = self._at_right_angle()
        return initial_bias(
            self.scale_value * own,
            self.scale_value * other,
            self.balance / ((1 - self.balance) * (self.num_classes - 1)),
        )

    def _at_right_angle(self) -> tuple[float, float]:
        """The target's and the others' entries at cos θ = 0, without b."""
        level = 2 * 0.5**self.exponent - 1
        if self.variant == "C":
            return level - self.margin, level + self.margin
        moved = math.cos(math.pi / 2 + self.margin)
        return 2 * ((moved + 1) / 2) ** self.exponent - 1, level

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """g(cos θ_y) − m or g(cos(θ_y + m)), and b/r."""
        if self.variant == "C":
            similarity_N = self._adjusted(cosine_N) - self.margin
        else:
            moved_N = add_angle(cosine_N, self.margin)
            # θ + m > π  ⇔  cos θ < cos(π − m); from there on the angle stays at π, as in the code.
            within_N = cosine_N > -math.cos(self.margin)
            similarity_N = self._adjusted(torch.where(within_N, moved_N, -1.0))
        return self._straight(similarity_N, cosine_N) + self.bias / self.scale_value

    def negative(self, cosine_NC: Tensor, target_N1: Tensor, batch: HeadBatch) -> Tensor:
        """g(cos θ_k) + m or g(cos θ_k), and b/r."""
        similarity_NC = self._adjusted(cosine_NC)
        if self.variant == "C":
            similarity_NC = similarity_NC + self.margin
        return self._straight(similarity_NC, cosine_NC) + self.bias / self.scale_value

    def row_loss(self, target_N: Tensor, reduced_N: Tensor) -> Tensor:
        """(w/r) [λ softplus(−z_y) + (1 − λ) R]."""
        own_N = self.balance * -F.logsigmoid(target_N)
        return (own_N + (1 - self.balance) * reduced_N) * (self.loss_weight / self.scale_value)

    def diagnostics(self) -> dict[str, Tensor]:
        """The bias b."""
        return {"bias": self.bias.detach().clone()}

    def _adjusted(self, cosine: Tensor) -> Tensor:
        """g."""
        # A cosine may round below −1, where a non-integer power is NaN.
        return 2 * ((cosine + 1) / 2).clamp_min(0).pow(self.exponent) - 1

    def _straight(self, similarity: Tensor, cosine: Tensor) -> Tensor:
        """`similarity`; with the derivative of the cosine if the gradient is "detached"."""
        if self.gradient == "full":
            return similarity
        return cosine + (similarity - cosine).detach()


def initial_bias(own: float, other: float, ratio: float) -> float:
    """The b for which σ(other + b) = ratio · σ(−own − b), σ being the logistic function.

    With `own` and `other` the logits of target and other classes and ratio = λ / ((1 − λ)(C − 1)),
    it is where λ log(1 + exp(−own − b)) + (1 − λ)(C − 1) log(1 + exp(other + b)) is smallest. With
    u = exp(other + b) it is a quadratic equation, exp(own − other) u² + (1 − ratio) u − ratio = 0.
    Its usual solution, which the authors' code has, is 0/0 in floating point for ratio > 1 (a
    handful of classes); this is the same root by asinh.
    """
    half = (other - own) / 2
    slope = (1 - ratio) / (2 * math.sqrt(ratio))
    return math.log(ratio) / 2 - (own + other) / 2 - math.asinh(slope * math.exp(half))
