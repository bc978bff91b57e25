"""The angle between each class's embeddings and its centre, over an epoch."""

from __future__ import annotations

import torch
from torch import Tensor


class ClassAngles:
    """Means per class over the rows of the batches; nothing is read back from the device.

    Args:
        num_classes: C.
        device: where the cosines will be.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._sum_C = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self._rows_C = torch.zeros(num_classes, dtype=torch.int64, device=device)

    def add(self, target_cosine_N: Tensor, label_N: Tensor) -> None:
        """Take in one batch: cos θ of each row to its own centre."""
        angle_N = target_cosine_N.detach().double().clamp(-1, 1).arccos().rad2deg()
        self._sum_C.index_add_(0, label_N, angle_N)
        self._rows_C.index_add_(0, label_N, torch.ones_like(label_N))

    def mean(self) -> Tensor:
        """Degrees, float64 (C,) on the CPU; NaN where a class had no row."""
        return (self._sum_C / self._rows_C).cpu()

    def state(self) -> dict[str, Tensor]:
        """What `load` needs to give the same means."""
        return {"sum_C": self._sum_C, "rows_C": self._rows_C}

    def load(self, state: dict[str, Tensor]) -> None:
        """Be as when `state` was asked for."""
        self._sum_C.copy_(state["sum_C"])
        self._rows_C.copy_(state["rows_C"])
