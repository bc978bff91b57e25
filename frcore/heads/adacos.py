"""AdaCos: cosine softmax whose scale follows the training."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from frcore.heads.adacos_fixed import fixed_scale
from frcore.heads.base import Head, HeadBatch


class AdaCos(Head):
    """Dynamic AdaCos (Zhang et al. 2019, arXiv 1905.00292, Eq. 13-15).

    s(0) = √2 log(C − 1), and before the logits of step t

        s(t) = log B_avg / cos(min(π/4, θ_med)),   B_avg = mean_i Σ_{k≠y_i} exp(s(t−1) cos θ_ik)

    where θ_med is the median target angle of the batch. No gradient flows through s. The state is
    a buffer, updated in training mode only: public copies keep it in a Python attribute, which a
    resume forgets, and some update it on validation data. Under a sampler that drops columns, B_avg
    is the sum over the columns which the softmax has, because that is the softmax being scaled.
    Where that sum is 1 or less (a handful of columns, all far away) the equation has no positive
    solution, and the scale stays as it was.
    """

    statistics: ClassVar[frozenset[Literal["negative_logsumexp"]]] = frozenset(
        {"negative_logsumexp"}
    )

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        # The scale is float64: it feeds back into itself at every step.
        scale = torch.tensor(fixed_scale(num_classes), dtype=torch.float64)
        self.register_buffer("scale_value", scale)
        self.scale_value: Tensor

    def update(self, batch: HeadBatch) -> None:
        """One step of Eq. 15."""
        assert batch.negative_logsumexp is not None, "a backend offers what a head declares"
        previous = self.scale_value
        lse_N = batch.negative_logsumexp(previous).double()
        # log of the arithmetic mean of exp(lse): exponentials stay in log space, where s may be 64.
        log_b_avg = torch.logsumexp(lse_N, 0) - math.log(len(lse_N))
        median = batch.cosine_N.double().clamp(-1, 1).arccos().quantile(0.5)
        scale = log_b_avg / torch.cos(median.clamp_max(math.pi / 4))
        # By `where`, not `if`: no value is read back from the device.
        self.scale_value.copy_(torch.where((scale > 0) & scale.isfinite(), scale, previous))

    def scale(self, batch: HeadBatch) -> Tensor:
        """s(t)."""
        # A copy: the next update changes the buffer, and this one is part of the graph.
        return self.scale_value.clone()

    def extra_repr(self) -> str:
        """Shown by `print(head)`."""
        return f"num_classes={self.num_classes}, scale={self.scale_value.item():.3f}"
