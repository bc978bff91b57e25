"""Partial FC: the softmax over all positive and some negative class centres."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from frcore.random_stream import OwnGenerator
from frcore.samplers.base import Sampler


class PartialFC(Sampler):
    """Partial FC: all positives, filled up with uniform negatives to rate × C centres.

    An et al. 2021 (arXiv 2010.05222) and 2022 (arXiv 2203.15565). As in insightface's code, `rate`
    is the fraction of all centres including the positives, a batch with more positives than that
    uses its positives only, and there is no importance correction. Centres that are not sampled do
    not move: neither by weight decay nor by momentum (the papers' v1; insightface's v2 lets both
    act on every centre at every step).

    Args:
        rate: 1 is the full softmax; 0 the positives alone.
    """

    def __init__(self, *, rate: Annotated[float, Field(ge=0, le=1)]) -> None:
        super().__init__()
        self.rate = float(rate)
        self.random = OwnGenerator(seed=0)

    def attach(self, num_classes: int, dim: int, *, seed: int = 0) -> None:
        """See `Sampler.attach`."""
        super().attach(num_classes, dim, seed=seed)
        self.random = OwnGenerator(seed)

    def columns(self, label_M: Tensor) -> Tensor | None:
        """Sorted active centres: the positives and random negatives."""
        budget = int(self.rate * self.num_classes)
        if budget >= self.num_classes:
            return None
        if len(label_M) > budget:
            # There may be more positives than the budget; counting them is a host sync, which the
            # usual case (far fewer rows than sampled centres) never pays.
            positives = label_M.unique()
            budget = max(budget, len(positives))
        draw_C = torch.rand(
            self.num_classes, generator=self.random.on(label_M.device), device=label_M.device
        )
        draw_C[label_M] = 2.0  # above every draw, so that positives always rank first
        return draw_C.topk(budget).indices.sort().values

    def get_extra_state(self) -> dict[str, Any]:
        """The random stream, for `state_dict`."""
        return self.random.state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with a saved stream."""
        self.random.load(state)

    def extra_repr(self) -> str:
        """Shown by `print(sampler)`."""
        return f"rate={self.rate:g}"
