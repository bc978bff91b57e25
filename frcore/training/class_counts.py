"""Per-class counts over a training, without reading anything back from the device.

The counts are buffers, so they are checkpointed like the state of any module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from frcore.loss import LossOutput
from frcore.loss.base import LossBackend
from frcore.loss.inputs import ExtraRows
from frcore.sharding.shard import Whole


class ClassAngles(nn.Module):
    """The mean angle between each class's embeddings and its centre, over an epoch.

    Args:
        num_classes: C.
        device: where the cosines will be.
    """

    sum_C: Tensor
    rows_C: Tensor

    def __init__(self, num_classes: int, device: torch.device) -> None:
        super().__init__()
        sums = torch.zeros(num_classes, dtype=torch.float64, device=device)
        self.register_buffer("sum_C", sums)
        self.register_buffer("rows_C", torch.zeros_like(sums, dtype=torch.int64))

    def add(self, target_cosine_N: Tensor, label_N: Tensor) -> None:
        """Add one batch: cos θ of each row to its own centre."""
        angle_N = target_cosine_N.detach().double().clamp(-1, 1).arccos().rad2deg()
        self.sum_C.index_add_(0, label_N, angle_N)
        _count(self.rows_C, label_N)

    def mean(self) -> Tensor:
        """Degrees, float64 (C,) on the CPU; NaN for classes without rows."""
        return (self.sum_C / self.rows_C).cpu()


class CenterTouches(nn.Module):
    """How often each class centre was pulled towards its own rows, and how often only pushed away.

    "Passive" refers to the passive update of a tail class's centre in An et al. 2021 (arXiv
    2010.05222): a step pushes it away from other people's embeddings and nothing pulls it.

    Args:
        num_classes: C; of a sharded classifier the rank's.
        device: where the labels will be.

    Attributes:
        positive_C: int64, rows of the batches with this class.
        queue_C: int64, extra rows (BroadFace's queue) with this class.
        passive_C: int64, steps in which the class was a column but no row of batch or queue
            belonged to it.
    """

    positive_C: Tensor
    queue_C: Tensor
    passive_C: Tensor

    def __init__(self, num_classes: int, device: torch.device) -> None:
        super().__init__()
        for name in ("positive_C", "queue_C", "passive_C"):
            zeros = torch.zeros(num_classes, dtype=torch.int64, device=device)
            self.register_buffer(name, zeros)

    def around(self, backend: LossBackend) -> LossBackend:
        """`backend`, wrapped to count every call.

        Only the backend sees batch, queue and columns for every kind of sampler.
        """

        def counted(
            embedding_ND: Tensor, center_CD: Tensor, label_N: Tensor, *rest: Any, **options: Any
        ) -> LossOutput:
            self.add(
                label_N, options.get("active"), options.get("extra_rows"), options.get("shard")
            )
            return backend(embedding_ND, center_CD, label_N, *rest, **options)

        return counted

    def add(
        self,
        label_N: Tensor,
        active: Tensor | None,
        extra: ExtraRows | None,
        shard: Whole | None = None,
    ) -> None:
        """Add one forward pass; `active` None = every class is a column.

        With a shard, labels are of all classes and the counts of the shard's.
        """
        label_M = label_N = label_N if shard is None else shard.here(label_N)
        _count(self.positive_C, label_N)
        if extra is not None:
            queued_Q = extra.label_Q if shard is None else shard.here(extra.label_Q)
            _count(self.queue_C, queued_Q)
            label_M = torch.cat([label_N, queued_Q])
        before_M = self.passive_C[label_M]
        if active is None:
            self.passive_C += 1
        else:
            self.passive_C[active] += 1
        # Undo this for classes with rows; duplicates write the same value twice.
        self.passive_C[label_M] = before_M


def _count(count_C: Tensor, label_N: Tensor) -> None:
    # Not bincount, which synchronises with the GPU to find the largest label.
    count_C.index_add_(0, label_N, torch.ones_like(label_N, dtype=torch.int64))
