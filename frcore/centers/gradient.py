"""The centres' gradient, which knows its rows and is computed where it is needed.

`CentersGradient` is what a classifier with a `CentersSGD` finds in `centers.grad`. It belongs to
the backward passes that it comes from, so that forwards may follow one another in any order;
`zero_grad` of any module or optimiser forgets it, gradient scalers and clipping multiply it, and
`CentersSGD` applies it tile by tile, so that no (C, D) tensor exists. Whatever else is asked of it,
another optimiser's step for instance, is done with that tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from frcore.centers.sgd import Rates, move_rows
from frcore.centers.storage import Index, Rows, tiles
from frcore.errors import UserError

GradientForm = Literal["tensor", "rows", "tiles"]
"""What a backward pass leaves in `centers.grad`: a tensor (C, D); or a `CentersGradient` with the
gradient of the used rows, or with what computes it tile by tile."""

aten = torch.ops.aten


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

    def check_current(self, version: int) -> None:
        """Refuse centres that are no longer those of the forward pass."""

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
        return RowsGradient(None, torch.stack([part.dense(count) for part in parts]).sum(0))
    sum_AD: Tensor | None = None
    for part in parts:
        gradient_AD = part.rows()
        if sum_AD is None:
            sum_AD = gradient_AD.new_zeros(len(active), gradient_AD.shape[1])
        sum_AD[torch.searchsorted(active, cast(Tensor, part.active))] += gradient_AD
    return RowsGradient(active, cast(Tensor, sum_AD))


class CentersGradient(torch.Tensor):
    """The gradient of the centres as parts; to torch a tensor of the centres' shape and type.

    Args:
        parts: of the backward passes since the last `zero_grad`.
        center_CD: the centres.

    Attributes:
        parts: those that have not been applied.
        spent: whether `CentersSGD` has used them up; only `zero_grad` may follow.
    """

    parts: list[GradientPart]
    spent: bool

    def __new__(cls, parts: Sequence[GradientPart], center_CD: Tensor) -> CentersGradient:
        made = Tensor._make_wrapper_subclass(
            cls, center_CD.shape, dtype=center_CD.dtype, device=center_CD.device
        )
        made.parts, made.spent = list(parts), False
        return made

    def __init__(self, parts: Sequence[GradientPart], center_CD: Tensor) -> None: ...

    def __repr__(self, *, tensor_contents: Any = None) -> Any:
        return f"CentersGradient({len(self.parts)} parts, shape={tuple(self.shape)})"

    def dense(self) -> Tensor:
        """The gradient as a tensor (C, D)."""
        self.check_usable()
        if self.dtype == torch.bfloat16:
            raise UserError(
                "the gradient of class centres in format 'split' used as a tensor; it would move "
                "their high halves alone: only frcore.optimizer.CentersSGD moves both, so leave "
                "the centres out of other optimisers, or use center_format='fp32'"
            )
        if not self.parts:
            return torch.zeros(self.shape, dtype=self.dtype, device=self.device)
        return added(self.parts, len(self)).dense(len(self))

    def check_usable(self) -> None:
        """Refuse a gradient whose centres have moved."""
        if self.spent:
            raise UserError(
                "the gradient of class centres that CentersSGD has already applied; it is computed "
                "from the centres as they were: call zero_grad() after each step"
            )

    def use_up(self) -> None:
        """Note that a step has applied it; what lasts can be applied again, as a tensor can."""
        if not all(part.lasts for part in self.parts):
            self.parts, self.spent = [], True

    def scale(self, factor: Tensor | float) -> None:
        """Multiply it, in place."""
        self.check_usable()
        self.parts = [part.scaled(factor) for part in self.parts]

    def norm_of(self, order: float) -> Tensor:
        """The norm of all entries as one vector, without a (C, D) tensor where that can be."""
        self.check_usable()
        if not self.parts:
            return torch.zeros((), dtype=self.dtype, device=self.device)
        total = added(self.parts, len(self))
        norms = [
            torch.linalg.vector_norm(tile.dense(total.read(tile.index)), order)
            for tile in total.tiles()
        ]
        return torch.linalg.vector_norm(torch.stack(norms), order)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own is typed as what disables it
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = _HANDLERS.get(func)
        if handler is not None:
            result = handler(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return _with_tensors(func, args, kwargs or {})


def _with_tensors(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Any other operation: on (C, D) tensors, which become the gradient if it writes to them."""
    whole: dict[int, tuple[CentersGradient, Tensor]] = {}

    def tensor(x: Any) -> Any:
        if not isinstance(x, CentersGradient):
            return x
        if id(x) not in whole:
            whole[id(x)] = x, x.dense()
        return whole[id(x)][1]

    result = func(*tree_map(tensor, args), **tree_map(tensor, kwargs))
    if _writes(func):
        written = {id(x) for x in tree_flatten(_written(func, args, kwargs))[0]}
        for key, (gradient, whole_CD) in whole.items():
            if key in written:
                gradient.parts = _replaced(gradient.parts, whole_CD)
    back = {id(whole_CD): gradient for gradient, whole_CD in whole.values()}
    return tree_map(lambda x: back.get(id(x), x), result)


