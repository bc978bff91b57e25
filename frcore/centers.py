"""The optimiser of the class centres, which knows which rows a step had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from frcore.classifier import Classifier
from frcore.lazy import LazyRows


class CentersSGD(Optimizer):
    """SGD with momentum and weight decay on a classifier's centres, row by row.

    On the active rows of the latest forward it is `torch.optim.SGD`. What happens to the others is
    the sampler's `update`: with "sparse" they keep their values and their momentum, with "dense"
    weight decay and momentum move them at every step as a plain SGD would, and with "lazy" they do
    the same when they are next read (`frcore.lazy`). Whoever reads `classifier.centers` directly
    under "lazy" calls `classifier.synchronize()` first.

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
        self._attach_lazy_rows()

    def _attach_lazy_rows(self) -> None:
        lazy = self._classifier.sampler.update == "lazy"
        velocity = self.state[self.centers].get("momentum")
        self._classifier.lazy = LazyRows(self.centers, velocity) if lazy else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the centres by one step; returns what `closure` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._classifier.stepped = True
        if self.centers.grad is not None:
            self._move()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The momentum, with no row behind."""
        self._classifier.synchronize()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved momentum."""
        super().load_state_dict(state_dict)
        self._attach_lazy_rows()  # the momentum is another tensor now

    def _move(self) -> None:
        group = self.param_groups[0]
        velocity = self.state[self.centers].get("momentum")
        update, active = self._classifier.sampler.update, self._classifier.active
        if active is None or update == "dense":
            self._update(self.centers, self.centers.grad, velocity, group)
        else:
            center_AD = self.centers[active]
            velocity_AD = None if velocity is None else velocity[active]
            self._update(center_AD, self.centers.grad[active], velocity_AD, group)
            self.centers[active] = center_AD
            if velocity is not None:
                velocity[active] = velocity_AD
        if self._classifier.lazy is not None:
            self._classifier.lazy.record(active, group)

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
