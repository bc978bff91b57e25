"""Updates that dense SGD makes at every step, applied exactly when a row is next read.

Without a gradient, a step of SGD with momentum μ, weight decay λ and learning rate η_t is linear
in a row's value w and velocity v:

    v' = μ v + λ w,   w' = w − η_t v'      ⇔      (w, v)' = A_t (w, v)

    A_t = [[1 − η_t λ, −η_t μ], [λ, μ]]

so that a row untouched for k steps catches up by one 2 × 2 product A_t ⋯ A_{t−k+1}. A sampled
step then costs what the sampled rows cost, and the result is that of the dense optimiser.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from frcore.centers.sgd import Rates
from frcore.centers.storage import TILE, Index, Rows, tiles

HORIZON = 512
"""Steps after which all rows are caught up: the table of products is this long."""


class DeferredUpdates:
    """Values and velocities whose rows may be behind.

    Args:
        values: updated in place.
        velocities: updated in place; None without momentum.
    """

    def __init__(self, values: Rows, velocities: Rows | None) -> None:
        self.values, self.velocities = values, velocities
        self.step = 0
        """Steps taken; at most HORIZON, then counting restarts."""
        self.behind = False
        """Whether any row may be behind."""
        device = values.device
        self.row_step_C = torch.zeros(len(values), dtype=torch.int32, device=device)
        # products[k]: of the last k steps. Suffixes, not quotients of prefixes: with μ = 0.9 a
        # prefix of 512 steps has condition 1e23.
        self.products = torch.eye(2, dtype=torch.float64, device=device).repeat(HORIZON + 1, 1, 1)

    def record(self, moved: Tensor | None, rates: Rates) -> None:
        """Note a step that moved the rows `moved` (None: all) by the optimiser's own rule."""
        eta, mu, decay = rates
        step = torch.tensor([[1 - eta * decay, -eta * mu], [decay, mu]], dtype=torch.float64)
        self.products[1:] = step.to(self.products.device, non_blocking=True) @ self.products[:-1]
        self.step += 1
        if moved is None:
            self.forget()
            return
        self.row_step_C[moved] = self.step
        self.behind = True
        if self.step == HORIZON:
            self.catch_up(None)

    def catch_up(self, index: Tensor | None) -> None:
        """Bring the rows of `index`, or all, to the present step."""
        if not self.behind:
            return
        if index is not None:
            self._catch_up(index)
            self.row_step_C[index] = self.step
            return
        for rows in tiles(len(self.values), TILE):  # no second copy of the table
            self._catch_up(rows)
        self.forget()

    def _catch_up(self, rows: Index) -> None:
        age = (self.step - self.row_step_C[rows]).long()
        value = self.values.read(rows)
        product = self.products[age].to(value.dtype)[..., None]
        caught_up = product[:, 0, 0] * value
        if self.velocities is not None:
            velocity = self.velocities.read(rows)
            caught_up += product[:, 0, 1] * velocity
            velocity.mul_(product[:, 1, 1]).add_(product[:, 1, 0] * value)
            self.velocities.write(rows, velocity)
        self.values.write(rows, value.copy_(caught_up))

    def forget(self) -> None:
        """All rows are up to date: restart counting."""
        self.step, self.behind = 0, False
        self.row_step_C.zero_()

    def state_dict(self) -> dict[str, Any]:
        """How far each row is behind, for a checkpoint that catches nothing up."""
        age_C = self.step - self.row_step_C
        return {"step": self.step, "age_C": age_C, "products": self.products}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with rows that are behind; a `step` of None is that of the row furthest behind."""
        age_C = state["age_C"].to(self.row_step_C.device)
        step = state["step"]
        self.step = int(age_C.max()) if step is None and len(age_C) else step or 0
        self.row_step_C.copy_(self.step - age_C)
        self.products.copy_(state["products"])
        self.behind = self.step > 0
