"""Rows that catch up, against torch.optim.SGD moving every row at every step."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch.testing import assert_close

from frcore.centers import deferred_updates
from frcore.centers.sgd import Rates
from frcore.centers.storage import PlainRows
from frcore.classifier import Classifier
from frcore.optimizer import CentersSGD
from frcore.samplers import build_sampler

CLASSES, DIM = 40, 4
SETTINGS = [
    {"momentum": 0.9, "weight_decay": 5e-4},
    {"momentum": 0.9, "weight_decay": 0.0},
    {"momentum": 0.0, "weight_decay": 0.05},
    {"momentum": 0.99, "weight_decay": 0.3},
]
SAMPLERS = [
    {"name": "partial_fc", "rate": 0.1},
    {"name": "partial_fc", "rate": 0.0},
    {"name": "partial_fc", "rate": 0.2, "negatives": "hard", "neighbours": 3, "refresh": 4},
    {"name": "broadface", "size": 3, "over": {"name": "partial_fc", "rate": 0.2}},
    {"name": "broadface", "size": 3, "over": {"name": "interclass_filter", "over": "partial_fc"}},
]


def build(update, sampler, seed=0):
    def with_update(parameters):
        if isinstance(parameters, str):
            parameters = {"name": parameters, "rate": 0.3}
        if parameters["name"] == "partial_fc":
            return {**parameters, "update": update}
        return {**parameters, "over": with_update(parameters["over"])}

    return Classifier(
        CLASSES, DIM, head="cosface", sampler=build_sampler(**with_update(sampler)), seed=seed
    ).double()


def batch(generator):
    x = torch.randn(2, DIM, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (2,), generator=generator)


def train(classifier, sgd, batches):
    losses = []
    for x, labels in batches:
        sgd.zero_grad()
        output = classifier(x, labels)
        output.loss.backward()
        sgd.step()
        losses.append(output.loss.detach())
    return torch.stack(losses)


PAIRS = [
    pytest.param(
        sampler,
        setting,
        id=f"{sampler}-setting{index}",
        marks=() if 0 in (index, SAMPLERS.index(sampler)) else pytest.mark.slow,
    )
    for sampler in SAMPLERS
    for index, setting in enumerate(SETTINGS)
]


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(("sampler", "setting"), PAIRS)
def test_lazy_is_torch_sgd_on_every_row(sampler, setting, monkeypatch):
    """Also across the horizon, under a schedule, and for losses, which see the rows in between."""
    monkeypatch.setattr(deferred_updates, "HORIZON", 13)
    mine, theirs = build("lazy", sampler), build("dense", sampler)
    my_sgd = CentersSGD(mine, lr=0.1, **setting)
    their_sgd = torch.optim.SGD([theirs.centers], lr=0.1, **setting)
    generator = torch.Generator().manual_seed(3)
    behind = 0
    for step in range(60):
        for sgd in (my_sgd, their_sgd):
            sgd.param_groups[0]["lr"] = 0.1 * (1 - step / 70)
        x, labels = batch(generator)
        mine_loss = train(mine, my_sgd, [(x, labels)])
        assert_close(mine_loss, train(theirs, their_sgd, [(x, labels)]), rtol=1e-10, atol=1e-12)
        behind += int((mine.centers - theirs.centers).abs().amax(1).gt(1e-9).sum())
    assert behind > 100  # rows really stood still meanwhile
    mine.synchronize()
    assert_close(mine.centers, theirs.centers, rtol=1e-11, atol=1e-13)
    if setting["momentum"]:
        assert_close(
            my_sgd.state[mine.centers]["momentum"],
            their_sgd.state[theirs.centers]["momentum_buffer"],
            rtol=1e-10,
            atol=1e-13,
        )


def test_the_real_horizon_keeps_the_digits():
    """A row untouched for more than 512 steps, in float32 as in training."""
    value = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    velocity = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    slow_value, slow_velocity = value.double(), velocity.double()
    rows = deferred_updates.DeferredUpdates(PlainRows(value), PlainRows(velocity))
    for step in range(700):
        lr = 0.1 * (1 - step / 1000)
        slow_velocity = 0.9 * slow_velocity + 5e-4 * slow_value
        slow_value = slow_value - lr * slow_velocity
        rows.record(torch.tensor([], dtype=torch.long), Rates(lr, 0.9, 5e-4))
    rows.catch_up(None)
    assert_close(value.double(), slow_value, rtol=1e-6, atol=1e-7)
    assert_close(velocity.double(), slow_velocity, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("tile", [1, 7, 1000])
def test_tiles_of_a_full_catch_up_change_nothing(tile, monkeypatch):
    monkeypatch.setattr(deferred_updates, "TILE", tile)
    mine, whole = build("lazy", SAMPLERS[0]), build("lazy", SAMPLERS[0])
    sgds = [CentersSGD(c, lr=0.1) for c in (mine, whole)]
    batches = [batch(torch.Generator().manual_seed(k)) for k in range(9)]
    for classifier, sgd in zip((mine, whole), sgds, strict=True):
        train(classifier, sgd, batches)
    mine.synchronize()
    whole.synchronize(torch.arange(CLASSES))
    assert torch.equal(mine.centers, whole.centers)


def test_whoever_looks_sees_no_row_behind():
    """`state_dict` of both, evaluation, `read_centers` and `negative_angles`."""
    mine, theirs = build("lazy", SAMPLERS[0]), build("dense", SAMPLERS[0])
    my_sgd, their_sgd = CentersSGD(mine, lr=0.1), CentersSGD(theirs, lr=0.1)
    batches = [batch(torch.Generator().manual_seed(k)) for k in range(9)]
    train(mine, my_sgd, batches)
    train(theirs, their_sgd, batches)
    x, labels = batches[0]
    assert not torch.allclose(mine.centers, theirs.centers, atol=1e-6)

    index = torch.tensor([5, 1, 5])
    for copied in (copy.deepcopy(mine) for _ in range(2)):
        assert copied.deferred_updates.values.tensor_CD is copied.centers  # and not the original's
    assert_close(copy.deepcopy(mine).read_centers(index), theirs.centers[index].detach())
    angles = copy.deepcopy(mine).negative_angles(x, labels)
    assert_close(angles, theirs.negative_angles(x, labels))
    assert_close(copy.deepcopy(mine).eval()(x, labels).loss, theirs.eval()(x, labels).loss)
    assert_close(copy.deepcopy(mine).state_dict()["centers"], theirs.centers.detach())
    saved = my_sgd.state_dict()["state"][0]["momentum"]
    assert_close(saved, their_sgd.state_dict()["state"][0]["momentum"])


def test_resume_through_a_file_and_loading_forgets():
    whole = build("lazy", SAMPLERS[0])
    whole_sgd = CentersSGD(whole, lr=0.1)
    batches = [batch(torch.Generator().manual_seed(k)) for k in range(12)]
    train(whole, whole_sgd, batches[:6])
    file = io.BytesIO()
    torch.save({"classifier": whole.state_dict(), "sgd": whole_sgd.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    resumed = build("lazy", SAMPLERS[0], seed=9)
    resumed_sgd = CentersSGD(resumed, lr=1.0)
    train(resumed, resumed_sgd, batches[:3])  # rows behind, which the file's are not
    resumed.load_state_dict(loaded["classifier"])
    resumed_sgd.load_state_dict(loaded["sgd"])
    assert_close(
        train(resumed, resumed_sgd, batches[6:]),
        train(whole, whole_sgd, batches[6:]),
        rtol=0,
        atol=0,
    )
    assert torch.equal(resumed.state_dict()["centers"], whole.state_dict()["centers"])


def test_accumulated_batches():
    """Rows sampled by either batch of a step move with their gradient, the others catch up."""
    mine, theirs = build("lazy", SAMPLERS[0]), build("dense", SAMPLERS[0])
    my_sgd = CentersSGD(mine, lr=0.1)
    their_sgd = torch.optim.SGD([theirs.centers], lr=0.1, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        my_sgd.zero_grad()
        their_sgd.zero_grad()
        for _ in range(2):
            x, labels = batch(generator)
            mine(x, labels).loss.backward()
            theirs(x, labels).loss.backward()
        my_sgd.step()
        their_sgd.step()
    mine.synchronize()
    assert_close(mine.centers, theirs.centers, rtol=1e-11, atol=1e-13)


def test_dense_is_torch_sgd_and_sparse_is_not():
    for update, same in (("dense", True), ("sparse", False)):
        mine, theirs = build(update, SAMPLERS[0]), build(update, SAMPLERS[0])
        my_sgd = CentersSGD(mine, lr=0.1)
        their_sgd = torch.optim.SGD([theirs.centers], lr=0.1, momentum=0.9, weight_decay=5e-4)
        batches = [batch(torch.Generator().manual_seed(k)) for k in range(6)]
        train(mine, my_sgd, batches)
        train(theirs, their_sgd, batches)
        assert torch.equal(mine.centers, theirs.centers) is same
