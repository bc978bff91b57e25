"""The optimiser of the class centres, which knows the rows used by a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from frcore.centers.autocast import without_autocast
from frcore.centers.deferred_updates import DeferredUpdates
from frcore.centers.gradient import CentersGradient
from frcore.centers.gradient_parts import GradientPart, RowsGradient, TileGradient, added
from frcore.centers.sgd import Rates, move_without_gradient
from frcore.centers.storage import (
    PlainRows,
    RoundedRows,
    Rows,
    bytes_of,
    copy_in_tiles,
    tiles,
)
from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.samplers.base import Sampler

CenterOptimizer = Literal["rowwise", "torch"]


class CentersSGD(Optimizer):
    """SGD with momentum and weight decay on a classifier's centres, row by row.

    On the columns of the forwards whose gradients it applies, it is `torch.optim.SGD`. What happens
    to the other rows is the sampler's `update`: with "sparse" they keep their values and their
    momentum, with "dense" weight decay and momentum move them at every step as a plain SGD would,
    and with "lazy" they do the same when they are next read (`frcore.centers.deferred_updates`).
    Whoever reads `classifier.centers` directly under "lazy" calls `classifier.synchronize()` first.

    A backend that streams leaves the centres' gradient to the optimiser, which computes and applies
    it tile by tile: no (C, D) gradient ever exists, and `centers.grad` is a `CentersGradient`,
    computed where it is asked for. A step uses it up: `zero_grad` comes between two steps.

    The momentum has the format that goes with the centres': float32 ("fp32"), or bfloat16 with
    stochastic rounding ("split"). The centres themselves move in float32 in either.

    Args:
        classifier: whose centres; on its device already.
        lr: learning rate.
        momentum: μ in v ← μ v + g, w ← w − lr v; 0 needs no memory.
        weight_decay: λ in g ← g + λ w.
        fused: False has the backward pass compute the gradient of the used rows, whatever the
            backend.
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
        self._seed = seed
        classifier.synchronize()  # the updates that an optimiser before this one has left
        if momentum:
            # Allocated at once: a step that needs more memory than the one before is a trap. Of the
            # centres' type: bfloat16 for the high halves of split ones.
            self._begin_momentum()
        else:
            self._attach()
        classifier.gradient_form = "tiles" if fused else "rows"

    def _attach(self) -> None:
        """Make tables of the tensors that there are now."""
        state = self.state[self.centers]
        self._values = self._classifier.table
        self._velocities: Rows | None = None
        if "momentum" in state:
            first = self._classifier.shard.start
            self._velocities = (
                RoundedRows(state["momentum"], state["seed"], state["time"], first)
                if self._is_split
                else PlainRows(state["momentum"])
            )
        defers = self._classifier.sampler.update == "lazy"
        self._updates = DeferredUpdates(self._values, self._velocities) if defers else None
        self._classifier.deferred_updates = self._updates

    def __getstate__(self) -> dict[str, Any]:
        # torch's own, which leaves out hooks and the `step` that a scheduler has bound to this very
        # optimiser; and what is not torch's.
        names = (
            "_is_split",
            "_seed",
            "_classifier",
            "centers",
            "_values",
            "_velocities",
            "_updates",
        )
        return {**super().__getstate__(), **{name: getattr(self, name) for name in names}}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refused after construction.

        Raises:
            UserError: always; there is one table of centres.
        """
        if self.param_groups:
            raise UserError(
                "CentersSGD with further parameters; it moves the centres of one classifier: give "
                "other parameters, the head's among them, to another optimiser"
            )
        super().add_param_group(param_group)

    @property
    def bytes_per_class(self) -> float:
        """Memory of centres and momentum, and of the step that each row is at under "lazy"."""
        updates = self._classifier.deferred_updates
        total = bytes_of(
            self.centers,
            self._classifier.center_low_CD,
            self.state[self.centers].get("momentum"),
            None if updates is None else updates.row_step_C,
        )
        return total / len(self.centers)

    @torch.no_grad()
    @without_autocast()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move the centres by one step; returns what `closure` does.

        Raises:
            UserError: a gradient that was applied already; centres that were changed since the
                forward pass, or replaced since this was built; split centres with a gradient that
                is a tensor, or one half of which was moved alone; another `CentersSGD` that knows
                which rows are behind.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._check_attached()
        gradient = self.centers.grad
        if gradient is None:
            return loss
        if isinstance(gradient, CentersGradient):
            gradient.check_usable()
            parts = gradient.parts
        elif self._is_split:
            raise UserError(
                "class centres in format 'split' with a gradient in centers.grad; allowed is what "
                "a forward in training mode leaves to the optimiser: call classifier.train() and "
                "zero_grad() before the forward"
            )
        else:
            parts = [RowsGradient(None, gradient)]
        for part in parts:
            part.check_current(self.centers)
        if self._rates.momentum and "momentum" not in self.state[self.centers]:
            self._begin_momentum()  # it was 0 when this was built
        self._advance()
        active = self._move(parts)
        if active is not None and self._classifier.sampler.update == "dense":
            self._move_the_rest(active)
        self._advance()
        if self._classifier.deferred_updates is not None:
            self._classifier.deferred_updates.record(active, self._rates)
        if isinstance(gradient, CentersGradient):
            gradient.use_up()
        self._classifier.count_write()
        return loss

    def _check_attached(self) -> None:
        """Refuse centres that are not those this was built for, or damaged."""
        classifier = self._classifier
        classifier.check_halves()
        low_CD = getattr(self._values, "low_CD", None)
        if classifier.centers is not self.centers or classifier.center_low_CD is not low_CD:
            raise UserError(
                "class centres that were replaced by others after CentersSGD was built; it would "
                "move the old ones: build it again, and load states without assign=True"
            )
        if classifier.deferred_updates is not self._updates:
            raise UserError(
                "a CentersSGD whose classifier has another one by now; with a sampler whose update "
                "is 'lazy' only the latest knows which centres are behind: use that one"
            )

    def _begin_momentum(self) -> None:
        self._classifier.synchronize()
        self.state[self.centers]["momentum"] = torch.zeros_like(self.centers)
        if self._is_split:
            self.state[self.centers].update(seed=self._seed, time=0)
        self._attach()

    @property
    def _rates(self) -> Rates:
        return Rates.of(self.param_groups[0])

    def _advance(self) -> None:
        """Rows that are rounded again get other random bits."""
        if isinstance(self._velocities, RoundedRows):
            self._velocities.time += 1

    def _move(self, parts: list[GradientPart]) -> Tensor | None:
        """Move the rows that have a gradient; gives them, None for all."""
        if not parts:  # set to zero, and no backward pass since
            nothing = torch.empty(0, dtype=torch.long, device=self._values.device)
            if self._classifier.sampler.leaves_out:
                return nothing
            self._classifier.synchronize()
            self._move_the_rest(nothing)
            return None
        together = all(part.active is None for part in parts) and len({*map(type, parts)}) == 1
        if len(parts) > 1 and not together:
            parts = [added(parts, len(self.centers))]
        return self._move_in_tiles(parts)

    def _move_in_tiles(self, parts: Sequence[GradientPart]) -> Tensor | None:
        if parts[0].active is None:
            self._classifier.synchronize()  # a training forward has caught up its columns only
        # A backend may have a kernel for the step of one batch.
        if len(parts) > 1 or not parts[0].apply_sgd(self._values, self._velocities, self._rates):
            for pieces in zip(*(part.tiles() for part in parts), strict=True):
                self._move_tile(pieces)
        return parts[0].active

    def _move_tile(self, parts: tuple[TileGradient, ...]) -> None:
        """SGD of some rows: v ← μ v + Σ weight · row + (λ − shrink) w, w ← w − lr v.

        The gradient's product is added to the momentum by the matrix product itself.
        """
        index, rates = parts[0].index, self._rates
        center_TD = self._values.read(index)
        velocities = self._velocities
        velocity_TD = torch.zeros_like(center_TD) if velocities is None else velocities.read(index)
        beta = rates.momentum
        decay: float | Tensor = rates.weight_decay
        for part in parts:
            part.add_to(velocity_TD, beta=beta)
            beta, decay = 1.0, decay - part.shrink_T1
        velocity_TD.addcmul_(center_TD, torch.as_tensor(decay))
        self._values.write(index, center_TD.sub_(velocity_TD, alpha=rates.lr))
        if velocities is not None:
            velocities.write(index, velocity_TD)

    def _move_the_rest(self, active: Tensor) -> None:
        """Weight decay and momentum for the rows that have no gradient."""
        rest = torch.ones(len(self.centers), dtype=torch.bool, device=active.device)
        rest.index_fill_(0, active, False)
        for part in tiles(len(rest)):
            move_without_gradient(self._values, self._velocities, part, rest[part], self._rates)

    def state_dict(self) -> dict[str, Any]:
        """The momentum, with no row behind."""
        self._classifier.synchronize()
        if isinstance(self._velocities, RoundedRows):
            self.state[self.centers]["time"] = self._velocities.time
        return super().state_dict()

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume with a saved momentum, which is copied into this one's memory.

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
        self._classifier.synchronize()
        own = self.state[self.centers].get("momentum")
        super().load_state_dict({**state_dict, "state": {}})
        if "momentum" in saved:
            own = torch.zeros_like(self.centers) if own is None else own
            copy_in_tiles(own, saved["momentum"])
            self.state[self.centers] = {**saved, "momentum": own}
        self._attach()


def build_centers_optimizer(
    name: CenterOptimizer, classifier: Classifier, *, seed: int = 0, **rates: Any
) -> Optimizer:
    """The centres' optimiser of a study: `CentersSGD` ("rowwise"), or torch's own SGD ("torch").

    torch's SGD takes a gradient (C, D) and moves every centre at every step. It serves as a
    reference.

    Args:
        name: which.
        classifier: whose centres.
        seed: of `CentersSGD`.
        rates: `lr`, `momentum` and `weight_decay`.

    Raises:
        UserError: torch's SGD with split centres, or with a sampler whose unsampled centres rest.
    """
    if name == "rowwise":
        return CentersSGD(classifier, seed=seed, **rates)
    if classifier.center_format != "fp32":
        raise UserError(
            f"center_optimizer 'torch' with center_format '{classifier.center_format}'; "
            "torch.optim.SGD moves 'fp32' centres only: set center_format to 'fp32', or "
            "center_optimizer to 'rowwise'"
        )
    check_moves_every_center(classifier.sampler)
    return torch.optim.SGD([classifier.centers], **rates)


def check_moves_every_center(sampler: Sampler) -> None:
    """Refuse a sampler that torch.optim.SGD cannot be used with.

    Raises:
        UserError: it leaves out centres that must stay fixed.
    """
    if sampler.leaves_out and sampler.update != "dense":
        raise UserError(
            f"center_optimizer 'torch' with a sampler whose update is '{sampler.update}'; "
            "torch.optim.SGD moves every centre at every step, which is 'dense': set the sampler's "
            "update to 'dense', or center_optimizer to 'rowwise'"
        )
