"""The centres' gradient, which knows its rows and is computed where it is needed.

`CentersGradient` is what a classifier with a `CentersSGD` finds in `centers.grad`. It belongs to
the backward passes that it comes from, so that forwards may follow one another in any order;
`zero_grad` of any module or optimiser forgets it, gradient scalers and clipping multiply it, and
`CentersSGD` applies it tile by tile, so that no (C, D) tensor exists. Whatever else is asked of it,
another optimiser's step for instance, is done with that tensor (docs/loops.md, decision 0019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import enable_reentrant_dispatch
from torch.utils._pytree import tree_leaves, tree_map

from frcore.centers.autocast import without_autocast
from frcore.centers.gradient_parts import (
    GradientPart,
    RowsGradient,
    WholeGradient,
    added,
    confined,
    union,
)
from frcore.errors import UserError

aten = torch.ops.aten


@dataclass
class _Held:
    """What a gradient and its aliases (`detach`, `.data`) share."""

    parts: list[GradientPart]
    spent: bool = False


class CentersGradient(torch.Tensor):
    """The gradient of the centres as parts; to torch a tensor of the centres' shape and type.

    Args:
        parts: of the backward passes since the last `zero_grad`.
        like: the centres, or anything of their shape, type and device.
        held: of the gradient that this one is an alias of.
    """

    _held: _Held

    def __new__(
        cls, parts: Sequence[GradientPart], like: Tensor, held: _Held | None = None
    ) -> CentersGradient:
        made = Tensor._make_wrapper_subclass(cls, like.shape, dtype=like.dtype, device=like.device)
        made._held = held or _Held(list(parts))
        return made

    def __init__(
        self, parts: Sequence[GradientPart], like: Tensor, held: _Held | None = None
    ) -> None: ...

    @property
    def parts(self) -> list[GradientPart]:
        """Those that have not been applied."""
        return self._held.parts

    @parts.setter
    def parts(self, parts: list[GradientPart]) -> None:
        self._held.parts = parts

    @property
    def spent(self) -> bool:
        """Whether `CentersSGD` has used them up; only `zero_grad` may follow."""
        return self._held.spent

    @property
    def is_split(self) -> bool:
        """Whether it is of high halves; it is computed in float32 all the same."""
        return self.dtype == torch.bfloat16

    @property
    def is_viewed(self) -> bool:
        """Whether it is a tensor that others may hold views of."""
        return any(isinstance(part, WholeGradient) for part in self.parts)

    def __repr__(self, *, tensor_contents: Any = None) -> Any:  # type: ignore[override]
        return f"CentersGradient({len(self.parts)} parts, shape={tuple(self.shape)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> CentersGradient:
        copied: CentersGradient = memo.setdefault(id(self), self.clone())
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.dense().__reduce_ex__(protocol)  # a file has the tensor, and no class of ours

    def numpy(self, *, force: bool = False) -> Any:
        return self.dense().numpy(force=force)

    def tolist(self) -> Any:
        return self.dense().tolist()

    @without_autocast()
    def dense(self) -> Tensor:
        """The gradient as a tensor (C, D): the one that others have views of, if there is."""
        self.check_usable()
        if not self.parts:
            dtype = torch.float32 if self.is_split else self.dtype
            return torch.zeros(self.shape, dtype=dtype, device=self.device)
        if len(self.parts) == 1 and isinstance(self.parts[0], WholeGradient):
            return self.parts[0].gradient_AD
        return added(self.parts, len(self)).dense(len(self))

    def check_usable(self) -> None:
        """Refuse a gradient whose centres have moved."""
        if self.spent:
            raise UserError(
                "the gradient of class centres that CentersSGD has already applied; it is computed "
                "from the centres as they were: call zero_grad() after each step"
            )
        for part in self.parts:
            part.check_current()

    def use_up(self) -> None:
        """Note that a step has applied it; what lasts can be applied again, as a tensor can."""
        if not all(part.lasts for part in self.parts):
            self._held.parts, self._held.spent = [], True

    def scale(self, factor: Tensor | float) -> None:
        """Multiply it, in place."""
        self.check_usable()
        self.parts = [part.scaled(factor) for part in self.parts]

    def norm_of(self, order: float) -> Tensor:
        """The norm of all entries as one vector, without a (C, D) tensor where that can be.

        Args:
            order: above 0.
        """
        self.check_usable()
        tiles = added(self.parts, len(self)) if self.parts else None
        if tiles is None or not len(self):
            return torch.zeros((), dtype=self.dtype, device=self.device)
        norms = [
            torch.linalg.vector_norm(tile.dense(tiles.read(tile.index)), order)
            for tile in tiles.tiles()
        ]
        if not norms:
            return torch.zeros((), dtype=self.dtype, device=self.device)
        return torch.linalg.vector_norm(torch.stack(norms), order)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own is typed as what disables it
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        handler = _HANDLERS.get(func)
        if handler is not None:
            with _computing():
                result = handler(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return _with_tensors(func, args, kwargs or {})


@contextmanager
def _computing() -> Iterator[None]:
    """Within, parts can be computed: a head's rule is differentiated, which torch has switched off
    where it dispatches an operation, and not in a trainer's autocast."""
    with enable_reentrant_dispatch(), torch.no_grad(), without_autocast():
        yield


