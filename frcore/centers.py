"""The optimiser of the class centres, which knows which rows a step had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from frcore.classifier import Classifier
from frcore.lazy import TILE, LazyRows
from frcore.loss.deferred import CenterGradient, TileGradient
from frcore.loss.tiles import Index


class CentersSGD(Optimizer):
    """SGD with momentum and weight decay on a classifier's centres, row by row.

    On the active rows of the latest forward it is `torch.optim.SGD`. What happens to the others is
    the sampler's `update`: with "sparse" they keep their values and their momentum, with "dense"
    weight decay and momentum move them at every step as a plain SGD would, and with "lazy" they do
    the same when they are next read (`frcore.lazy`). Whoever reads `classifier.centers` directly
    under "lazy" calls `classifier.synchronize()` first.

    A backend that streams leaves the centres' gradient to the optimiser, which computes and applies
    it tile by tile: no (C, D) gradient ever exists, and `centers.grad` is None.

    Args:
        classifier: whose centres.
        lr: learning rate.
        momentum: μ in v ← μ v + g, w ← w − lr v.
        weight_decay: λ in g ← g + λ w.
        fused: False asks for the gradient as a tensor in `centers.grad`, whatever the backend.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        fused: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([classifier.centers], defaults)
        self._classifier = classifier
        (self.centers,) = self.param_groups[0]["params"]
        if momentum:
            # Allocated at once: a step that needs more memory than the one before is a trap.
            self.state[self.centers]["momentum"] = torch.zeros_like(self.centers)
        self._attach_lazy_rows()
        classifier.deferred = [] if fused else None

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
        if self._classifier.deferred:
            self._materialise() if self._must_materialise() else self._move_in_tiles()
        if self.centers.grad is not None:
            self._move()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of earlier batches, deferred ones too."""
        super().zero_grad(set_to_none)
        if self._classifier.deferred is not None:
            self._classifier.deferred.clear()

    def _must_materialise(self) -> bool:
        """Whether the deferred gradients cannot be applied tile by tile.

        Gradients of several batches with columns of their own do not share tiles.
        """
        deferred = self._classifier.deferred
        assert deferred is not None
        several = len(deferred) > 1 and any(part.columns.active is not None for part in deferred)
        return several or self.centers.grad is not None

    def _materialise(self) -> None:
        """Add the deferred gradients to `centers.grad`."""
        deferred = self._classifier.deferred
        assert deferred is not None
        for part in deferred:
            dense_CD = part.dense()
            self.centers.grad = (
                dense_CD if self.centers.grad is None else self.centers.grad.add_(dense_CD)
            )
        deferred.clear()

    def _move_in_tiles(self) -> None:
        deferred = self._classifier.deferred
        assert deferred is not None
        group = self.param_groups[0]
        velocity = self.state[self.centers].get("momentum")
        if not self._move_in_one_kernel(deferred, velocity, group):
            for tiles in zip(*(part.tiles() for part in deferred), strict=True):
                self._move_tile(tiles, velocity, group)
        active = deferred[0].columns.active
        deferred.clear()
        if active is not None and self._classifier.sampler.update == "dense":
            self._move_the_rest(active, velocity, group)
        self._record(active, group)

    def _move_in_one_kernel(
        self,
        deferred: list[CenterGradient],
        velocity: torch.Tensor | None,
        group: dict[str, Any],
    ) -> bool:
        """Whether the backend had a kernel for the step; several batches' gradients need tiles."""
        return len(deferred) == 1 and deferred[0].apply_sgd(
            self.centers.detach(),
            velocity,
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
        )

    def _move_tile(
        self,
        tiles: tuple[TileGradient, ...],
        velocity: torch.Tensor | None,
        group: dict[str, Any],
    ) -> None:
        """SGD of some rows: v ← μ v + Σ weight · row + (λ − shrink) w, w ← w − lr v.

        The gradient's product is added to the momentum by the matrix product itself.
        """
        index = tiles[0].index
        center_TD = self.centers[index]
        velocity_TD = torch.zeros_like(center_TD) if velocity is None else velocity[index]
        beta = group["momentum"]
        decay: float | torch.Tensor = group["weight_decay"]
        for tile in tiles:
            velocity_TD.addmm_(tile.weight_TM, tile.row_MD, beta=beta)
            beta, decay = 1.0, decay - tile.shrink_T1
        velocity_TD.addcmul_(center_TD, torch.as_tensor(decay))
        center_TD.sub_(velocity_TD, alpha=group["lr"])
        if not isinstance(index, slice):  # else views, moved in place
            self.centers[index] = center_TD
            if velocity is not None:
                velocity[index] = velocity_TD

    def _move_the_rest(
        self, active: torch.Tensor, velocity: torch.Tensor | None, group: dict[str, Any]
    ) -> None:
        """Weight decay and momentum for the rows that have no gradient."""
        rest = torch.ones(len(self.centers), dtype=torch.bool, device=active.device)
        rest[active] = False
        for start in range(0, len(self.centers), TILE):
            index = rest[start : start + TILE].nonzero().squeeze(1) + start
            zero_TD = torch.zeros_like(self.centers[index])
            self._move_rows(index, zero_TD, velocity, group)

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
            self._move_rows(active, self.centers.grad[active], velocity, group)
        self._record(active, group)

    def _record(self, active: torch.Tensor | None, group: dict[str, Any]) -> None:
        if self._classifier.lazy is not None:
            self._classifier.lazy.record(active, group)

    def _move_rows(
        self,
        index: Index,
        gradient_TD: torch.Tensor,
        velocity: torch.Tensor | None,
        group: dict[str, Any],
    ) -> None:
        if isinstance(index, slice):  # views: moved in place
            rows = None if velocity is None else velocity[index]
            self._update(self.centers[index], gradient_TD, rows, group)
            return
        center_TD = self.centers[index]
        velocity_TD = None if velocity is None else velocity[index]
        self._update(center_TD, gradient_TD, velocity_TD, group)
        self.centers[index] = center_TD
        if velocity is not None and velocity_TD is not None:
            velocity[index] = velocity_TD

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
