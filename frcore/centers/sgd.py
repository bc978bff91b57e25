"""A step of SGD on some rows of a table: v ← μ v + g + λ w, w ← w − lr v."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from frcore.centers.storage import Index, Rows


class Rates(NamedTuple):
    """Learning rate, momentum μ and weight decay λ of a step."""

    lr: float
    momentum: float
    weight_decay: float

    @classmethod
    def of(cls, group: dict[str, Any]) -> Rates:
        """Those of an optimiser's group of parameters."""
        lr, momentum, weight_decay = group["lr"], group["momentum"], group["weight_decay"]
        return cls(float(lr), float(momentum), float(weight_decay))


def move_rows(
    values: Rows, velocities: Rows | None, index: Index, gradient_TD: Tensor | None, rates: Rates
) -> None:
    """Move the rows of `index` by one step, in place; None: they have no gradient."""
    center_TD = values.read(index)
    gradient_TD = torch.zeros_like(center_TD) if gradient_TD is None else gradient_TD
    gradient_TD = gradient_TD.add(center_TD, alpha=rates.weight_decay)
    if velocities is not None:
        velocity_TD = velocities.read(index)
        gradient_TD = velocity_TD.mul_(rates.momentum).add_(gradient_TD)
        velocities.write(index, velocity_TD)
    values.write(index, center_TD.sub_(gradient_TD, alpha=rates.lr))
