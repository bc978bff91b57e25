"""A head that acts everywhere a head may act, against its logits written out.

The built-in heads do not use every place of the contract; a user's head may.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads.base import Head
from frcore.samplers import build_sampler


class Everywhere(Head):
    """Hard negatives above the target are lifted; scale and penalty follow the norm; s learns."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.temperature = nn.Parameter(torch.tensor(7.0, dtype=torch.float64))
        self.seen = []

    def update(self, batch):
        assert not torch.is_grad_enabled()
        assert batch.negative_logsumexp is None  # not declared, so not computed
        self.seen.append((batch.cosine_N, batch.norm_N, batch.label_N, batch.num_classes))

    def target(self, cosine_N, batch):
        return cosine_N - 0.1 * batch.norm_N / (1 + batch.norm_N)

    def negative(self, cosine_NC, target_N1, batch):
        return torch.where(cosine_NC > target_N1, cosine_NC * 1.2 + 0.2 * target_N1, cosine_NC)

    def scale(self, batch):
        return self.temperature + batch.norm_N

    def penalty(self, batch):
        return 1 / batch.norm_N + 0.01 * batch.num_classes


def written_out(x, w, labels, temperature, num_classes):
    """Loss of each row, by torch's cross entropy."""
    norm = x.norm(dim=1, keepdim=True)
    cosine = F.normalize(x) @ F.normalize(w).T
    own = F.one_hot(labels, len(w)).bool()
    target = cosine[own][:, None] - 0.1 * norm / (1 + norm)
    lifted = torch.where(cosine > target, cosine * 1.2 + 0.2 * target, cosine)
    logits = (temperature + norm) * torch.where(own, target, lifted)
    rows = F.cross_entropy(logits, labels, reduction="none")
    return rows + 1 / norm.squeeze(1) + 0.01 * num_classes


def make(**sampler):
    classifier = Classifier(
        9, 4, head=Everywhere(9), sampler=build_sampler(**sampler), seed=2
    ).double()
    generator = torch.Generator().manual_seed(0)
    batches = [
        (
            torch.randn(5, 4, generator=generator, dtype=torch.float64) * 3,
            torch.randint(9, (5,), generator=generator),
        )
        for _ in range(2)
    ]
    return classifier, batches


@pytest.mark.parametrize("sampler", [{"name": "full"}, {"name": "partial_fc", "rate": 0.7}])
def test_every_place_acts(sampler):
    classifier, ((x, labels), _) = make(**sampler)
    x.requires_grad_()
    output = classifier(x, labels)
    output.loss.backward()

    active = torch.arange(9) if classifier.active is None else classifier.active
    w = classifier.centers.detach().clone().requires_grad_()
    t = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    rows = written_out(y, w[active], torch.searchsorted(active, labels), t, num_classes=9)
    rows.mean().backward()
    assert_close(output.row_loss_N, rows.detach(), rtol=1e-11, atol=0)
    assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-12)
    assert_close(classifier.centers.grad, w.grad, rtol=1e-9, atol=1e-12)
    assert_close(classifier.head.temperature.grad, t.grad, rtol=1e-9, atol=0)
    assert_close(output.scale, (7 + x.norm(dim=1)).mean().detach())


def test_a_queue_adds_rows_with_their_own_norms_but_not_to_the_state():
    classifier, (first, (x, labels)) = make(name="broadface", size=3, compensate=False)
    classifier(*first)
    x.requires_grad_()
    output = classifier(x, labels)
    output.loss.backward()

    w = classifier.centers.detach().clone().requires_grad_()
    y = x.detach().clone().requires_grad_()
    batch = written_out(y, w.detach(), labels, 7.0, 9)
    batch.mean().backward()
    all_x, all_labels = torch.cat([x.detach(), first[0][-3:]]), torch.cat([labels, first[1][-3:]])
    written_out(all_x, w, all_labels, 7.0, 9).mean().backward()
    assert_close(output.loss.detach(), batch.mean().detach(), rtol=1e-12, atol=0)
    assert_close(output.row_loss_N, batch.detach(), rtol=1e-11, atol=0)
    assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-12)
    assert_close(classifier.centers.grad, w.grad, rtol=1e-9, atol=1e-12)

    cosine, norm, seen_labels, num_classes = classifier.head.seen[-1]
    assert_close(cosine, F.cosine_similarity(x, w[labels]).detach())
    assert_close(norm, x.norm(dim=1).detach())
    assert torch.equal(seen_labels, labels)
    assert num_classes == 9
    assert output.target_cosine_N.shape == (5,)
    assert_close(output.scale, (7 + x.norm(dim=1)).mean().detach())


def test_no_update_in_evaluation():
    classifier, (batch, _) = make(name="full")
    classifier.eval()(*batch)
    assert not classifier.head.seen
