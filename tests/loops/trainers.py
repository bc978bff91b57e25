"""Two trainers that differ in nothing but the last layer: the project's, and plain torch's."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.testing import assert_close

from frcore.centers.storage import split
from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.heads.base import Head
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler
from tests.loops.plain import PlainClassifier, plain_sgd

CLASSES, DIM, ROWS = 19, 6, 5
RATES = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}

PARTIAL = {"name": "partial_fc", "rate": 0.4}
SAMPLERS = {
    "full": {"name": "full"},
    "sparse": PARTIAL,
    "lazy": {**PARTIAL, "update": "lazy"},
    "dense": {**PARTIAL, "update": "dense"},
    "queue sparse": {"name": "broadface", "size": 7, "over": PARTIAL},
    "queue lazy": {"name": "broadface", "size": 7, "over": {**PARTIAL, "update": "lazy"}},
}


class Learned(Head):
    """A rule for the other columns with parameters and a state; no kernel knows it."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.temperature = nn.Parameter(torch.tensor(9.0))
        self.bend = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("seen", torch.zeros(()))

    def update(self, batch):
        self.seen.add_(1.0)

    def scale(self, batch):
        return self.temperature

    def target(self, cosine_N, batch):
        return cosine_N - 0.2

    def negative(self, cosine_NC, target_N1, batch):
        seen = self.seen.clone()
        return cosine_NC + self.bend * (1 + 0.1 * seen) * cosine_NC**2 + 0.1 * target_N1


HEADS = {
    "cosface": lambda: build_head("cosface", num_classes=CLASSES, scale=12.0),
    "curricularface": lambda: build_head(
        "curricularface", num_classes=CLASSES, scale=12.0, ema=0.5, margin=0.2
    ),
    "learned": lambda: Learned(CLASSES),
}


@dataclass
class Trainer:
    """What a training loop has."""

    backbone: nn.Module
    classifier: nn.Module
    centers: Optimizer
    others: Optimizer

    @property
    def model(self):
        return nn.ModuleList([self.backbone, self.classifier])

    @property
    def optimizers(self):
        return [self.centers, self.others]

    def zero_grad(self, **options):
        for optimizer in self.optimizers:
            optimizer.zero_grad(**options)

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()

    def output(self, batch):
        x, label_N = batch
        return self.classifier(self.backbone(x), label_N)

    def loss(self, batch):
        return self.output(batch).loss


def make_classifier(
    head="cosface", sampler="full", backend="dense", center_format="fp32", dtype=torch.float64
):
    if backend == "triton":
        pytest.importorskip("triton", minversion="3.4")
    classifier = Classifier(
        CLASSES,
        DIM,
        head=HEADS[head](),
        sampler=build_sampler(**SAMPLERS[sampler]),
        backend=backend,
        center_std=0.5,
        center_format=center_format,
        seed=3,
    )
    return classifier if center_format == "split" else classifier.to(dtype)


def high_half(w):
    """What a loss reads of split centres."""
    return split(w.detach())[0].float()


def make_plain(classifier, head="cosface", sampler="full"):
    center_CD = classifier.read_centers()
    is_split = classifier.center_format == "split"
    plain = PlainClassifier(
        center_CD,
        HEADS[head](),
        build_sampler(**SAMPLERS[sampler]),
        **({"read": high_half} if is_split else {}),
    )
    return plain.to(center_CD.dtype)


def trainer(classifier, optimizer):
    torch.manual_seed(5)
    dtype = classifier.read_centers().dtype
    backbone = nn.Sequential(nn.Linear(DIM, 8), nn.Tanh(), nn.Linear(8, DIM)).to(dtype)
    head = list(classifier.head.parameters())
    others = torch.optim.SGD([*backbone.parameters(), *head], lr=0.05, momentum=0.5)
    return Trainer(backbone, classifier, optimizer, others)


def pair(head="cosface", sampler="full", backend="dense", *, fused=True, rates=RATES, **options):
    """The project's trainer and plain torch's, from the same start."""
    classifier = make_classifier(head, sampler, backend, **options)
    plain = make_plain(classifier, head, sampler)
    return (
        trainer(classifier, CentersSGD(classifier, fused=fused, **rates)),
        trainer(plain, plain_sgd(plain, **rates)),
    )


def batches(count=12, rows=ROWS, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(rows, DIM, generator=generator, dtype=torch.float64).to(dtype),
            torch.randint(CLASSES, (rows,), generator=generator),
        )
        for _ in range(count)
    ]


def state(trainer):
    """What a training has made."""
    return {
        "centers": trainer.classifier.read_centers().clone(),
        **{f"backbone.{k}": v.detach() for k, v in trainer.backbone.named_parameters()},
        **{f"head.{k}": v.detach() for k, v in trainer.classifier.head.named_parameters()},
        **{f"head.{k}": v for k, v in trainer.classifier.head.named_buffers()},
    }


def assert_same(mine, plain, tolerance=1e-9):
    found, expected = state(mine), state(plain)
    for name, value in expected.items():
        assert value.isfinite().all(), name
        assert_close(
            found[name],
            value,
            rtol=tolerance,
            atol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )
