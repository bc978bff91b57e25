"""BroadFace: what is queued, how it is compensated, and who gets which gradient."""

from __future__ import annotations

from collections import deque

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.loss import ExtraRows
from frcore.samplers import build_sampler
from frcore.samplers.base import Sampler
from tests.samplers.tables import table


def attached(size, num_classes=6, dim=2, **parameters):
    sampler = build_sampler("broadface", size=size, **parameters)
    sampler.attach(num_classes, dim)
    return sampler


@settings(deadline=None, max_examples=40)
@given(size=st.integers(0, 7), steps=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_first_in_first_out(size, steps):
    """The same entries as a deque, for batches below, at and above the size."""
    sampler, expected = attached(size, compensate=False), deque(maxlen=size)
    centers = torch.ones(6, 2)
    count = 0
    for rows in steps:
        numbers = torch.arange(count, count + rows)
        count += rows
        sampler.observe(torch.stack([numbers, -numbers], 1).float(), numbers % 6, table(centers))
        expected.extend(numbers.tolist())
        rows_now = sampler.rows(table(centers))
        found = [] if rows_now is None else rows_now.embedding_QD[:, 0].int().tolist()
        assert sorted(found) == sorted(expected)
        if rows_now is not None:
            assert rows_now.label_Q.tolist() == [number % 6 for number in found]


def test_compensation_by_hand():
    """‖e⁻‖ = 5, ‖W⁻‖ = 2, and the centre moves by (1, −2): e* = e⁻ + 5/2 (1, −2)."""
    sampler = attached(4)
    centers = torch.zeros(6, 2)
    centers[3] = torch.tensor([0.0, 2.0])
    sampler.observe(torch.tensor([[3.0, 4.0]]), torch.tensor([3]), table(centers))
    assert_close(sampler.rows(table(centers)).embedding_QD, torch.tensor([[3.0, 4.0]]))
    centers[3] += torch.tensor([1.0, -2.0])
    assert_close(sampler.rows(table(centers)).embedding_QD, torch.tensor([[5.5, -1.0]]))
    # Twice from the original pair, not once on top of the other.
    assert_close(sampler.rows(table(centers)).embedding_QD, torch.tensor([[5.5, -1.0]]))


def test_a_centre_of_norm_zero_compensates_nothing():
    sampler = attached(2)
    sampler.observe(torch.tensor([[3.0, 4.0]]), torch.tensor([1]), table(torch.zeros(6, 2)))
    assert_close(sampler.rows(table(torch.ones(6, 2))).embedding_QD, torch.tensor([[3.0, 4.0]]))


def test_rows_survive_what_is_queued_next():
    """The backward pass comes after `observe`, which overwrites the slots."""
    sampler = attached(1, compensate=False)
    sampler.observe(torch.tensor([[3.0, 4.0]]), torch.tensor([1]), table(torch.ones(6, 2)))
    rows = sampler.rows(table(torch.ones(6, 2)))
    sampler.observe(torch.tensor([[7.0, 7.0]]), torch.tensor([2]), table(torch.ones(6, 2)))
    assert rows.embedding_QD.tolist() == [[3.0, 4.0]]
    assert rows.label_Q.tolist() == [1]


def test_attaching_again_empties_the_queue():
    sampler = attached(3)
    sampler.observe(torch.ones(2, 2), torch.tensor([1, 2]), table(torch.ones(6, 2)))
    sampler.attach(6, 2)
    assert sampler.rows(table(torch.ones(6, 2))) is None


def arcface_logits(x, w, labels):
    """s cos(θ + m) on the target as the authors' code writes it; no angle here is beyond π − m."""
    cosine = F.normalize(x) @ F.normalize(w).T
    shifted = torch.cos(torch.arccos(cosine) + 0.5)
    return 64 * torch.where(F.one_hot(labels, len(w)).bool(), shifted, cosine)


def test_gradients_are_those_of_the_authors_sum_of_two_losses():
    """loss.py of kakaoenterprise/BroadFace: batch loss with W detached, plus a loss over queue and
    detached batch. The value that is reported is the batch's mean alone."""
    head = build_head("arcface", num_classes=7)
    classifier = Classifier(7, 5, head=head, sampler=build_sampler("broadface", size=6)).double()
    generator = torch.Generator().manual_seed(5)
    queue_x, queue_w, queue_labels = [], [], []
    for _ in range(3):
        x = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        labels = torch.randint(7, (4,), generator=generator)
        classifier.centers.grad = None
        output = classifier(x, labels)
        output.loss.backward()

        w = classifier.centers.detach().clone().requires_grad_()
        free_x = x.detach().clone().requires_grad_()
        batch_loss = F.cross_entropy(arcface_logits(free_x, w.detach(), labels), labels)
        rows, targets = free_x.detach(), labels
        if queue_x:
            old_x, old_w = torch.cat(queue_x)[-6:], torch.cat(queue_w)[-6:]
            old_labels = torch.cat(queue_labels)[-6:]
            ratio = old_x.norm(dim=1, keepdim=True) / old_w.norm(dim=1, keepdim=True)
            moved = old_x + ratio * (w.detach()[old_labels] - old_w)
            rows, targets = torch.cat([moved, rows]), torch.cat([old_labels, targets])
        broad_loss = F.cross_entropy(arcface_logits(rows, w, targets), targets)
        (batch_loss + broad_loss).backward()

        assert_close(x.grad, free_x.grad, rtol=1e-9, atol=1e-12)
        assert_close(classifier.centers.grad, w.grad, rtol=1e-9, atol=1e-12)
        assert_close(output.loss.detach(), batch_loss.detach(), rtol=1e-12, atol=0)
        queue_x.append(x.detach())
        queue_w.append(w.detach()[labels])
        queue_labels.append(labels)
        with torch.no_grad():
            classifier.centers -= 0.02 * classifier.centers.grad


@pytest.mark.parametrize("over", ["full", {"name": "partial_fc", "rate": 0.1, "label": "p1"}])
def test_over_another_sampler_queued_labels_are_positives(over):
    classifier = Classifier(
        40, 3, head="cosface", sampler=build_sampler("broadface", size=8, over=over)
    )
    generator = torch.Generator().manual_seed(0)
    for labels in ([1, 2, 3], [10, 11, 12], [20, 21, 22]):
        x = torch.randn(3, 3, generator=generator)
        classifier(x, torch.tensor(labels))
    if over == "full":
        assert classifier.active is None
    else:
        assert classifier.active.tolist() == [1, 2, 3, 10, 11, 12, 20, 21, 22]


def test_over_takes_a_sampler_object():
    inner = build_sampler("partial_fc", rate=0.5)
    assert build_sampler("broadface", size=2, over=inner).over is inner


class Diary(Sampler):
    """Notes what it is asked, and has one row of its own."""

    def __init__(self):
        super().__init__()
        self.observed = []

    def attach(self, num_classes, dim, *, seed=0, shard=0):
        super().attach(num_classes, dim, seed=seed, shard=shard)
        self.attached = (num_classes, dim, seed)

    def rows(self, centers):
        index = torch.tensor([0])
        return ExtraRows(centers(index), index)

    def observe(self, embedding_ND, label_N, centers):
        self.observed.append(label_N.tolist())


@pytest.mark.parametrize("size", [0, 2])
def test_the_inner_sampler_takes_part(size):
    inner = Diary()
    sampler = build_sampler("broadface", size=size, over=inner)
    sampler.attach(6, 2, seed=4)
    assert inner.attached == (6, 2, 4)
    assert sampler.rows(table(torch.ones(6, 2))).label_Q.tolist() == [0]
    sampler.observe(torch.ones(1, 2), torch.tensor([5]), table(torch.ones(6, 2)))
    assert inner.observed == [[5]]
    rows = sampler.rows(table(torch.ones(6, 2)))
    assert rows.label_Q.tolist() == ([5, 0] if size else [0])
    assert rows.embedding_QD.shape == (len(rows.label_Q), 2)


def test_a_loss_without_gradient_needs_none():
    classifier = Classifier(6, 2, head="cosface", sampler=build_sampler("broadface", size=4))
    x, labels = torch.randn(3, 2, requires_grad=True), torch.tensor([0, 1, 2])
    for _ in range(2):  # the second with a queue
        with torch.no_grad():
            assert classifier(x, labels).loss.isfinite()
