"""Inter-class filtering against the published code's arithmetic, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.samplers import build_sampler

CLASSES, DIM, ROWS = 30, 3, 6  # three dimensions: many cosines above any threshold


def make(sampler, head="cosface"):
    classifier = Classifier(
        CLASSES,
        DIM,
        head=build_head(head, num_classes=CLASSES),
        sampler=build_sampler(**sampler),
    ).double()
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64)
    return classifier, x, torch.arange(ROWS) * 4


def published(cosine, labels, threshold):
    """insightface's `losses.py:30-38` and its CosFace, line by line (threshold > 0)."""
    with torch.no_grad():
        dirty = (cosine > threshold).double()
        mask = torch.ones_like(cosine)
        mask.scatter_(1, labels[:, None], 0)
        tensor_mul = 1 - dirty * mask
    logits = tensor_mul * cosine
    target = logits[torch.arange(len(labels)), labels]
    logits = logits.clone()
    logits[torch.arange(len(labels)), labels] = target - 0.35
    return logits * 64


def test_a_threshold_of_1_is_no_filter():
    """A cosine that rounds above 1 stays."""
    assert build_sampler("interclass_filter", threshold=1.0).entry_filter is None
    assert build_sampler("interclass_filter", threshold=0.999).entry_filter is not None


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.9])
def test_zero_is_the_published_code(threshold):
    classifier, x, labels = make({"name": "interclass_filter", "threshold": threshold})
    x.requires_grad_()
    output = classifier(x, labels)
    output.loss.backward()

    y = x.detach().clone().requires_grad_()
    w = classifier.centers.detach().clone().requires_grad_()
    logits = published(F.normalize(y) @ F.normalize(w).T, labels, threshold)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    assert (logits.detach() == 0).sum() > 5  # entries were filtered
    assert_close(output.loss, loss, rtol=1e-10, atol=1e-12)
    assert classifier.eval()(x, labels).loss > loss  # in evaluation nothing is filtered
    assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-12)
    assert_close(classifier.centers.grad, w.grad, rtol=1e-9, atol=1e-12)


def test_drop_is_a_softmax_without_the_entries():
    classifier, x, labels = make({"name": "interclass_filter", "threshold": 0.3, "mode": "drop"})
    output = classifier(x, labels)
    cosine = F.normalize(x) @ F.normalize(classifier.centers.detach()).T
    own = F.one_hot(labels, CLASSES).bool()
    logits = 64 * torch.where(own, cosine - 0.35, cosine)
    logits = logits.masked_fill((cosine > 0.3) & ~own, -torch.inf)
    expected = F.cross_entropy(logits, labels, reduction="none")
    assert_close(output.row_loss_N, expected, rtol=1e-10, atol=1e-12)


def test_a_threshold_of_one_filters_nothing():
    classifier, x, labels = make({"name": "interclass_filter", "threshold": 1.0})
    plain, _, _ = make({"name": "full"})
    assert torch.equal(classifier(x, labels).row_loss_N, plain(x, labels).row_loss_N)


@pytest.mark.parametrize("inner", ["full", {"name": "partial_fc", "rate": 0.5, "update": "lazy"}])
def test_columns_and_update_are_the_inner_samplers(inner):
    sampler = {"name": "interclass_filter", "threshold": 0.3, "over": inner}
    filtered, x, labels = make(sampler)
    plain, _, _ = make({"name": inner} if isinstance(inner, str) else inner)
    filtered(x, labels)
    plain(x, labels)
    assert str(filtered.active) == str(plain.active)
    assert filtered.sampler.update == plain.sampler.update
    queued = build_sampler("broadface", size=4, over=sampler)
    assert queued.entry_filter == filtered.sampler.entry_filter
    assert queued.update == plain.sampler.update


def test_adacos_sees_what_is_left():
    """One conflicting class at cosine 1 would lift the scale at every step."""
    scales = {}
    for name, sampler in {
        "plain": {"name": "full"},
        "filtered": {"name": "interclass_filter", "threshold": 0.5, "mode": "drop"},
    }.items():
        classifier, x, labels = make(sampler, head="adacos")
        with torch.no_grad():
            classifier.centers[1] = x[0]
        for _ in range(5):
            classifier(x, labels)
        scales[name] = classifier.head.scale_value.item()
    assert scales["filtered"] < 0.7 * scales["plain"]


def test_thresholds_are_cosines():
    with pytest.raises(UserError, match=r"threshold = 1\.5"):
        build_sampler("interclass_filter", threshold=1.5)


def test_a_threshold_of_one_filters_no_cosine_that_rounds_above_one():
    """A row at the centre of another class: 1 + 2e-16 > 1, found by hypothesis."""
    classifier = Classifier(
        40,
        7,
        head=build_head("cosface", num_classes=40),
        sampler=build_sampler("interclass_filter", threshold=1.0, mode="drop"),
    ).double()
    x = classifier.centers.detach().clone()
    assert (F.normalize(x) * F.normalize(x)).sum(1).max() > 1
    output = classifier(x, (torch.arange(40) + 1) % 40)
    assert output.row_loss_N.min() > 20  # the other class is there, at cosine 1


@pytest.mark.parametrize("between", [[], ["broadface"]])
def test_a_filter_over_a_filter_is_refused(between):
    """The matrix has one filter: the inner one would be ignored."""
    over = {"name": "interclass_filter", "threshold": 0.2}
    for name in between:
        over = {"name": name, "size": 3, "over": over}
    with pytest.raises(UserError, match="one filter: keep one of the two"):
        build_sampler("interclass_filter", threshold=0.4, over=over)
