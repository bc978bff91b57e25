"""What the plan counts of the backend `dense` is what its step really does."""

from __future__ import annotations

import pytest
import torch

from frcore.classifier import Classifier
from frcore.optimizer import CentersSGD
from frcore.planning.counted import COUNTED
from frcore.samplers import build_sampler
from tests.planning.test_counting import Counting

CLASSES = (500, 1000)


def counts(classes: int, batch: int, dim: int, rate: float, update: str) -> Counting:
    """The second step; the first creates the momentum."""
    generator = torch.Generator().manual_seed(0)
    sampler = (
        build_sampler("full")
        if rate == 1
        else build_sampler("partial_fc", rate=rate, update=update)
    )
    classifier = Classifier(classes, dim, head="cosface", sampler=sampler, backend="dense")
    optimizer = CentersSGD(classifier, lr=0.1, momentum=0.9, weight_decay=5e-4)
    embeddings = torch.randn(batch, dim, generator=generator, requires_grad=True)
    labels = torch.randint(0, 20, (batch,), generator=generator)

    def step() -> None:
        classifier(embeddings, labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        embeddings.grad = None

    step()
    momentum = optimizer.state_dict()["state"][0]["momentum"]
    with Counting([*classifier.parameters(), *classifier.buffers(), momentum]) as counted:
        step()
    return counted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "update"), [(1.0, "sparse"), (0.1, "sparse"), (0.5, "sparse"), (0.5, "dense")]
)
@pytest.mark.parametrize(("batch", "dim"), [(256, 64), (32, 256)])
def test_a_step_of_dense(batch, dim, rate, update):
    """Per class, from the difference between two sizes: at most a tenth off."""
    small, large = (counts(classes, batch, dim, rate, update) for classes in CLASSES)
    per_class = CLASSES[1] - CLASSES[0]
    planned = COUNTED["dense"]
    move = planned.dense_update if update == "dense" else None
    if update != "dense":  # which holds some thousand rows more: a tile
        assert (large.peak - small.peak) / per_class == pytest.approx(
            planned.peak(batch, dim, rate), rel=0.1
        )
    assert (large.moved - small.moved) / per_class == pytest.approx(
        (move or planned.moved)(batch, dim, rate), rel=0.1
    )
    assert (large.flop - small.flop) / per_class == pytest.approx(6 * batch * dim * rate, rel=0.02)
