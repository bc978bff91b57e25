"""The combined margin: multiplicative, additive angular and additive cosine at once."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.errors import UserError
from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source, sine


class Combined(FixedScaleHead):
    """Combined margin, target s (cos(m1 θ_y + m2) − m3) (ArcFace, arXiv 1801.07698, Eq. 4).

    The default is the paper's CM1 (1, 0.3, 0.2); its CM2 is (0.9, 0.4, 0.15). All three margins act
    together, as in the paper's code; insightface's PyTorch class `CombinedMarginLoss` ignores m1
    and m2 where m3 > 0.

    Args:
        num_classes: number of classes.
        m1: multiplies the angle (SphereFace).
        m2: is added to the angle, in radians (ArcFace).
        m3: is subtracted from the cosine (CosFace).
        scale: s.
        gradient: "full" is the derivative of the formula, as in the paper's code. "detached" has
            derivative 1 with respect to cos θ: what insightface's `CombinedMarginLoss` computes for
            (1, m2, 0).
        beyond_pi: the rule where φ = m1 θ + m2 > π, so that cos φ would rise again. "cos" leaves it
            alone (the paper's code); "clip" clamps φ to π, where the target has no gradient; "fold"
            is SphereFace's (−1)^k cos φ − 2k with k = ⌊φ/π⌋, which keeps falling; "linear", for
            m1 = 1 only, is cos θ − m2 sin m2 without m3, so that the target jumps up at φ = π
            (cavaface).

    Raises:
        UserError: "linear" with m1 ≠ 1, which nobody has defined.
    """

    source = Source(
        "Deng et al.",
        2019,
        "1801.07698",
        "Eq. 4",
        "deepinsight/insightface:recognition/arcface_mxnet/train.py",
    )
    formula = ("s (cos(m1 θ_y + m2) − m3)", "s c_k")
    dialects: ClassVar[tuple[str, ...]] = ("gradient", "beyond_pi")

    def __init__(
        self,
        num_classes: int,
        *,
        m1: Annotated[float, Field(gt=0, le=4)] = 1.0,
        m2: Annotated[float, Field(ge=0, lt=math.pi)] = 0.3,
        m3: Annotated[float, Field(ge=0, le=1)] = 0.2,
        scale: Scale = 64.0,
        gradient: Literal["full", "detached"] = "full",
        beyond_pi: Literal["cos", "clip", "fold", "linear"] = "cos",
    ) -> None:
        super().__init__(num_classes, scale=scale)
        if beyond_pi == "linear" and m1 != 1:
            raise UserError(
                f"combined: beyond_pi = 'linear' with m1 = {m1:g}: the linear rule is defined for "
                "m1 = 1; use 'cos', 'clip' or 'fold', or m1 = 1"
            )
        self.margins = float(m1), float(m2), float(m3)
        self.gradient = gradient
        self.beyond_pi = beyond_pi

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos(m1 θ_y + m2) − m3 with the chosen rule beyond π."""
        m1, m2, m3 = self.margins
        angle_N = m1 * angle(cosine_N) + m2
        if self.beyond_pi == "linear":
            # φ > π  ⇔  cos θ < cos(π − m2) = −cos m2
            beyond_N = cosine_N - m2 * math.sin(m2)
            target_N = torch.where(cosine_N > -math.cos(m2), angle_N.cos() - m3, beyond_N)
        else:
            target_N = guarded_cosine(angle_N, self.beyond_pi) - m3
        return detached(target_N, cosine_N) if self.gradient == "detached" else target_N


def angle(cosine: Tensor) -> Tensor:
    """θ of cos θ, in (0, π), with a finite gradient at |cos θ| = 1."""
    return torch.atan2(sine(cosine), cosine)


def guarded_cosine(angle: Tensor, beyond_pi: Literal["cos", "clip", "fold"]) -> Tensor:
    """cos φ of angles φ ≥ 0 that may be above π.

    "fold" is (−1)^k cos φ − 2k with k = ⌊φ/π⌋: it and its derivative are continuous, and it never
    rises.
    """
    if beyond_pi == "clip":
        return angle.clamp_max(math.pi).cos()
    if beyond_pi == "fold":
        k = (angle.detach() / math.pi).floor()
        return (1 - 2 * (k % 2)) * angle.cos() - 2 * k
    return angle.cos()


def detached(target: Tensor, cosine: Tensor) -> Tensor:
    """The value of `target` with the gradient of `cosine`."""
    return cosine + (target - cosine).detach()
