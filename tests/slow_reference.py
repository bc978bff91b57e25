"""The papers' formulas written slowly: arccos, loops over rows and classes, a softmax of its own.

It shares no code with the core. Values are float64; gradients come from autograd on these scalars,
once towards the embeddings with the centres held (the encoder's loss: the batch) and once towards
the centres with the embeddings held (the centres' loss: batch and queue), as in BroadFace's code.

A new head adds its class to `SLOW_HEADS`: the contract tests refuse a head that is not here.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


class SlowHead:
    """Plain cosine softmax with the scale `scale`; heads override what they change."""

    scale_value = 1.0

    def __init__(self, num_classes: int, scale: float | None = None) -> None:
        self.num_classes = num_classes
        if scale is not None:
            self.scale_value = scale

    def update(self, cosines: list[dict[int, float]], labels: list[int]) -> None:
        """New state from each row's cosines by class; plain numbers, so without gradient."""

    def target(self, theta: Tensor) -> Tensor:
        return torch.cos(theta)

    def logits(self, cosines: dict[int, Tensor], label: int, norm: Tensor) -> dict[int, Tensor]:
        out = {k: self.scale_value * cosine for k, cosine in cosines.items()}
        out[label] = self.scale_value * self.target(torch.arccos(cosines[label]))
        return out


class SlowSoftmax(SlowHead):
    """Inner products; `row_loss` hands over x · w / (‖x‖ ‖w‖), so this needs the products."""

    uses_inner_products = True


class SlowNormFace(SlowHead):
    scale_value = 20.0


class SlowCosFace(SlowHead):
    scale_value = 64.0

    def __init__(self, num_classes: int, margin: float = 0.35, scale: float | None = None) -> None:
        super().__init__(num_classes, scale)
        self.margin = margin

    def target(self, theta: Tensor) -> Tensor:
        return torch.cos(theta) - self.margin


class SlowArcFace(SlowHead):
    scale_value = 64.0

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.5,
        scale: float | None = None,
        gradient: str = "full",
        beyond_pi: str = "linear",
        easy_margin: bool = False,
    ) -> None:
        super().__init__(num_classes, scale)
        self.margin, self.gradient = margin, gradient
        self.beyond_pi, self.easy_margin = beyond_pi, easy_margin

    def target(self, theta: Tensor) -> Tensor:
        value = self._value(theta)
        if self.gradient == "detached":  # the value of the formula, the derivative of cos θ
            return value.detach() + torch.cos(theta) - torch.cos(theta).detach()
        return value

    def _value(self, theta: Tensor) -> Tensor:
        if self.easy_margin:
            return torch.cos(theta + self.margin) if theta < math.pi / 2 else torch.cos(theta)
        if theta + self.margin <= math.pi or self.beyond_pi == "cos":
            return torch.cos(theta + self.margin)
        if self.beyond_pi == "clip":
            return torch.cos(theta) * 0 - 1
        return torch.cos(theta) - self.margin * math.sin(self.margin)


class SlowFixedAdaCos(SlowHead):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, math.sqrt(2) * math.log(num_classes - 1))


class SlowAdaCos(SlowFixedAdaCos):
    def update(self, cosines: list[dict[int, float]], labels: list[int]) -> None:
        b_of_rows, angles = [], []
        for row, label in zip(cosines, labels, strict=True):
            b_of_rows.append(
                sum(math.exp(self.scale_value * c) for k, c in row.items() if k != label)
            )
            angles.append(math.acos(row[label]))
        b_average = sum(b_of_rows) / len(b_of_rows)
        theta = min(math.pi / 4, statistics.median(angles))
        self.scale_value = math.log(b_average) / math.cos(theta)


SLOW_HEADS: dict[str, type[SlowHead]] = {
    "softmax": SlowSoftmax,
    "normface": SlowNormFace,
    "cosface": SlowCosFace,
    "arcface": SlowArcFace,
    "adacos_fixed": SlowFixedAdaCos,
    "adacos": SlowAdaCos,
}


@dataclass
class SlowOutput:
    loss: float
    row_losses: list[float]
    embedding_gradient: Tensor
    center_gradient: Tensor
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
        seed: int = 0,
    ) -> None:
        self.centers = centers.detach().double().clone()
        self.head, self.rate, self.compensate = head, rate, compensate
        self.queue: deque[tuple[Tensor, Tensor, int]] = deque(maxlen=queue_size)
        self.generator = torch.Generator().manual_seed(seed)

    def step(self, embeddings: Tensor, labels: list[int]) -> SlowOutput:
        """Loss, both gradients and the new state; moves nothing (see `move`)."""
        embeddings = embeddings.detach().double()
        extra = [self._compensated(*entry) for entry in self.queue]
        rows = list(zip(embeddings, labels, strict=True)) + extra
        active = self._active({label for _, label in rows})
        self.head.update(
            [
                {k: float(c) for k, c in self._cosines(e, self.centers, active).items()}
                for e in embeddings
            ],
            labels,
        )
        free_embeddings = embeddings.clone().requires_grad_()
        encoder = [
            self.row_loss(e, label, self.centers, active)
            for e, label in zip(free_embeddings, labels, strict=True)
        ]
        encoder_loss = sum(encoder[1:], encoder[0]) / len(encoder)
        (embedding_gradient,) = torch.autograd.grad(encoder_loss, free_embeddings)

        free_centers = self.centers.clone().requires_grad_()
        total = [self.row_loss(e, label, free_centers, active) for e, label in rows]
        (center_gradient,) = torch.autograd.grad(sum(total[1:], total[0]) / len(rows), free_centers)

        for e, label in zip(embeddings, labels, strict=True):
            self.queue.append((e.clone(), self.centers[label].clone(), label))
        return SlowOutput(
            float(encoder_loss.detach()),
            [float(loss.detach()) for loss in encoder],
            embedding_gradient,
            center_gradient,
            active,
            extra,
        )

    def move(self, gradient: Tensor, lr: float) -> None:
        self.centers -= lr * gradient

    def row_loss(self, e: Tensor, label: int, centers: Tensor, active: list[int]) -> Tensor:
        """−log of the softmax's probability of `label`."""
        if getattr(self.head, "uses_inner_products", False):
            logits = {k: (e * centers[k]).sum() for k in active}
        else:
            norm = e.square().sum().sqrt()
            logits = self.head.logits(self._cosines(e, centers, active), label, norm)
        top = max(float(z.detach()) for z in logits.values())
        denominator = sum(torch.exp(z - top) for z in logits.values())
        return torch.log(torch.as_tensor(denominator)) + top - logits[label]

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
        ranked = sorted(range(count), key=lambda k: (k not in positives, -draw[k]))
        return sorted(ranked[: max(budget, len(positives))])


def slow_head(name: str, num_classes: int, parameters: dict[str, Any]) -> SlowHead:
    """The slow twin of a registered head."""
    if name not in SLOW_HEADS:
        raise AssertionError(
            f"head '{name}' is registered but has no formula in tests/slow_reference.py: write "
            "the paper's equation there, slowly, and add a case to tests/contract_cases.py"
        )
    return SLOW_HEADS[name](num_classes, **parameters)
