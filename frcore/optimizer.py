"""The optimiser of the class centres, which knows which rows a step had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from frcore.centers.lazy import LazyRows
from frcore.centers.storage import (
    Index,
    PlainRows,
    RoundedRows,
    Rows,
    bytes_of,
    copy_in_tiles,
    tiles,
)
from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.loss.deferred import CenterGradient, TileGradient
from frcore.samplers.base import Sampler

CenterOptimizer = Literal["rowwise", "torch"]


class CentersSGD(Optimizer):
    """SGD with momentum and weight decay on a classifier's centres, row by row.

    On the active rows of the latest forward it is `torch.optim.SGD`. What happens to the others is
    the sampler's `update`: with "sparse" they keep their values and their momentum, with "dense"
    weight decay and momentum move them at every step as a plain SGD would, and with "lazy" they do
    the same when they are next read (`frcore.centers.lazy`). Whoever reads `classifier.centers`
    directly under "lazy" calls `classifier.synchronize()` first.

    A backend that streams leaves the centres' gradient to the optimiser, which computes and applies
    it tile by tile: no (C, D) gradient ever exists, and `centers.grad` is None.

    The momentum has the format that goes with the centres': float32 ("fp32"), or bfloat16 with
    stochastic rounding ("split"). The centres themselves move in float32 in either.

    Args:
        classifier: whose centres; on its device already.
        lr: learning rate.
        momentum: μ in v ← μ v + g, w ← w − lr v; 0 needs no memory.
        weight_decay: λ in g ← g + λ w.
        fused: False asks for the gradient as a tensor in `centers.grad`, whatever the backend.
        seed: of the momentum's rounding.

    Raises:
        UserError: `fused=False` for split centres.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        fused: bool = True,
        seed: int = 0,
    ) -> None:
        self._is_split = classifier.center_format == "split"
        if self._is_split and not fused:
            raise UserError(
                "fused=False for class centres in format 'split'; their gradient would be a "
                "bfloat16 tensor: leave fused=True, or use center_format='fp32'"
            )
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([classifier.centers], defaults)
        self._classifier = classifier
        (self.centers,) = self.param_groups[0]["params"]
        if momentum:
            # Allocated at once: a step that needs more memory than the one before is a trap.
            self._allocate(seed)
        self._attach()
        classifier.deferred = [] if fused else None

    def _allocate(self, seed: int) -> None:
        # Zeros of the centres' type: bfloat16 for the high halves of split ones.
        self.state[self.centers]["momentum"] = torch.zeros_like(self.centers)
        if self._is_split:
            self.state[self.centers].update(seed=seed, time=0)

    def _attach(self) -> None:
        """Make tables of the tensors that there are now."""
        state = self.state[self.centers]
        self._values = self._classifier.table
        self._velocities: Rows | None = None
        if "momentum" in state:
            self._velocities = (
                RoundedRows(state["momentum"], state["seed"], state["time"])
                if self._is_split
                else PlainRows(state["momentum"])
            )
        lazy = self._classifier.sampler.update == "lazy"
        self._classifier.lazy = LazyRows(self._values, self._velocities) if lazy else None

    @property
    def bytes_per_class(self) -> float:
        """Memory of centres and momentum, and of the step each lazy row is at."""
        lazy = self._classifier.lazy
        total = bytes_of(
            self.centers,
            self._classifier.center_low_CD,
            self.state[self.centers].get("momentum"),
            None if lazy is None else lazy.row_step_C,
        )
        return total / len(self.centers)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the centres by one step; returns what `closure` does.

        Raises:
            UserError: split centres have a gradient in `centers.grad`.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._classifier.stepped = True
        if self._is_split and self.centers.grad is not None:
            raise UserError(
                "class centres in format 'split' with a gradient in centers.grad; allowed is what "
                "a forward in training mode leaves to the optimiser: call classifier.train() and "
                "zero_grad() before the forward"
            )
        self._advance()
        if self._classifier.deferred:
            if self._shares_tiles():
                self._move_in_tiles()
            else:
                self._move(self._whole_gradient())
        elif self.centers.grad is not None:
            self._move(self.centers.grad)
        return loss

    def _advance(self) -> None:
        """Rows that are rounded again get other random bits."""
        if isinstance(self._velocities, RoundedRows):
            self._velocities.time += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of earlier batches, deferred ones too."""
        super().zero_grad(set_to_none)
        if self._classifier.deferred is not None:
            self._classifier.deferred.clear()

    def _shares_tiles(self) -> bool:
        """Whether the deferred gradients can be applied tile by tile.

        Those of several batches with columns of their own cannot.
        """
        deferred = self._classifier.deferred
        assert deferred is not None
        several = len(deferred) > 1 and any(part.columns.active is not None for part in deferred)
        return not several and self.centers.grad is None

    def _whole_gradient(self) -> torch.Tensor:
        """The deferred gradients, and `centers.grad` if there is one, as a tensor (C, D)."""
        deferred = self._classifier.deferred
        assert deferred is not None
        first, *others = deferred
        gradient_CD = first.dense()
        for part in others:
            gradient_CD += part.dense()
        if self.centers.grad is not None:
            gradient_CD += self.centers.grad
        deferred.clear()
        return gradient_CD

    def _move_in_tiles(self) -> None:
        deferred = self._classifier.deferred
        assert deferred is not None
        group = self.param_groups[0]
        if not self._move_in_one_kernel(deferred, group):
            for parts in zip(*(part.tiles() for part in deferred), strict=True):
                self._move_tile(parts, group)
        active = deferred[0].columns.active
        deferred.clear()
        if active is not None and self._classifier.sampler.update == "dense":
            self._move_the_rest(active, group)
        self._record(active, group)

    def _move_in_one_kernel(self, deferred: list[CenterGradient], group: dict[str, Any]) -> bool:
        """Whether the backend had a kernel for the step; several batches' gradients need tiles."""
        if len(deferred) > 1:
            return False
        return deferred[0].apply_sgd(
            self._values,
            self._velocities,
            lr=group["lr"],
            momentum=group["momentum"],
            weight_decay=group["weight_decay"],
        )

    def _move_tile(self, parts: tuple[TileGradient, ...], group: dict[str, Any]) -> None:
        """SGD of some rows: v ← μ v + Σ weight · row + (λ − shrink) w, w ← w − lr v.

        The gradient's product is added to the momentum by the matrix product itself.
        """
        index = parts[0].index
        center_TD, velocity_TD = self._read(index)
        if velocity_TD is None:
            velocity_TD = torch.zeros_like(center_TD)
        beta = group["momentum"]
        decay: float | torch.Tensor = group["weight_decay"]
        for part in parts:
            part.add_to(velocity_TD, beta=beta)
            beta, decay = 1.0, decay - part.shrink_T1
        velocity_TD.addcmul_(center_TD, torch.as_tensor(decay))
        center_TD.sub_(velocity_TD, alpha=group["lr"])
        self._write(index, center_TD, velocity_TD)

    def _move_the_rest(self, active: torch.Tensor, group: dict[str, Any]) -> None:
        """Weight decay and momentum for the rows that have no gradient."""
        rest = torch.ones(len(self.centers), dtype=torch.bool, device=active.device)
        rest[active] = False
        for part in tiles(len(rest)):
            self._move_rows(rest[part].nonzero().squeeze(1) + part.start, None, group)

    def _move(self, gradient_CD: torch.Tensor) -> None:
        group = self.param_groups[0]
        update, active = self._classifier.sampler.update, self._classifier.active
        if active is None or update == "dense":
            for index in tiles(len(gradient_CD)):
                self._move_rows(index, gradient_CD[index], group)
        else:
            self._move_rows(active, gradient_CD[active], group)
        self._record(active, group)

    def _record(self, active: torch.Tensor | None, group: dict[str, Any]) -> None:
        self._advance()
        if self._classifier.lazy is not None:
            self._classifier.lazy.record(active, group)

    def _move_rows(
        self, index: Index, gradient_TD: torch.Tensor | None, group: dict[str, Any]
    ) -> None:
        """SGD of some rows; None: they have no gradient."""
        center_TD, velocity_TD = self._read(index)
        gradient_TD = torch.zeros_like(center_TD) if gradient_TD is None else gradient_TD
        gradient_TD = gradient_TD.add(center_TD, alpha=group["weight_decay"])
        if velocity_TD is not None:
            gradient_TD = velocity_TD.mul_(group["momentum"]).add_(gradient_TD)
        center_TD.sub_(gradient_TD, alpha=group["lr"])
        self._write(index, center_TD, velocity_TD)

    def _read(self, index: Index) -> tuple[torch.Tensor, torch.Tensor | None]:
        velocity_TD = None if self._velocities is None else self._velocities.read(index)
        return self._values.read(index), velocity_TD

    def _write(
        self, index: Index, center_TD: torch.Tensor, velocity_TD: torch.Tensor | None
    ) -> None:
        self._values.write(index, center_TD)
        if self._velocities is not None and velocity_TD is not None:
            self._velocities.write(index, velocity_TD)

    def state_dict(self) -> dict[str, Any]:
        """The momentum, with no row behind."""
        self._classifier.synchronize()
        if isinstance(self._velocities, RoundedRows):
            self.state[self.centers]["time"] = self._velocities.time
        return super().state_dict()

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved momentum, which is copied into this one's memory.

        Raises:
            UserError: it was saved with centres of the other format.
        """
        saved = dict(state_dict["state"].get(0, {}))
        if saved and ("seed" in saved) != self._is_split:
            raise UserError(
                f"a momentum saved in {saved['momentum'].dtype} for class centres in format "
                f"'{self._classifier.center_format}'; formats must agree: resume with the "
                "center_format that was saved, or begin without the saved momentum"
            )
        own = self.state[self.centers].get("momentum")
        super().load_state_dict({**state_dict, "state": {}})
        if "momentum" in saved:
            own = torch.zeros_like(self.centers) if own is None else own
            copy_in_tiles(own, saved["momentum"])
            self.state[self.centers] = {**saved, "momentum": own}
        self._attach()


def build_centers_optimizer(
    name: CenterOptimizer,
    classifier: Classifier,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    seed: int = 0,
) -> Optimizer:
    """The centres' optimiser of a study: `CentersSGD` ("rowwise"), or torch's own SGD ("torch").

    torch's SGD takes a gradient (C, D) and moves every centre at every step. It is there to compare
    with.

    Raises:
        UserError: torch's SGD with split centres, or with a sampler whose unsampled centres rest.
    """
    if name == "rowwise":
        return CentersSGD(
            classifier, lr=lr, momentum=momentum, weight_decay=weight_decay, seed=seed
        )
    if classifier.center_format != "fp32":
        raise UserError(
            f"center_optimizer 'torch' with center_format '{classifier.center_format}'; "
            "torch.optim.SGD moves 'fp32' centres only: set center_format to 'fp32', or "
            "center_optimizer to 'rowwise'"
        )
    check_moves_every_center(classifier.sampler)
    return torch.optim.SGD(
        [classifier.centers], lr=lr, momentum=momentum, weight_decay=weight_decay
    )


def check_moves_every_center(sampler: Sampler) -> None:
    """Refuse a sampler that torch.optim.SGD does not go with.

    Raises:
        UserError: it leaves centres out that are to stand still.
    """
    if sampler.leaves_out and sampler.update != "dense":
        raise UserError(
            f"center_optimizer 'torch' with a sampler whose update is '{sampler.update}'; "
            "torch.optim.SGD moves every centre at every step, which is 'dense': set the sampler's "
            "update to 'dense', or center_optimizer to 'rowwise'"
        )
