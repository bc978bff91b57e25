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

logger = logging.getLogger(__name__)


def pick(head: Head, columns: int, device: str, *, is_split: bool = False) -> str:
    """The name of the backend for a matrix of `columns` class centres on "cpu" or "cuda".

    Args:
        head: whose rule the kernels may or may not support.
        columns: class centres of a step.
        device: where they are.
        is_split: whether the centres are high halves, which `dense` does not read.
    """
    if device == "cuda" and supports(head):
        return "triton"
    return "dense" if columns < DENSE_BELOW and not is_split else "streamed"


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
            self.picked = pick(head, columns, device, is_split=is_split)
            logger.info(
                "loss backend 'auto': '%s' for %d columns on %s", self.picked, columns, device
            )
        return self._get_backend(self.picked)(embedding_ND, center_CD, label_N, head, **options)
