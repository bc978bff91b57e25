"""BroadFace: past embeddings as extra rows that move the class centres."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from frcore.heads.base import Source
from frcore.loss.inputs import ExtraRows
from frcore.samplers.base import Centers, RunSize, Sampler
from frcore.samplers.over import SamplerOver


def compensated(embedding_QD: Tensor, old_QD: Tensor, center_QD: Tensor) -> Tensor:
    """e* = e⁻ + λ (W_y − W_y⁻), λ = ‖e⁻‖ / ‖W_y⁻‖ (Kim et al. 2020).

    Args:
        embedding_QD: e⁻, past embeddings.
        old_QD: W_y⁻, their centres at that time.
        center_QD: W_y, the same centres now.
    """
    norm_Q1 = old_QD.norm(dim=1, keepdim=True)
    ratio_Q1 = embedding_QD.norm(dim=1, keepdim=True) / norm_Q1
    # A centre of norm 0 has no direction, and so no drift.
    return embedding_QD + ratio_Q1.where(norm_Q1 > 0, 0.0) * (center_QD - old_QD)


class BroadFace(SamplerOver):
    """BroadFace (Kim et al. 2020, arXiv 2008.06674): a queue of past embeddings for the centres.

    Each step's embeddings e⁻ are queued, un-normalised, with their label y and the centre W_y⁻ they
    were learned with. A queued embedding is used as

        e* = e⁻ + λ (W_y − W_y⁻),   λ = ‖e⁻‖ / ‖W_y⁻‖

    The encoder's gradient is the mean over the batch, the centres' the mean over batch and queue.
    As in the authors' code the queue starts empty, is used from the second step on, keeps the
    original pair (e⁻, W_y⁻) however old, and takes the batch in after the loss.

    Args:
        size: number of embeddings kept; 0 = no queue.
        compensate: False uses e⁻ as it is.
        warmup: steps during which the queue fills and is not used. 0 in the authors' code; a third
            party fills the queue first, because embeddings drift fast early in training.
        over: the sampler of the columns: a name, a mapping with `name`, or a `Sampler`. Queued
            labels count as positives, so that every row has its target.
    """

    source: ClassVar[Source | None] = Source(
        "Kim et al.", 2020, "2008.06674", code="kakaoenterprise/BroadFace:broadface/loss.py"
    )
    dialects: ClassVar[tuple[str, ...]] = ("compensate", "warmup")
    shared: ClassVar[tuple[str, ...]] = ("embedding_QD", "center_QD", "label_Q", "_extra_state")

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=0)],
        compensate: bool = True,
        warmup: Annotated[int, Field(ge=0)] = 0,
        over: str | dict[str, Any] | Sampler = "full",
    ) -> None:
        super().__init__(over)
        self.size = int(size)
        self.compensate = compensate
        self.warmup = int(warmup)
        self._filled = self._next = self._steps = 0

    @property
    def settled(self) -> bool:
        full = self._filled == self.size and self._steps >= self.warmup
        return full and super().settled

    def no_effect(self, run: RunSize) -> str:
        """The queue is never used, or never full."""
        images = run.steps * run.batch_size
        if self.size and self.warmup >= run.steps:
            return (
                f"warmup = {self.warmup} steps, but the run has {run.steps}, so that the queue "
                "would never be used; lower warmup, or train for longer"
            )
        if self.size > images:
            return (
                f"size = {self.size}, but the run sees {images} images in all, so that the queue "
                f"would never be full; give at most {images}, or train for longer"
            )
        return super().no_effect(run)

    def attach(self, num_classes: int, dim: int, *, seed: int = 0, shard: int = 0) -> None:
        """Allocates the queue."""
        super().attach(num_classes, dim, seed=seed, shard=shard)
        self._filled = self._next = self._steps = 0
        self.register_buffer("embedding_QD", torch.zeros(self.size, dim))
        self.register_buffer("center_QD", torch.zeros(self.size, dim))
        self.register_buffer("label_Q", torch.zeros(self.size, dtype=torch.long))
        self.embedding_QD: Tensor
        self.center_QD: Tensor
        self.label_Q: Tensor

    @torch.no_grad()
    def rows(self, centers: Centers) -> ExtraRows | None:
        """The queue, compensated for how far each row's centre has moved since."""
        inner = self.over.rows(centers)
        if self._filled == 0 or self._steps < self.warmup:
            return inner
        # Copies: `observe` overwrites the queue before the backward pass has used the rows.
        label_Q = self.label_Q[: self._filled].clone()
        embedding_QD = self.embedding_QD[: self._filled].clone()
        if self.compensate:
            old_QD = self.center_QD[: self._filled]
            embedding_QD = compensated(embedding_QD, old_QD, centers(label_Q))
        if inner is not None:
            embedding_QD = torch.cat([embedding_QD, inner.embedding_QD])
            label_Q = torch.cat([label_Q, inner.label_Q])
        return ExtraRows(embedding_QD, label_Q)

    @torch.no_grad()
    def observe(self, embedding_ND: Tensor, label_N: Tensor, centers: Centers) -> None:
        """Queue the batch, first in first out; of a batch above `size` the last rows."""
        self.over.observe(embedding_ND, label_N, centers)
        self._steps += 1
        if self.size == 0:
            return
        embedding_ND, label_N = embedding_ND[-self.size :], label_N[-self.size :]
        # Python integers place the rows: nothing is read back from the device.
        first = min(len(label_N), self.size - self._next)
        for queue_slice, batch_slice in (
            (slice(self._next, self._next + first), slice(0, first)),
            (slice(0, len(label_N) - first), slice(first, None)),
        ):
            label = label_N[batch_slice]
            self.embedding_QD[queue_slice] = embedding_ND[batch_slice].to(self.embedding_QD.dtype)
            self.center_QD[queue_slice] = centers(label).to(self.center_QD.dtype)
            self.label_Q[queue_slice] = label
        self._next = (self._next + len(label_N)) % self.size
        self._filled = min(self.size, self._filled + len(label_N))

    def get_extra_state(self) -> dict[str, int]:
        """The queue's cursor, for `state_dict`."""
        return {"filled": self._filled, "next": self._next, "steps": self._steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Resume with a saved queue."""
        self._filled, self._next, self._steps = state["filled"], state["next"], state["steps"]

    def extra_repr(self) -> str:
        """Shown by `print(sampler)`."""
        return f"size={self.size}, compensate={self.compensate}, warmup={self.warmup}"
