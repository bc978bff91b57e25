"""What backward passes add to the gradient of the class centres: rows, or what computes them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

import torch
from torch import Tensor

from frcore.centers.sgd import Rates, move_rows
from frcore.centers.storage import Index, Rows, tiles

GradientForm = Literal["tensor", "rows", "tiles"]
"""What a backward pass leaves in `centers.grad`: a tensor (C, D); or a `CentersGradient` with the
gradient of the used rows, or with what computes it tile by tile."""


class TileGradient(ABC):
    """The gradient of some rows of the table.

    Attributes:
        index: the rows.
        shrink_T1: the gradient has the term −shrink · w, which `add_to` leaves out; 0 for none.
    """

    index: Index
    shrink_T1: Tensor | float

    @abstractmethod
    def add_to(self, sum_TD: Tensor, *, beta: float) -> None:
        """sum ← beta · sum + gradient, in place: all but the part along w."""

    def dense(self, center_TD: Tensor) -> Tensor:
        """The gradient (T, D) at the centres w."""
        gradient_TD = torch.zeros_like(center_TD)
        self.add_to(gradient_TD, beta=0.0)
        return gradient_TD.sub_(self.shrink_T1 * center_TD)


class GradientPart(ABC):
    """What one backward pass adds to the centres' gradient."""

    @property
    @abstractmethod
    def active(self) -> Tensor | None:
        """The rows that it concerns, sorted; None for all."""

    @abstractmethod
    def tiles(self) -> Iterator[TileGradient]:
        """The gradient tile by tile; the centres of a tile may be moved before the next."""

    @abstractmethod
    def read(self, index: Index) -> Tensor:
        """The centres that it was computed with."""

    @torch.no_grad()
    def rows(self) -> Tensor:
        """The gradient of its rows, (A, D)."""
        self.check_current()
        gradients = [tile.dense(self.read(tile.index)) for tile in self.tiles()]
        return torch.cat(gradients) if gradients else self.read(slice(0, 0))

    def dense(self, count: int) -> Tensor:
        """The gradient of a table of `count` rows."""
        gradient_AD = self.rows()
        if self.active is None:
            return gradient_AD
        whole_CD = gradient_AD.new_zeros(count, gradient_AD.shape[1])
        whole_CD[self.active] = gradient_AD
        return whole_CD

    @abstractmethod
    def scaled(self, factor: Tensor | float) -> Self:
        """It times a number."""

    @abstractmethod
    def is_finite(self) -> Tensor:
        """Whether it has neither NaN nor infinity, as a tensor of no dimension."""

    lasts = False
    """Whether it is the same once the centres have moved."""

    def check_current(self, center_CD: Tensor | None = None) -> None:  # noqa: B027
        """Refuse to compute from centres that are no longer those of the forward pass.

        Args:
            center_CD: those that a step is about to move.
        """

    def apply_sgd(self, values: Rows, velocities: Rows | None, rates: Rates) -> bool:
        """Move the rows by one step of SGD in a kernel of its own, in place.

        False, without doing anything, if there is no such kernel for these tables: the optimiser
        then iterates over `tiles`.
        """
        return False


@dataclass(frozen=True)
class _RowsTile(TileGradient):
    index: Index
    gradient_TD: Tensor
    shrink_T1: float = 0.0

    def add_to(self, sum_TD: Tensor, *, beta: float) -> None:
        sum_TD.mul_(beta).add_(self.gradient_TD)


@dataclass(frozen=True)
class RowsGradient(GradientPart):
    """A gradient that is there.

    Attributes:
        index_A: its rows in the table, sorted; None for all.
        gradient_AD: of these rows.
    """

    index_A: Tensor | None
    gradient_AD: Tensor
    lasts = True

    @property
    def active(self) -> Tensor | None:
        return self.index_A

    @torch.no_grad()
    def tiles(self) -> Iterator[_RowsTile]:
        for part in tiles(len(self.gradient_AD)):
            index = part if self.active is None else self.active[part]
            yield _RowsTile(index, self.gradient_AD[part])

    def rows(self) -> Tensor:
        return self.gradient_AD.clone()  # what asks for it may write to it

    def read(self, index: Index) -> Tensor:
        shape = self.gradient_AD[index] if isinstance(index, slice) else index
        return self.gradient_AD.new_zeros(len(shape), self.gradient_AD.shape[1])

    def scaled(self, factor: Tensor | float) -> Self:
        return replace(self, gradient_AD=self.gradient_AD * factor)

    def is_finite(self) -> Tensor:
        return self.gradient_AD.isfinite().all()

    def apply_sgd(self, values: Rows, velocities: Rows | None, rates: Rates) -> bool:
        for tile in self.tiles():
            move_rows(values, velocities, tile.index, tile.gradient_TD, rates)
        return True


@dataclass(frozen=True)
class WholeGradient(RowsGradient):
    """A gradient in a tensor of the table's shape, which others may hold views of and write to.

    Attributes:
        index_A: its rows in the table, sorted; None for all.
        gradient_AD: of the whole table, (C, D); 0 in other rows.
    """

    @torch.no_grad()
    def tiles(self) -> Iterator[_RowsTile]:
        count = len(self.gradient_AD if self.active is None else self.active)
        for part in tiles(count):
            index = part if self.active is None else self.active[part]
            yield _RowsTile(index, self.gradient_AD[index])

    def rows(self) -> Tensor:
        return self.gradient_AD.clone() if self.active is None else self.gradient_AD[self.active]

    def read(self, index: Index) -> Tensor:
        return torch.zeros_like(self.gradient_AD[index])


def confined(active: Tensor | None, whole_CD: Tensor) -> Tensor | None:
    """The rows `active`, if the others of a table are all 0; else None, for all."""
    if active is None:
        return None
    outside_C = whole_CD.count_nonzero(1) > 0
    outside_C[active] = False
    return None if outside_C.any() else active


def union(parts: Sequence[GradientPart]) -> Tensor | None:
    """The rows of any of some parts, sorted; None for all."""
    columns = [part.active for part in parts if part.active is not None]
    return torch.cat(columns).unique() if len(columns) == len(parts) > 0 else None


def added(parts: Sequence[GradientPart], count: int) -> GradientPart:
    """The sum of parts, at least one, of a table of `count` rows."""
    if len(parts) == 1:
        return parts[0]
    active = union(parts)
    if active is None:
        total_CD = parts[0].dense(count)
        for part in parts[1:]:
            total_CD += part.dense(count)
        return RowsGradient(None, total_CD)
    sum_AD: Tensor | None = None
    for part in parts:
        gradient_AD = part.rows()
        if sum_AD is None:
            sum_AD = gradient_AD.new_zeros(len(active), gradient_AD.shape[1])
        sum_AD[torch.searchsorted(active, cast(Tensor, part.active))] += gradient_AD
    return RowsGradient(active, cast(Tensor, sum_AD))
