"""The contract of a sampler: which columns (centres) and extra rows (past embeddings) exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from frcore.heads.base import Source
from frcore.loss.inputs import EntryFilter, ExtraRows

Centers = Callable[[Tensor | None], Tensor]
"""Class centres (K, D) of an index (K,), or all of them for None; detached and up to date."""

Update = Literal["lazy", "sparse", "dense"]


@dataclass(frozen=True)
class RunSize:
    """The size of a training run.

    Attributes:
        classes: C.
        batch_size: rows of a step.
        steps: of the whole run.
        largest: number of images of the largest class.
    """

    classes: int
    batch_size: int
    steps: int
    largest: int


class Sampler(nn.Module):
    """Base of all samplers; by default every column and no extra row.

    A classifier calls `attach` once. Then, in training mode only, for each batch: `rows`, `columns`
    with the labels of batch and rows, the loss, and `observe`.
    """

    source: ClassVar[Source | None] = None
    """The paper."""

    dialects: ClassVar[tuple[str, ...]] = ()
    """Constructor parameters by which published codes of one name differ."""

    shared: ClassVar[tuple[str, ...]] = ()
    """Names in `state_dict` of what is equal on all ranks of a sharded classifier. All else belongs
    to a rank's classes, and begins anew where they are split otherwise."""

    update: Update = "sparse"
    """How the optimiser treats centres that are not among the columns; see `PartialFC`."""

    entry_filter: EntryFilter | None = None
    """Entries of the matrix that are taken out."""

    def __init__(self) -> None:
        super().__init__()

    @property
    def settled(self) -> bool:
        """Whether a step costs what most steps of a run cost (a queue is full, a warm-up over)."""
        return True

    def shared_names(self) -> list[str]:
        """`shared` of this sampler and of those that it stands on, with their whole names."""
        samplers = [(n, m) for n, m in self.named_modules() if isinstance(m, Sampler)]
        return [f"{n}.{name}".lstrip(".") for n, m in samplers for name in m.shared]

    @property
    def leaves_out(self) -> bool:
        """Whether a step's columns may be fewer than the classes."""
        return type(self).columns is not Sampler.columns

    def no_effect(self, run: RunSize) -> str:
        """Why a parameter would change nothing in such a run, and what to do; "" where it does."""
        return ""

    def attach(self, num_classes: int, dim: int, *, seed: int = 0, shard: int = 0) -> None:
        """Learn the shape of the logit matrix; randomness follows from `seed` and `shard`."""
        self.num_classes = num_classes

    def rows(self, centers: Centers) -> ExtraRows | None:
        """Extra rows for the centres' gradient, brought up to date with the centres."""
        return None

    def columns(self, label_M: Tensor, centers: Centers) -> Tensor | None:
        """Sorted indices of the active centres, all of `label_M` among them; None = all."""
        return None

    def observe(self, embedding_ND: Tensor, label_N: Tensor, centers: Centers) -> None:
        """See the batch after its loss; `centers` may be asked for its labels' centres only."""
