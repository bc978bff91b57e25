"""Partial FC: which centres take part, how they are drawn, and what the loss then is."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.samplers import build_sampler
from tests.samplers.tables import no_centers


def attached(rate, num_classes, seed=0):
    sampler = build_sampler("partial_fc", rate=rate)
    sampler.attach(num_classes, 4, seed=seed)
    return sampler


@settings(deadline=None, max_examples=60)
@given(data=st.data(), num_classes=st.integers(1, 30), rate=st.floats(0, 1))
def test_positives_are_kept_and_the_budget_is_exact(data, num_classes, rate):
    labels = data.draw(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=12))
    active = attached(rate, num_classes).columns(torch.tensor(labels), no_centers)
    positives, budget = set(labels), int(rate * num_classes)
    if active is None:
        assert budget >= num_classes
        return
    active = active.tolist()
    assert active == sorted(set(active))
    assert set(active) <= set(range(num_classes))
    assert positives <= set(active)
    assert len(active) == max(budget, len(positives))


def test_negatives_are_uniform_and_vary():
    """χ² over 3,000 draws of 5 negatives among 18, as it is without replacement."""
    sampler = attached(0.35, 20)
    labels = torch.tensor([4, 11, 4])
    draws = [sampler.columns(labels, no_centers) for _ in range(3000)]
    counts = torch.stack([torch.bincount(d, minlength=20) for d in draws]).sum(0).double()
    assert counts[4] == counts[11] == 3000
    negatives = counts[[k for k in range(20) if k not in (4, 11)]]
    expected = 3000 * 5 / 18
    statistic = ((negatives - expected) ** 2).sum().item() / (expected * (1 - 5 / 18)) * 17 / 18
    assert 0.001 < stats.chi2.sf(statistic, 17) < 0.999
    # Successive draws are independent: two share 5 · 5/18 negatives on average.
    shared = [len(set(a.tolist()) & set(b.tolist())) - 2 for a, b in itertools.pairwise(draws)]
    assert sum(shared) / len(shared) == pytest.approx(25 / 18, abs=0.06)


def test_its_stream_is_its_own():
    labels = torch.tensor([0])
    first, same, other = attached(0.1, 500), attached(0.1, 500), attached(0.1, 500, seed=1)
    before = torch.get_rng_state()
    a = first.columns(labels, no_centers)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    assert torch.equal(a, same.columns(labels, no_centers))
    assert not torch.equal(a, other.columns(labels, no_centers))


def test_shards_draw_independently():
    """Not each other's numbers, nor those of another seed's first shard."""
    labels, drawn = torch.tensor([0]), {}
    for seed in range(3):
        for shard in range(3):
            sampler = build_sampler("partial_fc", rate=0.1)
            sampler.attach(500, 4, seed=seed, shard=shard)
            drawn[seed, shard] = tuple(sampler.columns(labels, no_centers).tolist())
    assert len(set(drawn.values())) == 9


def test_a_copy_goes_on_alike():
    sampler = attached(0.2, 100)
    sampler.columns(torch.tensor([0]), no_centers)
    twin = copy.deepcopy(sampler)
    assert torch.equal(
        sampler.columns(torch.tensor([3]), no_centers), twin.columns(torch.tensor([3]), no_centers)
    )


def test_attaching_again_starts_again():
    sampler = attached(0.2, 100)
    a = sampler.columns(torch.tensor([0]), no_centers)
    sampler.attach(100, 4, seed=0)
    assert torch.equal(sampler.columns(torch.tensor([0]), no_centers), a)


def test_softmax_over_the_active_centres_alone():
    classifier = Classifier(
        12, 4, head="normface", sampler=build_sampler("partial_fc", rate=0.5)
    ).double()
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.tensor([7, 0, 11])
    output = classifier(x, labels)
    output.loss.backward()
    active = classifier.active
    assert len(active) == 6
    logits = 20 * F.normalize(x) @ F.normalize(classifier.centers[active].detach()).T
    position = torch.tensor([active.tolist().index(label) for label in labels.tolist()])
    assert_close(output.loss.detach(), F.cross_entropy(logits, position), rtol=1e-12, atol=0)
    moved = classifier.centers.grad.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == active.tolist()


def test_extra_state_from_another_device_is_read():
    """`torch.load(map_location="cuda")` moves the stream's state too; it must come back."""
    source, target = attached(0.2, 100), attached(0.2, 100, seed=5)
    source.columns(torch.tensor([0]), no_centers)
    state = source.get_extra_state()
    assert state["state"].device.type == "cpu"
    target.set_extra_state(state)
    # Saved again before the first draw: nothing may be lost in between.
    third = attached(0.2, 100, seed=6)
    third.set_extra_state(target.get_extra_state())
    # Into one that is in the middle of a stream of its own.
    fourth = attached(0.2, 100, seed=7)
    fourth.columns(torch.tensor([0]), no_centers)
    fourth.set_extra_state(state)
    expected = source.columns(torch.tensor([1]), no_centers)
    assert torch.equal(fourth.columns(torch.tensor([1]), no_centers), expected)
    assert torch.equal(target.columns(torch.tensor([1]), no_centers), expected)
    assert torch.equal(third.columns(torch.tensor([1]), no_centers), expected)
