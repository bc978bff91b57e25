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
    values: Rows, velocities: Rows | None, index: Index, gradient_TD: Tensor, rates: Rates
) -> None:
    """Move the rows of `index` by one step, in place."""
    center_TD = values.read(index)
    gradient_TD = gradient_TD.add(center_TD, alpha=rates.weight_decay)
    if velocities is not None:
        velocity_TD = velocities.read(index)
        gradient_TD = velocity_TD.mul_(rates.momentum).add_(gradient_TD)
        velocities.write(index, velocity_TD)
    values.write(index, center_TD.sub_(gradient_TD, alpha=rates.lr))


def move_without_gradient(
    values: Rows, velocities: Rows | None, index: Index, moves_T: Tensor, rates: Rates
) -> None:
    """Weight decay and momentum, in place, for those rows of `index` that `moves_T` marks.

    The others take a step of zero: which rows move is known to the device alone, and asking a GPU
    takes longer than their step.
    """
    lr, mu, decay = rates
    center_TD = values.read(index)
    moves_T1 = moves_T[:, None].to(center_TD.dtype)
    change_TD = center_TD * (moves_T1 * decay)
    if velocities is not None:
        velocity_TD = velocities.read(index)
        velocity_TD.mul_(moves_T1 * mu + (1 - moves_T1)).add_(change_TD)
        velocities.write(index, velocity_TD)
        torch.mul(velocity_TD, moves_T1, out=change_TD)
    values.write(index, center_TD.sub_(change_TD, alpha=lr))
