"""Counting what a piece of torch code moves and holds, operation by operation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

VIEWS = {"view", "t", "transpose", "expand", "slice", "select", "unsqueeze", "squeeze", "detach",
         "alias", "_unsafe_view", "split", "as_strided", "permute", "lift_fresh"}  # fmt: skip
PRODUCTS = {"mm", "addmm", "bmm"}


class Counting(TorchDispatchMode):
    """Within it: `flop` of matrix products, bytes `moved` by all else, `peak` of living tensors.

    Args:
        alive: tensors that exist already; `peak` is what comes on top of them.
    """

    def __init__(self, alive: Iterable[Tensor]) -> None:
        super().__init__()
        self.living: dict[int, tuple[StorageWeakRef, int]] = {}
        self._note(alive)
        self.before = self._now()
        self.flop, self.moved, self.peak = 0.0, 0.0, 0.0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.split("::")[1]
        given, made = ([t for t in tree_leaves(one) if isinstance(t, Tensor)]
                       for one in ((args, kwargs), result))  # fmt: skip
        if name in PRODUCTS:
            left, right = given[-2:]
            self.flop += 2 * left.numel() * right.shape[-1]
        elif name not in VIEWS:
            self.moved += moved(name, given, made)
        self._note([*given, *made])
        self.peak = max(self.peak, self._now() - self.before)
        return result

    def _note(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage.nbytes() and type(tensor) not in (Tensor, torch.nn.Parameter):
                continue  # a tensor that only stands for others has a size, but no memory
            self.living.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))

    def _now(self) -> int:
        self.living = {key: one for key, one in self.living.items() if not one[0].expired()}
        return sum(size for _, size in self.living.values())


def moved(name: str, given: list[Tensor], made: list[Tensor]) -> int:
    """Bytes read and written; an operation on rows touches these rows alone."""
    if name in ("index", "index_select"):
        return 2 * bytes_of(made) + bytes_of(given[1:])
    if name in ("index_put_", "index_copy_", "index_add_"):
        return 3 * bytes_of(given[-1:]) + bytes_of(given[1:2])
    return bytes_of(given) + bytes_of(made)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_a_sum_of_a_product_by_hand():
    """(2, 3) @ (3, 5): 60 FLOP; + 1: 40 bytes read, 40 written; both results live at once."""
    left, right = torch.ones(2, 3), torch.ones(3, 5)
    with Counting([left, right]) as counted:
        product = left @ right
        product + 1
    assert (counted.flop, counted.moved, counted.peak) == (60, 80, 80)
