"""UniFace: a binary loss per class with one learned threshold for all of them."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source


class UniFace(FixedScaleHead):
    """UniFace, the unified cross-entropy loss (Zhou et al., ICCV 2023, Eq. 32).

        L = log(1 + exp(−z_y)) + λ Σ_{k≠y} log(1 + exp(z_k)),
        z_y = s (cos θ_y − m) − b,   z_k = s cos θ_k − b

    b/s is the one threshold between genuine and impostor similarities; it is trained. m = 0 and
    λ = 1 is the paper's L_uce (Eq. 23), λ = 1 alone its L_uce-m (Eq. 31).

    The paper's second way to balance, a share r of the negatives, concerns the columns and
    therefore the sampler: this head over `partial_fc` with `rate: r`. That is what the authors'
    code does (one draw per step, always including the batch's own classes), while their Eq. 32
    draws per pair. Their initial b counts the sampled columns: set `bias_rate` to that rate.

    Args:
        num_classes: C.
        margin: m; 0.4 in the authors' code, 0.4 to 0.45 in their experiments.
        scale: s; 64 throughout the paper.
        negative_weight: λ; 1 in the code, 0.6 to 0.7 best in the paper.
        bias_rate: r in the start b = log(10 r C), as in the authors' code: with every angle at 90°
            the r C columns then have a probability of about 1/(10 r C) each, 0.1 together. It
            has no other effect.
        clamp: clamp z to [−s, s], as the authors' code does against overflow; beyond it there is no
            gradient. Ours cannot overflow, so False is the formula.
    """

    reduction: ClassVar[Literal["logsumexp", "softplus_sum"]] = "softplus_sum"
    source = Source("Zhou et al.", 2023, "", "Eq. 23, 31, 32", "CVI-SZU/UniFace:head.py")
    formula = ("s (c_y − m) − b", "s c_k − b")
    dialects = ("clamp",)

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.4,
        scale: Scale = 64.0,
        negative_weight: Annotated[float, Field(gt=0)] = 1.0,
        bias_rate: Annotated[float, Field(gt=0, le=1)] = 1.0,
        clamp: bool = False,
    ) -> None:
        super().__init__(num_classes, scale=scale)
        self.margin = float(margin)
        self.negative_weight = float(negative_weight)
        self.clamp = clamp
        self.bias = nn.Parameter(torch.tensor(math.log(10 * bias_rate * num_classes)))

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos θ_y − m − b/s."""
        return self._held(cosine_N - self.margin - self.bias / self.scale_value)

    def negative(self, cosine_NC: Tensor, target_N1: Tensor, batch: HeadBatch) -> Tensor:
        """cos θ_k − b/s."""
        return self._held(cosine_NC - self.bias / self.scale_value)

    def row_loss(self, target_N: Tensor, reduced_N: Tensor) -> Tensor:
        """softplus(−z_y) + λ R."""
        return -F.logsigmoid(target_N) + self.negative_weight * reduced_N

    def diagnostics(self) -> dict[str, Tensor]:
        """The bias b; b/s is the threshold as a cosine."""
        return {"bias": self.bias.detach().clone()}

    def _held(self, entry: Tensor) -> Tensor:
        """z/s in [−1, 1], if the dialect says so."""
        return entry.clamp(-1, 1) if self.clamp else entry
