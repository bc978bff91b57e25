"""BroadFace: past embeddings as extra rows that move the class centres."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from frcore.errors import UserError
from frcore.loss.base import ExtraRows
from frcore.samplers.base import Sampler


class BroadFace(Sampler):
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
        over: the sampler of the columns: a name, a mapping with `name`, or a `Sampler`. Queued
            labels count as positives, so that every row has its target.
    """

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=0)],
        compensate: bool = True,
        over: str | dict[str, Any] | Sampler = "full",
    ) -> None:
        super().__init__()
        self.size = int(size)
        self.compensate = compensate
        self.over = _build(over)
        self._filled = 0
        self._next = 0

    def attach(self, num_classes: int, dim: int, *, seed: int = 0) -> None:
        """See `Sampler.attach`; allocates the queue."""
        super().attach(num_classes, dim, seed=seed)
        self.over.attach(num_classes, dim, seed=seed)
        self._filled = self._next = 0
        self.register_buffer("embedding_QD", torch.zeros(self.size, dim))
        self.register_buffer("center_QD", torch.zeros(self.size, dim))
        self.register_buffer("label_Q", torch.zeros(self.size, dtype=torch.long))
        self.embedding_QD: Tensor
        self.center_QD: Tensor
        self.label_Q: Tensor

    @torch.no_grad()
    def rows(self, center_CD: Tensor) -> ExtraRows | None:
        """The queue, compensated for how far each row's centre has moved since."""
        inner = self.over.rows(center_CD)
        if self._filled == 0:
            return inner
        # Copies: `observe` overwrites the queue before the backward pass has used the rows.
        label_Q = self.label_Q[: self._filled].clone()
        embedding_QD = self.embedding_QD[: self._filled].clone()
        if self.compensate:
            old_QD = self.center_QD[: self._filled]
            ratio_Q1 = embedding_QD.norm(dim=1, keepdim=True) / old_QD.norm(dim=1, keepdim=True)
            # A centre of norm 0 has no direction to have drifted from.
            ratio_Q1 = ratio_Q1.where(old_QD.norm(dim=1, keepdim=True) > 0, 0.0)
            embedding_QD += ratio_Q1 * (center_CD[label_Q] - old_QD)
        if inner is not None:
            embedding_QD = torch.cat([embedding_QD, inner.embedding_QD])
            label_Q = torch.cat([label_Q, inner.label_Q])
        return ExtraRows(embedding_QD, label_Q)

    def columns(self, label_M: Tensor) -> Tensor | None:
        """The inner sampler's columns for the labels of batch and queue."""
        return self.over.columns(label_M)

    @torch.no_grad()
    def observe(self, embedding_ND: Tensor, label_N: Tensor, center_CD: Tensor) -> None:
        """Queue the batch, first in first out; of a batch above `size` the last rows."""
        self.over.observe(embedding_ND, label_N, center_CD)
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
            self.center_QD[queue_slice] = center_CD[label].to(self.center_QD.dtype)
            self.label_Q[queue_slice] = label
        self._next = (self._next + len(label_N)) % self.size
        self._filled = min(self.size, self._filled + len(label_N))

    def get_extra_state(self) -> dict[str, int]:
        """The queue's cursor, for `state_dict`."""
        return {"filled": self._filled, "next": self._next}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Go on with a saved queue."""
        self._filled, self._next = state["filled"], state["next"]

    def extra_repr(self) -> str:
        """Shown by `print(sampler)`."""
        return f"size={self.size}, compensate={self.compensate}"


def _build(over: str | dict[str, Any] | Sampler) -> Sampler:
    from frcore.samplers import build_sampler

    if isinstance(over, Sampler):
        return over
    if isinstance(over, str):
        return build_sampler(over)
    if "name" not in over:
        raise UserError(
            f"sampler 'broadface': over = {over!r} has no name; write a sampler's name, or a "
            "mapping such as {name: partial_fc, rate: 0.1}"
        )
    parameters = {key: value for key, value in over.items() if key != "label"}
    return build_sampler(**parameters)
