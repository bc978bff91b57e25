"""A GPU rehearsed without one: torch's device "meta", and the rules of a GPU that it lacks.

Meta tensors have a device, shapes and gradients but no numbers, so that whatever asks for one fails
(`item`, `nonzero`, a mask as an index, `if tensor`): on a GPU the host would wait there.
`torch.Generator` is not on offer, nor are kernels: they are left out.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from frcore.components.random_stream import OwnGenerator

META = torch.device("meta")

COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}


class GpuRules(TorchDispatchMode):
    """Refuses tensors of the host among those of the device, and masks as indices.

    Attributes:
        blocking: copies from the host that wait: each stands for a `cudaStreamSynchronize`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocking = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        kinds = {tensor.device.type for tensor in tensors if tensor.dim()}
        if func in COPIES:
            to = kwargs.get("device") if len(tensors) == 1 else tensors[0].device
            waits = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
            if to == META and tensors[-1].device.type == "cpu" and tensors[-1].dim() and waits:
                self.blocking += 1
        elif len(kinds) > 1:
            raise AssertionError(f"{func} of tensors on {sorted(kinds)}")
        elif "index_put" in str(func) and "meta" in kinds:
            assert all(i is None or i.dtype != torch.bool for i in args[1]), f"{func} by a mask"
        return func(*args, **kwargs)


class NoKernel:
    """A kernel whose launch does nothing."""

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **kwargs: None


def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what the device "meta" does not have."""
    monkeypatch.setattr(OwnGenerator, "on", lambda self, device: None)
    pytest.importorskip("triton", minversion="3.4", reason="no triton: pip install 'frcore[gpu]'")
    from frcore.loss.triton import launch

    names = ("norm_kernel", "reduce_kernel", "center_kernel")
    kernels = vars(launch.kernels) | dict.fromkeys(names, NoKernel())
    monkeypatch.setattr(launch, "kernels", SimpleNamespace(**kernels))