def _with_tensors(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Any other operation: on (C, D) tensors.

    Where it writes to the gradient, or returns a view of it, that tensor becomes the gradient. What
    is computed from it entry by entry is a gradient of the same rows, so that `clone`, a hook or
    arithmetic by hand do not have a step move rows that rest.
    """
    gradients = {
        id(x): x for x in tree_leaves((args, kwargs)) if isinstance(x, CentersGradient)
    }.values()
    written = _written(func, args, kwargs)
    _refuse(func, gradients, written)
    with _computing():
        whole = {id(x): x.dense() for x in gradients}
    tensors = tree_map(
        lambda x: whole[id(x)] if isinstance(x, CentersGradient) else x, (args, kwargs)
    )
    result = func(*tensors[0], **tensors[1])
    active = union([part for x in gradients for part in x.parts])
    for x in gradients:
        whole_CD = whole[id(x)]
        if any(x is y for y in written):
            x.parts = [WholeGradient(confined(active, whole_CD), whole_CD)]
        elif _is_view(func):
            x.parts = [WholeGradient(union(x.parts), whole_CD)]
    first = next(iter(gradients))

    def gradient(y: Any) -> Any:
        for x in gradients:
            if y is whole[id(x)]:
                return x
        is_alike = (
            isinstance(y, Tensor)
            and not any(y is z for z in written)
            and (y.shape, y.dtype) == (first.shape, whole[id(first)].dtype)
        )
        if not is_alike or _is_view(func) or (active is None and not first.is_split):
            return y
        return CentersGradient([WholeGradient(confined(active, y), y)], first)

    return tree_map(gradient, result)


def _refuse(func: Any, gradients: Any, written: list[Any]) -> None:
    if func.namespace == "c10d":
        raise UserError(
            "the gradient of class centres in a collective operation; it is computed on its own "
            "process: build the classifier with group=torch.distributed.group.WORLD, which splits "
            "the classes over the ranks, or CentersSGD with fused=False and the sampler 'full'"
        )
    into_other = any(not isinstance(x, CentersGradient) for x in written)
    if into_other and any(x.is_split for x in gradients):
        raise UserError(
            "the gradient of class centres in format 'split' written into a tensor; an optimiser "
            "that does so would move their high halves alone: only frcore.optimizer.CentersSGD "
            "moves both, so leave the centres out of other optimisers, or use center_format='fp32'"
        )


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _written(func: Any, args: Any, kwargs: dict[str, Any]) -> list[Any]:
    """The tensors that an operation writes to."""
    given = [
        args[n] if n < len(args) else kwargs.get(argument.name)
        for n, argument in enumerate(func._schema.arguments)
        if _is_written(argument)
    ]
    return [x for x in tree_leaves(given) if isinstance(x, Tensor)]


def _is_view(func: Any) -> bool:
    """Whether an operation returns a view of its argument."""
    return any(
        value.alias_info is not None and not value.alias_info.is_write
        for value in func._schema.returns
    )


def _alias(gradient: CentersGradient) -> CentersGradient:
    return CentersGradient([], gradient, gradient._held)


def _clone(gradient: CentersGradient, **options: Any) -> Any:
    """A gradient of its own, which no later step of `CentersSGD` uses up."""
    gradient.check_usable()
    if not gradient.parts:
        return CentersGradient([], gradient)
    total = added(gradient.parts, len(gradient))
    return CentersGradient([RowsGradient(total.active, total.rows())], gradient)


def _empty(gradient: CentersGradient, size: Any = None, stride: Any = None, **options: Any) -> Any:
    """What autograd copies a gradient into that is in use elsewhere too."""
    if size is not None and tuple(size) != gradient.shape:
        return NotImplemented
    if any(
        options.get(name) not in (None, getattr(gradient, name)) for name in ("dtype", "device")
    ):
        return NotImplemented
    return CentersGradient([], gradient)


def _copy_in_place(gradient: Any, source: Tensor, non_blocking: bool = False) -> Any:
    if not isinstance(gradient, CentersGradient) or gradient.is_viewed:
        return NotImplemented
    if isinstance(source, CentersGradient):
        gradient._held.parts, gradient._held.spent = _clone(source).parts, False
        return gradient
    if source.shape != gradient.shape:
        return NotImplemented
    gradient._held.parts, gradient._held.spent = [], False
    return _add_in_place(gradient, source.to(gradient))


def _add(one: Any, other: Any, *, alpha: float = 1) -> Any:
    both = isinstance(one, CentersGradient) and isinstance(other, CentersGradient)
    if not both or one.is_viewed or other.is_viewed:
        return NotImplemented
    one.check_usable()
    return _add_in_place(CentersGradient(one.parts, one), other, alpha=alpha)


def _add_in_place(one: Any, other: Any, *, alpha: float = 1) -> Any:
    is_gradient = isinstance(one, CentersGradient) and not one.is_viewed
    if not is_gradient or not isinstance(other, Tensor) or other.shape != one.shape:
        return NotImplemented
    one.check_usable()
    if isinstance(other, CentersGradient):
        other.check_usable()
        more = [part if alpha == 1 else part.scaled(alpha) for part in other.parts]
    else:
        more = [RowsGradient(None, other * alpha)]
    parts = one.parts + more
    # What has been computed is summed, as torch does it; the rest takes little memory as it is.
    one.parts = [added(parts, len(one))] if any(part.lasts for part in parts) else parts
    return one


def _scale_in_place(gradient: Any, factor: Any, *, invert: bool = False) -> Any:
    if not isinstance(gradient, CentersGradient) or gradient.is_viewed or not _is_number(factor):
        return NotImplemented
    gradient.scale(1 / factor if invert else factor)
    return gradient


def _scale(one: Any, other: Any, *, invert: bool = False) -> Any:
    gradient, factor = (one, other) if isinstance(one, CentersGradient) else (other, one)
    if not _is_number(factor) or (invert and gradient is other) or gradient.is_viewed:
        return NotImplemented
    gradient.check_usable()
    factor = 1 / factor if invert else factor
    return CentersGradient([part.scaled(factor) for part in gradient.parts], gradient)


def _is_number(x: Any) -> bool:
    is_scalar = isinstance(x, Tensor) and not x.dim()
    return isinstance(x, int | float) or (is_scalar and not x.is_complex())


def _divide_in_place(gradient: Any, divisor: Any) -> Any:
    return _scale_in_place(gradient, divisor, invert=True)


def _divide(gradient: Any, divisor: Any) -> Any:
    return _scale(gradient, divisor, invert=True)


def _negate(gradient: CentersGradient) -> Any:
    return _scale(gradient, -1.0)


def _zero(gradient: CentersGradient) -> CentersGradient:
    for part in gradient.parts:
        if isinstance(part, WholeGradient):
            part.gradient_AD.zero_()
    gradient._held.parts, gradient._held.spent = [], False
    return gradient


def _zero_all(gradients: list[Tensor]) -> None:
    for gradient in gradients:
        gradient.zero_()


def _norm(
    gradient: CentersGradient,
    order: float = 2,
    dim: Any = None,
    keepdim: bool = False,
    **options: Any,
) -> Any:
    if order <= 0 or dim is not None or keepdim or options.get("dtype") is not None:
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
            gradient.mul_(inverse_scale)


_HANDLERS: dict[Any, Callable[..., Any]] = {
    aten.detach.default: _alias,
    aten.alias.default: _alias,
    aten.clone.default: _clone,
    aten.new_empty_strided.default: _empty,
    aten.empty_like.default: _empty,
    aten.zeros_like.default: _empty,
    aten.copy_.default: _copy_in_place,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add_in_place,
    aten.mul.Tensor: _scale,
    aten.mul_.Tensor: _scale_in_place,
    aten.mul_.Scalar: _scale_in_place,
    aten.div.Tensor: _divide,
    aten.div_.Tensor: _divide_in_place,
    aten.div_.Scalar: _divide_in_place,
    aten.neg.default: _negate,
    aten.zero_.default: _zero,
    aten._foreach_zero_.default: _zero_all,
    aten.linalg_vector_norm.default: _norm,
    aten._amp_foreach_non_finite_check_and_unscale_.default: _unscale,
}
