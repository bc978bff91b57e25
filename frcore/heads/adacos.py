"""AdaCos: cosine softmax whose scale follows the training."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.heads.adacos_fixed import fixed_scale
from frcore.heads.base import Head, HeadBatch, Source


class AdaCos(Head):
    """Dynamic AdaCos, logits s(t) cos θ without a margin (Zhang et al. 2019, Eq. 13-15).

    s(0) = √2 log(C − 1), and before the logits of step t

        s(t) = log B_avg / cos(min(π/4, θ_med)),   B_avg = mean_i Σ_{k≠y_i} exp(s(t−1) cos θ_ik)

    where θ_med is the median target angle of the batch. No gradient flows through s. The state is
    a buffer, updated in training mode only: public copies keep it in a Python attribute, which is
    lost on resume, and some update it on validation data. Under a sampler that drops columns, B_avg
    is the sum over the columns of the softmax, because that is the softmax being scaled.
    Where that sum is 1 or less (a handful of columns, all far away) the equation has no positive
    solution, and the scale is left unchanged.

    Args:
        num_classes: number of classes; 3 or more.
        statistics: how B is computed. "batch_mean" is the paper's, with the previous step's scale;
            also 4uiiurz1/pytorch-adacos. "restarted" uses s(0) in place of s(t−1) at every step:
            copies with the scale in an attribute compute that on several GPUs under DataParallel
            (FaceX-Zoo); it cannot run away. "lagged" is ours: B of the previous step, with that
            step's own scale, which its loss computes anyway; the exact B needs a separate pass over
            the columns. "constant" is B = C − 1, over all classes whatever the
            sampler, the default of torchelie because the estimate "was not numerically stable";
            the scale then lies in [log(C−1), √2 log(C−1)] and falls as θ_med does.
        angle: what is used for θ_med. "median" is the paper's, with the mean of the middle two
            for an even number of rows. "lower_median" takes the lower of the two, as
            `torch.median` and so every PyTorch copy does. "quarter_pi" is always π/4: the effective
            value in copies that take the median over all classes, whose angles are close to π/2
            (4uiiurz1/pytorch-adacos until May 2019, and forks taken before).
        max_scale: upper limit of s, including the start; None is the paper's, no limit.
            B_avg is a mean of exponentials: where 5 % of a batch have another class at cos 0.9
            while θ_med is 45°, s grows without bound. Copies cap it at 100, or at
            2 s(0).

    Raises:
        UserError: fewer than three classes, for which s(0) is 0 or undefined.
    """

    statistics: ClassVar[frozenset[Literal["negative_logsumexp"]]] = frozenset(
        {"negative_logsumexp"}
    )
    source: ClassVar[Source | None] = Source(
        "Zhang et al.",
        2019,
        "1905.00292",
        equation="Eq. 13-15",
        code="4uiiurz1/pytorch-adacos:metrics.py",
    )
    formula: ClassVar[tuple[str, str]] = ("s(t) c_y", "s(t) c_k")
    dialects: ClassVar[tuple[str, ...]] = ("statistics", "angle", "max_scale")

    def __init__(
        self,
        num_classes: int,
        *,
        statistics: Literal["batch_mean", "restarted", "lagged", "constant"] = "batch_mean",
        angle: Literal["median", "lower_median", "quarter_pi"] = "median",
        max_scale: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.estimate = statistics
        if statistics in ("lagged", "constant"):
            self.statistics = frozenset()  # type: ignore[misc]  # a backend need not stream it
        self.angle = angle
        self.max_scale = math.inf if max_scale is None else float(max_scale)
        self.initial_scale = min(fixed_scale(num_classes), self.max_scale)
        # The scale is float64: it feeds back into itself at every step.
        scale = torch.tensor(self.initial_scale, dtype=torch.float64)
        self.register_buffer("scale_value", scale)
        self.scale_value: Tensor
        if statistics == "lagged":
            start = torch.tensor(math.log(num_classes - 1), dtype=torch.float64)
            self.register_buffer("log_b", start)
            self.log_b: Tensor

    def observe(self, reduced_N: Tensor) -> None:
        """Keep log B of this step's loss for the next step."""
        if self.estimate == "lagged":
            self.log_b.copy_(_log_mean_exp(reduced_N.double()))

    def update(self, batch: HeadBatch) -> None:
        """One step of Eq. 15."""
        scale = self._log_b(batch) / self._cosine(batch.cosine_N.double())
        scale = scale.clamp_max(self.max_scale)
        # By `where`, not `if`: no value is read back from the device.
        valid = (scale > 0) & scale.isfinite()
        self.scale_value.copy_(torch.where(valid, scale, self.scale_value))

    def _log_b(self, batch: HeadBatch) -> Tensor | float:
        """log B."""
        if self.estimate == "constant":
            return math.log(self.num_classes - 1)
        if self.estimate == "lagged":
            return self.log_b
        assert batch.negative_logsumexp is not None, "a backend offers what a head declares"
        known = self.scale_value if self.estimate == "batch_mean" else self.initial_scale
        return _log_mean_exp(batch.negative_logsumexp(known).double())

    def _cosine(self, cosine_N: Tensor) -> Tensor:
        """cos(min(π/4, θ_med)), a scalar."""
        if self.angle == "quarter_pi":
            return cosine_N.new_full((), math.cos(math.pi / 4))
        angle_N = cosine_N.clamp(-1, 1).arccos()
        median = angle_N.quantile(0.5) if self.angle == "median" else angle_N.median()
        return median.clamp_max(math.pi / 4).cos()

    def scale(self, batch: HeadBatch) -> Tensor:
        """s(t)."""
        # A copy: the next update changes the buffer, and this one is part of the graph.
        return self.scale_value.clone()

    def extra_repr(self) -> str:
        """Shown by `print(head)`."""
        return f"num_classes={self.num_classes}, scale={self.scale_value.item():.3f}"


def _log_mean_exp(x_N: Tensor) -> Tensor:
    """log of the arithmetic mean of exp(x): in log space, since s may be 64."""
    return torch.logsumexp(x_N, 0) - math.log(len(x_N))
