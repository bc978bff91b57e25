"""One step after the other of a last layer, written slowly: loops over rows and classes.

It shares no code with the core. Values are float64; gradients come from autograd on scalars,
once towards the embeddings with the centres held (the encoder's loss: the batch) and once towards
the centres with the embeddings held (the centres' loss: batch and queue), as in BroadFace's code.
The heads' formulas are in `tests/slow_heads`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


@dataclass
class SlowOutput:
    loss: float
    row_losses: list[float]
    embedding_gradient: Tensor
    center_gradient: Tensor
    head_gradient: dict[str, Tensor]
    active: list[int]
    queue: list[tuple[Tensor, int]]


class SlowClassifier:
    """One step after the other of a last layer, with the queue and the sampled columns as lists."""

    def __init__(
        self,
        centers: Tensor,
        head: SlowHead,
        *,
        rate: float = 1.0,
        queue_size: int = 0,
        compensate: bool = True,
        warmup: int = 0,
        entry_filter: tuple[float, str] | None = None,
        hard: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        self.centers = centers.detach().double().clone()
        self.head, self.rate, self.compensate = head, rate, compensate
        self.warmup, self.entry_filter, self.steps = warmup, entry_filter, 0
        self.hard = hard
        self.near: list[list[tuple[int, float]]] = []
        # Entries by place: who comes takes the place of who came `queue_size` before. The places
        # count where a head draws, for then it matters which row has which draw.
        self.queue: dict[int, tuple[Tensor, Tensor, int]] = {}
        self.queue_size, self.arrivals = queue_size, 0
        self.generator = torch.Generator().manual_seed(seed)

    def step(self, embeddings: Tensor, labels: list[int]) -> SlowOutput:
        """Loss, both gradients and the new state; moves nothing (see `move`)."""
        embeddings = embeddings.detach().double()
        places = sorted(self.queue) if self.steps >= self.warmup else []
        extra = [self._compensated(*self.queue[place]) for place in places]
        self.steps += 1
        rows = list(zip(embeddings, labels, strict=True)) + extra
        active = self._active({label for _, label in rows})
        numbers = [
            {k: float(c) for k, c in self._entries(e, label, self.centers, active).items()}
            for e, label in rows
        ]
        norms = [math.sqrt(float((e * e).sum())) for e in embeddings]
        self.head.update(numbers[: len(labels)], labels, norms)
        self.head.begin([row[label] for row, (_, label) in zip(numbers, rows, strict=True)])
        free_embeddings = embeddings.clone().requires_grad_()
        encoder = [
            self.row_loss(e, label, self.centers, active, row)
            for row, (e, label) in enumerate(zip(free_embeddings, labels, strict=True))
        ]
        encoder_loss = sum(encoder[1:], encoder[0]) / len(encoder)
        (embedding_gradient,) = torch.autograd.grad(encoder_loss, free_embeddings)

        free_centers = self.centers.clone().requires_grad_()
        total = [
            self.row_loss(e, label, free_centers, active, row)
            for row, (e, label) in enumerate(rows)
        ]
        # The head's parameters are, like the centres, of the last layer: batch and queue move them.
        head = self.head.parameters()
        center_gradient, *head_gradients = torch.autograd.grad(
            sum(total[1:], total[0]) / len(rows), [free_centers, *head.values()]
        )

        latest = list(zip(embeddings, labels, strict=True))[-self.queue_size :]
        for e, label in latest if self.queue_size else []:
            entry = (e.clone(), self.centers[label].clone(), label)
            self.queue[self.arrivals % self.queue_size] = entry
            self.arrivals += 1
        return SlowOutput(
            float(encoder_loss.detach()),
            [float(loss.detach()) for loss in encoder],
            embedding_gradient,
            center_gradient,
            dict(zip(head, head_gradients, strict=True)),
            active,
            extra,
        )

    def move(self, output: SlowOutput, lr: float) -> None:
        """One step of gradient descent."""
        self.centers -= lr * output.center_gradient
        for name, parameter in self.head.parameters().items():
            parameter.data -= lr * output.head_gradient[name]

    def row_loss(
        self, e: Tensor, label: int, centers: Tensor, active: list[int], row: int
    ) -> Tensor:
        """What the head makes of one row; rows of the queue count on from the batch's."""
        norm = e.square().sum().sqrt()
        if getattr(self.head, "uses_inner_products", False):
            logits = {
                k: norm * c * centers[k].square().sum().sqrt()
                for k, c in self._entries(e, label, centers, active).items()
            }
        else:
            entries = self._entries(e, label, centers, active)
            logits = self.head.logits(entries, label, norm, row)
        return self.head.loss(logits, label) + self.head.penalty(norm)

    def _entries(
        self, e: Tensor, label: int, centers: Tensor, active: list[int]
    ) -> dict[int, Tensor]:
        """The row's cosines by class, as the filter leaves them."""
        cosines = self._cosines(e, centers, active)
        if self.entry_filter is None:
            return cosines
        threshold, mode = self.entry_filter
        out = {}
        for k, cosine in cosines.items():
            if k == label or float(cosine.detach()) <= threshold:
                out[k] = cosine
            elif mode == "zero":
                out[k] = torch.zeros_like(cosine)
        return out

    @staticmethod
    def _cosines(e: Tensor, centers: Tensor, active: list[int]) -> dict[int, Tensor]:
        norm = e.square().sum().sqrt()
        return {
            k: (e * centers[k]).sum() / (norm * centers[k].square().sum().sqrt()) for k in active
        }

    def _compensated(self, e: Tensor, old: Tensor, label: int) -> tuple[Tensor, int]:
        if not self.compensate:
            return e, label
        ratio = math.sqrt(float((e * e).sum())) / math.sqrt(float((old * old).sum()))
        return e + ratio * (self.centers[label] - old), label

    def _active(self, positives: set[int]) -> list[int]:
        """insightface's partial_fc_v2.py:79-104: positives first, then the highest draws."""
        count = len(self.centers)
        budget = int(self.rate * count)
        if budget >= count:
            return list(range(count))
        draw = torch.rand(count, generator=self.generator).tolist()
        wanted = self._wanted(positives)
        ranked = sorted(
            range(count), key=lambda k: (k not in positives, -wanted.get(k, -2.0), -draw[k])
        )
        return sorted(ranked[: max(budget, len(positives))])

    def _wanted(self, positives: set[int]) -> dict[int, float]:
        """Neighbours of the positives with their largest cosine to one of them."""
        if self.hard is None:
            return {}
        neighbours, refresh = self.hard
        if (self.steps - 1) % refresh == 0:
            self.near = [self._nearest(k, neighbours) for k in range(len(self.centers))]
        wanted: dict[int, float] = {}
        for positive in positives:
            for k, cosine in self.near[positive]:
                wanted[k] = max(cosine, wanted.get(k, -2.0))
        return wanted

    def _nearest(self, own: int, neighbours: int) -> list[tuple[int, float]]:
        cosines = self._cosines(self.centers[own], self.centers, list(range(len(self.centers))))
        others = [(k, float(c)) for k, c in cosines.items() if k != own]
        return sorted(others, key=lambda pair: -pair[1])[:neighbours]
