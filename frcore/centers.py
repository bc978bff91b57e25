"""The optimiser of the class centres: it moves the active rows and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from frcore.classifier import Classifier


class CentersSGD(Optimizer):
    """SGD with momentum and weight decay on a classifier's centres, row by row.

    On the active rows of the latest forward it is `torch.optim.SGD`. The other rows keep their
    values and their momentum, as in Partial FC's first version; a plain SGD would move them by
    weight decay and by stale momentum.

    Args:
        classifier: whose centres.
        lr: learning rate.
        momentum: μ in v ← μ v + g, w ← w − lr v.
        weight_decay: λ in g ← g + λ w.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([classifier.centers], defaults)
        self._classifier = classifier
        (self.centers,) = self.param_groups[0]["params"]
        if momentum:
            # Allocated at once: a step that needs more memory than the one before is a trap.
            self.state[self.centers]["momentum"] = torch.zeros_like(self.centers)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the active centres by one step; returns what `closure` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._classifier.stepped = True
        if self.centers.grad is not None:
            self._move()
        return loss

    def _move(self) -> None:
        group = self.param_groups[0]
        velocity = self.state[self.centers].get("momentum")
        active = self._classifier.active
        if active is None:
            self._update(self.centers, self.centers.grad, velocity, group)
            return
        center_AD = self.centers[active]
        velocity_AD = None if velocity is None else velocity[active]
        self._update(center_AD, self.centers.grad[active], velocity_AD, group)
        self.centers[active] = center_AD
        if velocity is not None:
            velocity[active] = velocity_AD

    @staticmethod
    def _update(
        center_AD: torch.Tensor,
        gradient_AD: torch.Tensor,
        velocity_AD: torch.Tensor | None,
        group: dict[str, Any],
    ) -> None:
        gradient_AD = gradient_AD.add(center_AD, alpha=group["weight_decay"])
        if velocity_AD is not None:
            gradient_AD = velocity_AD.mul_(group["momentum"]).add_(gradient_AD)
        center_AD.sub_(gradient_AD, alpha=group["lr"])
