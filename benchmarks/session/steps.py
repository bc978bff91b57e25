"""One training step of frcore's last layer, built where it runs, in memory it will keep anyway."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from benchmarks.session.cases import Case
from frcore.centers.storage import tiles
from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.measurement.steps import (
    INPUT_SETS,
    LEARNING_RATE,
    MOMENTUM,
    WEIGHT_DECAY,
    clustered_embeddings,
)
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler

CENTER_STD = 0.01
"""Of the initial centres, as in frcore's classifier and insightface."""

TILE = 65_536
"""Centres drawn at a time."""

Inputs = tuple[Tensor, Tensor]
"""Embeddings (N, D) and labels (N,)."""


class Step(ABC):
    """What is timed: call it to run one step; on a GPU it is only queued.

    Attributes:
        inside_timer: in words, what a call does.
    """

    inside_timer = ""

    @property
    def operands(self) -> str:
        """What products are computed from; after the first step what they were computed from."""
        return self.case.precision

    def __init__(self, case: Case, device: torch.device) -> None:
        self.case, self.device = case, device

    @abstractmethod
    def __call__(self) -> None: ...

    def synchronize(self) -> None:
        """Wait until the device has done all steps."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class OurStep(Step):
    """Classifier and the optimiser of its centres."""

    inside_timer = (
        "sampler, cosines, head, loss, backward to embeddings and centres, optimiser of the centres"
    )

    def __init__(self, case: Case, device: torch.device) -> None:
        super().__init__(case, device)
        self.classifier = build_classifier(case, device)
        momentum = 0.0 if case.state.endswith("no_momentum") else MOMENTUM
        self.optimizer = CentersSGD(
            self.classifier, lr=LEARNING_RATE, momentum=momentum, weight_decay=WEIGHT_DECAY
        )
        table = self.classifier.table
        self.inputs = make_inputs(case, device, table.read)

    @property
    def operands(self) -> str:
        return self.classifier.operands or self.case.precision

    def __call__(self) -> None:
        embedding_ND, label_N = next(self.inputs)
        self.optimizer.zero_grad(set_to_none=True)
        self.classifier(embedding_ND.detach().requires_grad_(), label_N).loss.backward()
        self.optimizer.step()


def build_classifier(case: Case, device: torch.device) -> Classifier:
    """A classifier whose centres are drawn on the device, tile by tile.

    `Classifier` draws them on the CPU, so that they are the same everywhere: 60 GB and minutes for
    30 million. Here it is built without memory, and gets it on the device.
    """
    sampler = {"name": "full"} if case.rate == 1 else {"name": "partial_fc", "rate": case.rate}
    head = build_head(case.head, num_classes=case.identities)
    with torch.device("meta"):
        classifier = Classifier(
            case.identities,
            case.dim,
            head=head,
            sampler=build_sampler(**sampler),
            backend=case.backend,
            center_format="split" if case.state.startswith("split") else "fp32",
        )
    on_device: dict[str, Any] = {}
    for name, tensor_CD in own_tensors(classifier):
        on_device[name] = torch.empty_like(tensor_CD, device=device)
    classifier.centers = torch.nn.Parameter(on_device.pop("centers"))
    for name, tensor in on_device.items():
        setattr(classifier, name, tensor)
    # What head and sampler made without memory is made again.
    classifier.head.attach(seed=0)
    classifier.sampler.attach(case.identities, case.dim, seed=0)
    classifier.to(device).train()
    fill(classifier, device)
    return classifier


def own_tensors(classifier: Classifier) -> list[tuple[str, Tensor]]:
    """Parameters and buffers of the classifier itself: the centres, in one piece or in two."""
    return [
        *((name, tensor.detach()) for name, tensor in classifier.named_parameters(recurse=False)),
        *classifier.named_buffers(recurse=False),
    ]


@torch.no_grad()
def fill(classifier: Classifier, device: torch.device) -> None:
    """Draw normal centres without a second table."""
    generator = torch.Generator(device).manual_seed(0)
    table = classifier.table
    for index in tiles(len(table), TILE):
        shape = (index.stop - index.start, classifier.centers.shape[1])
        table.write(index, torch.randn(shape, generator=generator, device=device) * CENTER_STD)


def make_inputs(
    case: Case, device: torch.device, centers: Callable[[Tensor], Tensor]
) -> cycle[Inputs]:
    """Batches that take turns: embeddings around their classes' directions, uniform labels.

    Args:
        case: batch size, identities.
        device: where they shall be.
        centers: gives the centres (N, D) of labels; a whole table is never copied.
    """
    generator = torch.Generator(device).manual_seed(0)
    batches = []
    every_N = torch.arange(case.batch_size, device=device)
    for _ in range(INPUT_SETS):
        label_N = torch.randint(
            case.identities, (case.batch_size,), generator=generator, device=device
        )
        center_ND = centers(label_N).detach().float()
        batches.append((clustered_embeddings(center_ND, every_N, generator=generator), label_N))
    return cycle(batches)
