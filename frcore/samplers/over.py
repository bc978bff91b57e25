"""A sampler stacked on another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from frcore.loss.inputs import EntryFilter, ExtraRows
from frcore.samplers import SAMPLERS
from frcore.samplers.base import Centers, RunSize, Sampler, Update


class SamplerOver(Sampler):
    """A sampler stacked on another one, to which it delegates what it does not change.

    Args:
        over: the inner sampler: a name, a mapping with `name`, or a `Sampler`.
    """

    def __init__(self, over: str | dict[str, Any] | Sampler) -> None:
        super().__init__()
        if isinstance(over, Mapping):  # a study's label is not a parameter
            over = {key: value for key, value in over.items() if key != "label"}
        self.over = SAMPLERS.take(over, place="sampler over")

    @property
    def update(self) -> Update:  # type: ignore[override]
        return self.over.update

    @property
    def entry_filter(self) -> EntryFilter | None:  # type: ignore[override]
        return self.over.entry_filter

    @property
    def leaves_out(self) -> bool:
        """The inner sampler's, unless the columns are of its own choice."""
        return self.over.leaves_out or type(self).columns is not SamplerOver.columns

    @property
    def settled(self) -> bool:
        return self.over.settled

    def no_effect(self, run: RunSize) -> str:
        return self.over.no_effect(run)

    def attach(self, num_classes: int, dim: int, *, seed: int = 0, shard: int = 0) -> None:
        super().attach(num_classes, dim, seed=seed, shard=shard)
        self.over.attach(num_classes, dim, seed=seed, shard=shard)

    def rows(self, centers: Centers) -> ExtraRows | None:
        return self.over.rows(centers)

    def columns(self, label_M: Tensor, centers: Centers) -> Tensor | None:
        return self.over.columns(label_M, centers)

    def observe(self, embedding_ND: Tensor, label_N: Tensor, centers: Centers) -> None:
        """Let the inner sampler see the batch."""
        self.over.observe(embedding_ND, label_N, centers)
