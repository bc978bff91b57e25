"""Partial FC: the softmax over all positive and some negative class centres."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from frcore.components.random_stream import OwnGenerator
from frcore.heads.base import Source
from frcore.samplers.base import Centers, RunSize, Sampler, Update
from frcore.samplers.neighbours import nearest_centers


class PartialFC(Sampler):
    """Partial FC: all positives, filled up with negatives to rate × C centres.

    As in insightface's code, `rate` is the fraction of all centres including the positives, a batch
    with more positives than that uses its positives only, and there is no importance correction.
    Negatives are drawn without replacement on the device of the labels, from the sampler's own
    stream.

    Args:
        rate: 1 is the full softmax; 0 the positives alone.
        update: what the optimiser does to the centres that a step does not sample. "sparse":
            nothing, so they and their momentum stay fixed (Partial FC 2021 and insightface's first
            version). "dense": weight decay and momentum move every centre at every step, at the
            full cost (insightface's second version). "lazy": the same result as "dense" at the
            cost of "sparse": a centre catches up when it is next sampled.
        negatives: "uniform" as in the papers, or "hard": first the nearest centres of the batch's
            classes by centre-to-centre cosine, then uniform ones (asked for in insightface #2770).
        neighbours: "hard": how many nearest centres of each class count.
        refresh: "hard": steps after which the nearest centres are searched again.
    """

    source: ClassVar[Source | None] = Source(
        "An et al.", 2022, "2203.15565", code="deepinsight/insightface:partial_fc_v2.py"
    )
    dialects: ClassVar[tuple[str, ...]] = ("update", "negatives")

    def __init__(
        self,
        *,
        rate: Annotated[float, Field(ge=0, le=1)],
        update: Update = "sparse",
        negatives: Literal["uniform", "hard"] = "uniform",
        neighbours: Annotated[int, Field(ge=1)] = 16,
        refresh: Annotated[int, Field(ge=1)] = 100,
    ) -> None:
        super().__init__()
        self.rate = float(rate)
        self.update = update
        self.negatives = negatives
        self.neighbours, self.refresh = int(neighbours), int(refresh)
        self.random = OwnGenerator(0)
        self._steps = 0

    @property
    def leaves_out(self) -> bool:
        """Unless the budget is every centre."""
        return int(self.rate * self.num_classes) < self.num_classes

    def no_effect(self, run: RunSize) -> str:
        """Every batch has more classes of its own than the budget."""
        budget, fewest = int(self.rate * run.classes), -(-run.batch_size // run.largest)
        if self.rate == 0 or budget > fewest:
            return ""
        return (
            f"rate = {self.rate:g} of {run.classes} classes is {budget}, but each batch of "
            f"{run.batch_size} images has at least {fewest} classes of its own, so that no "
            f"negative would ever be drawn; raise it above {fewest / run.classes:.3g}, or give 0, "
            "which means the positives alone"
        )

    def attach(self, num_classes: int, dim: int, *, seed: int = 0, shard: int = 0) -> None:
        super().attach(num_classes, dim, seed=seed, shard=shard)
        self.random = OwnGenerator(seed, shard) if shard else OwnGenerator(seed)
        self._steps = 0
        if self.negatives == "hard":
            shape = (num_classes, max(1, min(self.neighbours, num_classes - 1)))
            self.register_buffer("neighbour_CK", torch.zeros(shape, dtype=torch.int32))
            self.register_buffer("similarity_CK", torch.zeros(shape))
            self.neighbour_CK: Tensor
            self.similarity_CK: Tensor

    def columns(self, label_M: Tensor, centers: Centers) -> Tensor | None:
        """Sorted active centres: the positives and the drawn negatives."""
        budget = int(self.rate * self.num_classes)
        if budget >= self.num_classes:
            return None
        if len(label_M) > budget:
            # There may be more positives than the budget; counting them is a host sync, which the
            # usual case (far fewer rows than sampled centres) avoids.
            positives = label_M.unique()
            budget = max(budget, len(positives))
        rank_C = torch.rand(
            self.num_classes, generator=self.random.on(label_M.device), device=label_M.device
        )
        if self.negatives == "hard":
            self._prefer_neighbours(rank_C, label_M, centers)
        rank_C[label_M] = 5.0  # above all others: positives always come first
        return rank_C.topk(budget).indices.sort().values

    def _prefer_neighbours(self, rank_C: Tensor, label_M: Tensor, centers: Centers) -> None:
        """Rank the nearest centres of the batch's classes above the draws, nearest first."""
        if self._steps % self.refresh == 0:
            neighbour_CK, similarity_CK = nearest_centers(centers(None), self.neighbour_CK.shape[1])
            self.neighbour_CK.copy_(neighbour_CK)
            self.similarity_CK.copy_(similarity_CK)
        self._steps += 1
        # A draw is below 1, a cosine + 3 above it; where several rows want a centre, the highest.
        rank_C.scatter_reduce_(
            0,
            self.neighbour_CK[label_M].flatten().long(),
            self.similarity_CK[label_M].flatten().to(rank_C.dtype) + 3.0,
            reduce="amax",
        )

    def get_extra_state(self) -> dict[str, Any]:
        """The random stream and the count of steps, for `state_dict`."""
        return {**self.random.state(), "steps": self._steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Resume with a saved stream."""
        self.random.load(state)
        self._steps = state["steps"]

    def extra_repr(self) -> str:
        """Shown by `print(sampler)`."""
        hard = f", negatives='hard', neighbours={self.neighbours}, refresh={self.refresh}"
        tail = hard if self.negatives == "hard" else ""
        return f"rate={self.rate:g}, update={self.update!r}{tail}"
