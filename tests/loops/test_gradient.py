"""What a user may do with the centres' gradient and their optimiser beside a step."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from frcore.centers.gradient import CentersGradient
from frcore.optimizer import CentersSGD
from tests.loops.loops import one_by_one
from tests.loops.trainers import RATES, assert_same, batches, make_classifier, make_plain, pair


@pytest.fixture(params=["full", "sparse"])
def gradients(request):
    """Of the project, computed where it is asked for, and of plain torch."""
    mine, plain = pair("curricularface", request.param, "streamed")
    for trainer in (mine, plain):
        for batch in batches(2):
            trainer.loss(batch).backward()
    return mine.classifier.centers.grad, plain.classifier.centers.grad


def test_whoever_reads_it_finds_a_tensor(gradients):
    mine, plain = gradients
    assert isinstance(mine, CentersGradient)
    readers = [
        lambda x: x.numpy(),
        np.asarray,
        lambda x: x.tolist(),
        copy.deepcopy,
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: x.T @ x,
        lambda x: 2 * x - x.flip(0),
        lambda x: x[3:5].sum(1),
        lambda x: torch.stack([x, x]).mean(0),
        lambda x: x.abs().amax(),
        *(lambda x, order=order: x.norm(order) for order in (1, 2, 3.5, torch.inf, 0, -torch.inf)),
    ]
    for n, read in enumerate(readers):
        found = read(mine)
        found = found + 0.0 if isinstance(found, CentersGradient) else found
        assert_close(
            torch.as_tensor(np.asarray(found)),
            torch.as_tensor(np.asarray(read(plain))),
            msg=lambda text, n=n: f"reader {n}: {text}",
        )
    assert isinstance(mine.clone(), CentersGradient)
    assert repr(mine).startswith("CentersGradient(")


def test_a_file_has_a_tensor(gradients):
    mine, plain = gradients
    file = io.BytesIO()
    torch.save(mine, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert type(loaded) is torch.Tensor
    assert_close(loaded, plain)


@pytest.mark.parametrize("sampler", ["full", "lazy"])
def test_two_classifiers_on_one_backbone(sampler):
    def train(layers, optimizers):
        torch.manual_seed(5)
        backbone = torch.nn.Linear(6, 6).double()
        optimizers = [*optimizers, torch.optim.SGD(backbone.parameters(), lr=0.05)]
        for x, label_N in batches():
            for optimizer in optimizers:
                optimizer.zero_grad()
            x_ND = backbone(x)
            sum(layer(x_ND, label_N).loss for layer in layers).backward()
            torch.nn.utils.clip_grad_norm_([layer.centers for layer in layers], 0.2)
            for optimizer in optimizers:
                optimizer.step()
        return [layer.read_centers() for layer in layers]

    parts = [("cosface", "dense"), ("curricularface", "streamed")]
    mine = [make_classifier(head, sampler, backend) for head, backend in parts]
    plain = [make_plain(c, head, sampler) for c, (head, _) in zip(mine, parts, strict=True)]
    found = train(mine, [CentersSGD(c, **RATES) for c in mine])
    expected = train(plain, [torch.optim.SGD([c.centers], **RATES) for c in plain])
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sampler", ["full", "lazy", "sparse"])
def test_momentum_that_a_schedule_raises_from_nothing(sampler):
    trainers = pair("cosface", sampler, rates={**RATES, "momentum": 0.0})
    for trainer in trainers:
        one_by_one(trainer, batches(5))
        trainer.centers.param_groups[0]["momentum"] = 0.8
        trainer.centers.param_groups[0]["lr"] = torch.tensor(0.05, dtype=torch.float64)
        one_by_one(trainer, batches(7))
    assert_same(*trainers)
