"""The contract of the slow twins of the heads: scalars, arccos and plain numbers."""

from __future__ import annotations

import torch
from torch import Tensor


class SlowHead:
    """Plain cosine softmax with the scale `scale_value`; heads override what they change.

    Cosines of a row are a dict from class to scalar tensor, with the target's among them.
    """

    scale_value = 1.0

    def __init__(self, num_classes: int, scale: float | None = None) -> None:
        self.num_classes = num_classes
        if scale is not None:
            self.scale_value = scale

    def parameters(self) -> dict[str, Tensor]:
        """What training moves, by the names of the head's own parameters."""
        return {}

    def update(
        self, cosines: list[dict[int, float]], labels: list[int], norms: list[float]
    ) -> None:
        """New state from the batch's rows; plain numbers, so without gradient."""

    def begin(self, target_cosines: list[float]) -> None:
        """After `update`, once per step: the target cosines of all rows, batch then queue."""

    def target(self, theta: Tensor) -> Tensor:
        return torch.cos(theta)

    def logits(
        self, cosines: dict[int, Tensor], label: int, norm: Tensor, row: int
    ) -> dict[int, Tensor]:
        """Logit of each class; `row` counts as in `begin`."""
        out = {k: self.scale_value * cosine for k, cosine in cosines.items()}
        out[label] = self.scale_value * self.target(torch.arccos(cosines[label]))
        return out

    def loss(self, logits: dict[int, Tensor], label: int) -> Tensor:
        """−log of the softmax's probability of `label`."""
        top = max(float(z.detach()) for z in logits.values())
        denominator = sum(torch.exp(z - top) for z in logits.values())
        return torch.log(torch.as_tensor(denominator)) + top - logits[label]

    def penalty(self, norm: Tensor) -> Tensor | float:
        return 0.0
