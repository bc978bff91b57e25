"""ElasticFace: a margin drawn for each row."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.components.random_stream import OwnGenerator
from frcore.heads.arcface import add_angle
from frcore.heads.base import FixedScaleHead, HeadBatch, Scale, Source

STREAM = int.from_bytes(b"head", "big")
"""Separates the margins' stream from those of the sampler and of the centres' initial values."""

MEANS = {"arc": 0.5, "cos": 0.35}
DEVIATIONS = {
    ("arc", "off"): 0.05,
    ("arc", "intended"): 0.0175,
    ("arc", "published"): 0.0175,
    ("cos", "off"): 0.05,
    ("cos", "intended"): 0.025,
    ("cos", "published"): 0.02,
}
"""σ of the paper; of the authors' config for "published", which differs in one place."""


class ElasticFace(FixedScaleHead):
    """ElasticFace, target s cos(θ_y + E), E ~ N(m, σ) per row (Boutros et al. 2022, Eq. 6 and 7).

    Each row of batch and queue gets its own draw at each step, so that a queued row gets
    another margin each time. The stream is the head's own: it follows from the classifier's seed,
    touches neither torch's global generator nor the sampler's stream, lives on the device of the
    cosines, and continues after a resume. In evaluation mode the margin is m. As in the
    authors' code nothing special happens where θ_y + E > π.

    Args:
        num_classes: number of classes.
        margin_type: "arc" has the target cos(θ_y + E) (Eq. 6), "cos" has cos θ_y − E (Eq. 7).
        margin: m, the mean of E; None is the paper's, 0.5 for "arc" and 0.35 for "cos".
        sigma: σ, the standard deviation of E; None is the paper's: 0.05, and with a `plus` 0.0175
            for "arc" and 0.025 for "cos" (0.02 for "published", as in the authors' config; the
            default of their classes is 0.0125).
        plus: how the draws of a step are assigned to its rows. "off" is random. "intended" is the
            paper's ElasticFace+: the smaller the target cosine in batch and queue, the larger the
            margin. "published" is the authors' code for it, which indexes with the sorting order
            instead of its inverse: margins and cosines are unrelated again.
        scale: s.
    """

    source: ClassVar[Source | None] = Source(
        "Boutros et al.",
        2022,
        "2109.09416",
        equation="Eq. 6 and 7",
        code="fdbtrs/ElasticFace:utils/losses.py",
    )
    formula: ClassVar[tuple[str, str]] = ("s cos(θ_y + E), E ~ N(m, σ)", "s c_k")
    dialects: ClassVar[tuple[str, ...]] = ("margin_type", "plus")

    def __init__(
        self,
        num_classes: int,
        *,
        margin_type: Literal["arc", "cos"] = "arc",
        margin: Annotated[float, Field(ge=0, lt=math.pi)] | None = None,
        sigma: Annotated[float, Field(ge=0)] | None = None,
        plus: Literal["off", "intended", "published"] = "off",
        scale: Scale = 64.0,
    ) -> None:
        super().__init__(num_classes, scale=scale)
        self.margin_type = margin_type
        self.margin = float(MEANS[margin_type] if margin is None else margin)
        self.sigma = float(DEVIATIONS[margin_type, plus] if sigma is None else sigma)
        self.plus = plus
        self.random = OwnGenerator(0, STREAM)

    def attach(self, *, seed: int) -> None:
        self.random = OwnGenerator(seed, STREAM)

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """cos(θ_y + E), or cos θ_y − E."""
        margin_N = self._margins(cosine_N.detach())
        if self.margin_type == "cos":
            return cosine_N - margin_N
        return add_angle(cosine_N, margin_N)

    def _margins(self, cosine_N: Tensor) -> Tensor:
        """E of each row."""
        if not self.training:
            return torch.full_like(cosine_N, self.margin)
        device = cosine_N.device
        # In float32 whatever the cosines are: the same draws, and as many, in every precision.
        draw_N = torch.randn(len(cosine_N), generator=self.random.on(device), device=device)
        margin_N = self.margin + self.sigma * draw_N.to(cosine_N.dtype)
        if self.plus == "off":
            return margin_N
        # order_N[i] is the row that has the i-th largest cosine.
        order_N = cosine_N.argsort(descending=True, stable=True)
        rising_N = margin_N.sort().values
        if self.plus == "published":
            return rising_N[order_N]
        return torch.empty_like(rising_N).scatter_(0, order_N, rising_N)

    def get_extra_state(self) -> dict[str, Any]:
        """The random stream, for `state_dict`."""
        return self.random.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with a saved stream."""
        self.random.load(state)
