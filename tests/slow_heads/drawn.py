"""Heads that draw: ElasticFace."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead

SIGMA = {
    "arc": {"off": 0.05, "intended": 0.0175, "published": 0.0175},
    "cos": {"off": 0.05, "intended": 0.025, "published": 0.02},
}


class SlowElasticFace(SlowHead):
    """Draws from a generator of its own, seeded as the head of a classifier of seed 0."""

    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin_type: str = "arc",
        margin: float | None = None,
        sigma: float | None = None,
        plus: str = "off",
        scale: float | None = None,
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin_type, self.plus = margin_type, plus
        self.mean = {"arc": 0.5, "cos": 0.35}[margin_type] if margin is None else margin
        self.sigma = SIGMA[margin_type][plus] if sigma is None else sigma
        sequence = np.random.SeedSequence([0, int(b"head".hex(), 16)])
        seed = int(sequence.generate_state(1, np.uint64)[0]) // 2
        self.generator = torch.Generator().manual_seed(seed)
        self.margins: list[float] = []

    def begin(self, target_cosines: list[float]) -> None:
        rows = range(len(target_cosines))
        draws = torch.randn(len(target_cosines), generator=self.generator).tolist()
        drawn = [self.mean + self.sigma * draw for draw in draws]
        nearest_first = sorted(rows, key=lambda row: -target_cosines[row])
        if self.plus == "off":
            self.margins = drawn
        elif self.plus == "intended":
            # the nearest row has the smallest margin, the next the next, and so on
            of_row = dict(zip(nearest_first, sorted(drawn), strict=True))
            self.margins = [of_row[row] for row in rows]
        else:
            # the authors' margin[idicate_cosie]: row i takes the margin at the place that the
            # sorting order has in its i-th entry
            self.margins = [sorted(drawn)[nearest_first[row]] for row in rows]

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        out = {k: self.scale_value * cosine for k, cosine in cosines.items()}
        margin = self.margins[row]
        if self.margin_type == "arc":
            moved = torch.cos(torch.arccos(cosines[label]) + margin)
        else:
            moved = cosines[label] - margin
        out[label] = self.scale_value * moved
        return out
