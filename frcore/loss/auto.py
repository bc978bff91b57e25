"""The backend that suits device, head and size."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from frcore.heads.base import Head
from frcore.loss.base import LossBackend, LossOutput
from frcore.loss.triton import supports

DENSE_BELOW = 3000
"""Columns from which the streamed backend is as fast as `dense` on one CPU core (docs/LOG.md,
2026-11-22): 0.7 to 1.1 times its time at 3,000, 0.4 to 0.8 at 30,000, 1.2 to 1.4 at 300. It takes
less memory at any size."""

DENSE_BYTES = 24
"""Of memory that `dense` takes for an entry of the matrix: logits, masks and their gradients."""

DENSE_SHARE = 1 / 16
"""Of a GPU's memory that they may take. Of all of it, not of what is free: a run must pick the same
backend whatever else is on the board. Not measured."""

logger = logging.getLogger(__name__)


def pick(
    head: Head,
    columns: int,
    device: str,
    *,
    is_split: bool = False,
    rows: int = 0,
    memory: int | None = None,
) -> str:
    """The name of the backend for a matrix of `columns` class centres on "cpu" or "cuda".

    Args:
        head: whose rule the kernels may or may not support.
        columns: class centres of a step.
        device: where they are.
        is_split: whether the centres are high halves, which `dense` does not read.
        rows: of the matrix.
        memory: bytes of the GPU; None on a CPU.
    """
    if device == "cuda" and supports(head):
        return "triton"
    if memory is not None and not is_split:
        return "dense" if DENSE_BYTES * rows * columns <= DENSE_SHARE * memory else "streamed"
    return "dense" if columns < DENSE_BELOW and not is_split else "streamed"


def _memory(tensor: Tensor) -> int | None:
    """Bytes of the GPU that a tensor is on; None on a CPU."""
    if not tensor.is_cuda:
        return None
    return int(torch.cuda.get_device_properties(tensor.device).total_memory)


class AutoBackend:
    """Picks at the first step, logs its choice, and stays with it.

    Args:
        get_backend: returns the backend of a name.

    Attributes:
        picked: the backend's name; None before the first step.
    """

    def __init__(self, get_backend: Callable[[str], LossBackend]) -> None:
        self.picked: str | None = None
        self._get_backend = get_backend

    def __call__(
        self, embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor, head: Head, **options: Any
    ) -> LossOutput:
        """The picked backend's loss; see `frcore.loss.dense.dense_loss`."""
        if self.picked is None:
            active = options.get("active")
            columns = len(center_CD) if active is None else len(active)
            is_split = center_CD.dtype == torch.bfloat16
            device = center_CD.device.type
            extra = options.get("extra_rows")
            rows = len(embedding_ND) + (0 if extra is None else len(extra.label_Q))
            self.picked = pick(
                head, columns, device, is_split=is_split, rows=rows, memory=_memory(center_CD)
            )
            logger.info(
                "loss backend 'auto': '%s' for %d columns on %s", self.picked, columns, device
            )
        return self._get_backend(self.picked)(embedding_ND, center_CD, label_N, head, **options)
