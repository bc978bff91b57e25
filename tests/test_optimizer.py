"""The centres' optimiser against torch.optim.SGD."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler

SETTINGS = [
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.05},
    {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.0},
]


def make(rate=None, num_classes=12, seed=0):
    sampler = "full" if rate is None else build_sampler("partial_fc", rate=rate)
    head = "cosface"
    return Classifier(num_classes, 4, head=head, sampler=sampler, seed=seed).double()


def batch(generator, num_classes=12):
    x = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(num_classes, (3,), generator=generator)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("setting", SETTINGS)
def test_full_equals_torch_sgd_exactly(setting):
    mine, theirs = make(), make()
    my_sgd = CentersSGD(mine, **setting)
    their_sgd = torch.optim.SGD([theirs.centers], **setting)
    generator = torch.Generator().manual_seed(1)
    for _ in range(25):
        x, labels = batch(generator)
        for classifier, sgd in ((mine, my_sgd), (theirs, their_sgd)):
            sgd.zero_grad()
            classifier(x, labels).loss.backward()
            sgd.step()
        assert torch.equal(mine.centers, theirs.centers)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("setting", SETTINGS)
def test_sampled_rows_are_torch_sgd_and_the_others_stand_still(setting):
    """Each centre has a torch.optim.SGD of its own, which steps when the centre is active."""
    classifier = make(rate=0.5)
    sgd = CentersSGD(classifier, **setting)
    rows = [nn.Parameter(row.clone()) for row in classifier.centers.detach()]
    optimizers = [torch.optim.SGD([row], **setting) for row in rows]
    generator = torch.Generator().manual_seed(1)
    idle = 0
    for _ in range(25):
        before = classifier.centers.detach().clone()
        momentum = sgd.state[classifier.centers].get("momentum", before).clone()
        sgd.zero_grad()
        classifier(*batch(generator)).loss.backward()
        sgd.step()
        active = set(classifier.active.tolist())
        assert len(active) == 6
        for k, (row, optimizer) in enumerate(zip(rows, optimizers, strict=True)):
            if k in active:
                row.grad = classifier.centers.grad[k].clone()
                optimizer.step()
            else:
                idle += 1
                assert torch.equal(classifier.centers[k], before[k])
                if setting["momentum"]:
                    assert torch.equal(sgd.state[classifier.centers]["momentum"][k], momentum[k])
        assert_close(
            classifier.centers.detach(), torch.stack(rows).detach(), rtol=1e-12, atol=1e-15
        )
    assert idle == 25 * 6


def test_accumulated_batches_move_every_row_they_touched():
    """Two batches, one step: the rows of the first are not forgotten when the second is drawn."""
    classifier = make(rate=0.3)
    sgd = CentersSGD(classifier, lr=0.1, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(1)
    touched = set()
    before = classifier.centers.detach().clone()
    for _ in range(2):
        classifier(*batch(generator)).loss.backward()
        touched |= set(classifier.centers.grad.abs().sum(1).nonzero().flatten().tolist())
    sgd.step()
    moved = (classifier.centers.detach() - before).abs().sum(1).nonzero().flatten().tolist()
    assert set(moved) == touched
    assert len(touched) > 3
    # The step closes the sum, also where gradients are zeroed instead of dropped.
    sgd.zero_grad(set_to_none=False)
    classifier(*batch(generator))
    assert len(classifier.active) == 3


@pytest.mark.parametrize("rate", [None, 0.5])
def test_resume_through_a_file(rate):
    setting = SETTINGS[0]
    whole = make(rate)
    whole_sgd = CentersSGD(whole, **setting)
    generator = torch.Generator().manual_seed(1)
    steps = [batch(generator) for _ in range(6)]

    def train(classifier, sgd, some):
        for x, labels in some:
            sgd.zero_grad()
            classifier(x, labels).loss.backward()
            sgd.step()

    train(whole, whole_sgd, steps[:3])
    file = io.BytesIO()
    torch.save({"classifier": whole.state_dict(), "sgd": whole_sgd.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    resumed = make(rate, seed=9)
    resumed_sgd = CentersSGD(resumed, lr=1.0, momentum=0.9)
    resumed.load_state_dict(loaded["classifier"])
    resumed_sgd.load_state_dict(loaded["sgd"])
    assert resumed_sgd.param_groups[0]["lr"] == 0.1
    train(whole, whole_sgd, steps[3:])
    train(resumed, resumed_sgd, steps[3:])
    assert torch.equal(whole.centers, resumed.centers)


def test_learning_rate_schedules():
    mine, theirs = make(), make()
    my_sgd = CentersSGD(mine, lr=0.1, momentum=0.9, weight_decay=5e-4)
    their_sgd = torch.optim.SGD([theirs.centers], lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(sgd, max_lr=0.5, total_steps=12)
        for sgd in (my_sgd, their_sgd)
    ]
    generator = torch.Generator().manual_seed(1)
    rates = []
    for _ in range(10):
        x, labels = batch(generator)
        rates.append(my_sgd.param_groups[0]["lr"])
        for classifier, sgd in ((mine, my_sgd), (theirs, their_sgd)):
            sgd.zero_grad()
            classifier(x, labels).loss.backward()
            sgd.step()
        for schedule in schedules:
            schedule.step()
    assert len(set(rates)) == 10
    assert torch.equal(mine.centers, theirs.centers)


def test_closure_is_called_with_gradients():
    classifier = make()
    sgd = CentersSGD(classifier, lr=0.1)
    before = classifier.centers.detach().clone()

    def closure():
        sgd.zero_grad()
        loss = classifier(torch.ones(1, 4, dtype=torch.float64), torch.tensor([1])).loss
        loss.backward()
        return loss

    assert sgd.step(closure).item() > 0
    assert not torch.equal(classifier.centers, before)


def test_no_gradient_no_step():
    """Not even weight decay: `torch.optim.SGD` too leaves such a parameter alone."""
    classifier = make()
    before = classifier.centers.detach().clone()
    CentersSGD(classifier, lr=0.1).step()
    assert torch.equal(classifier.centers, before)


def test_memory_of_momentum_is_there_from_the_start():
    classifier = make()
    assert CentersSGD(classifier, lr=0.1).state[classifier.centers]["momentum"].shape == (12, 4)
    assert not CentersSGD(classifier, lr=0.1, momentum=0.0).state[classifier.centers]