def _writes(func: Any) -> bool:
    return any(_is_written(argument) for argument in func._schema.arguments)


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operation writes to."""
    schema = func._schema.arguments
    return [
        args[n] if n < len(args) else kwargs.get(argument.name)
        for n, argument in enumerate(schema)
        if _is_written(argument)
    ]


def _replaced(parts: list[GradientPart], whole_CD: Tensor) -> list[GradientPart]:
    """The parts of a gradient whose tensor was written to: still of the same rows."""
    active = union(parts)
    return [RowsGradient(active, whole_CD if active is None else whole_CD[active])]


def _copy(gradient: CentersGradient, **options: Any) -> Any:
    if any(value not in (None, torch.preserve_format) for value in options.values()):
        return NotImplemented
    copied = CentersGradient(gradient.parts, gradient)
    copied.spent = gradient.spent
    return copied


def _add(one: Any, other: Any, *, alpha: float = 1) -> Any:
    both = isinstance(one, CentersGradient) and isinstance(other, CentersGradient)
    if not both or alpha != 1:
        return NotImplemented
    one.check_usable()
    return CentersGradient([*one.parts, *other.parts], one)


def _add_in_place(one: Any, other: Any, *, alpha: float = 1) -> Any:
    if not isinstance(one, CentersGradient) or alpha != 1:
        return NotImplemented
    one.check_usable()
    if isinstance(other, CentersGradient):
        one.parts.extend(other.parts)
    else:
        one.parts.append(RowsGradient(None, other.clone()))
    return one


def _scale_in_place(gradient: Any, factor: Any, *, invert: bool = False) -> Any:
    if not isinstance(gradient, CentersGradient) or (isinstance(factor, Tensor) and factor.dim()):
        return NotImplemented
    gradient.scale(1 / factor if invert else factor)
    return gradient


def _divide_in_place(gradient: Any, divisor: Any) -> Any:
    return _scale_in_place(gradient, divisor, invert=True)


def _zero(gradient: CentersGradient) -> CentersGradient:
    gradient.parts, gradient.spent = [], False
    return gradient


def _norm(
    gradient: CentersGradient,
    order: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    **options: Any,
) -> Any:
    if dim is not None or keepdim or options.get("dtype") is not None:
        return NotImplemented
    return gradient.norm_of(order)


def _unscale(gradients: list[Tensor], found_inf: Tensor, inverse_scale: Tensor) -> None:
    """What `GradScaler.unscale_` does: divide by the scale, and note what is not finite."""
    plain = [g for g in gradients if not isinstance(g, CentersGradient)]
    if plain:
        torch._amp_foreach_non_finite_check_and_unscale_(plain, found_inf, inverse_scale)
    for gradient in gradients:
        if isinstance(gradient, CentersGradient):
            for part in gradient.parts:
                found_inf.copy_(torch.maximum(found_inf, (~part.is_finite()).to(found_inf)))
            gradient.scale(inverse_scale)


_HANDLERS: dict[Any, Callable[..., Any]] = {
    aten.detach.default: _copy,
    aten.clone.default: _copy,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add_in_place,
    aten.mul_.Tensor: _scale_in_place,
    aten.mul_.Scalar: _scale_in_place,
    aten.div_.Tensor: _divide_in_place,
    aten.div_.Scalar: _divide_in_place,
    aten.zero_.default: _zero,
    aten.linalg_vector_norm.default: _norm,
    aten._amp_foreach_non_finite_check_and_unscale_.default: _unscale,
}
