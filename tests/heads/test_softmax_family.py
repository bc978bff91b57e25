"""softmax, normface and cosface against torch's own cross entropy on the written-out logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import build_head


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    w = torch.randn(9, 5, generator=generator, dtype=torch.float64)
    return x, w, torch.tensor([0, 8, 3, 3, 5, 1])


def loss_of(head, x, w):
    classifier = Classifier(9, 5, head=head).double()
    with torch.no_grad():
        classifier.centers.copy_(w)
    return lambda labels: classifier(x, labels).loss


def test_softmax_is_a_linear_layer(data):
    x, w, labels = data
    expected = F.cross_entropy(x @ w.T, labels)
    assert_close(loss_of("softmax", x, w)(labels), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1.0, 20.0, 64.0])
def test_normface_is_softmax_on_scaled_cosines(data, scale):
    x, w, labels = data
    head = build_head("normface", num_classes=9, scale=scale)
    expected = F.cross_entropy(scale * (F.normalize(x) @ F.normalize(w).T), labels)
    assert_close(loss_of(head, x, w)(labels), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("margin", [0.0, 0.35, 1.0])
def test_cosface_subtracts_from_the_target_alone(data, margin):
    x, w, labels = data
    head = build_head("cosface", num_classes=9, margin=margin, scale=30)
    cosine = F.normalize(x) @ F.normalize(w).T
    logits = 30 * (cosine - margin * F.one_hot(labels, 9).double())
    assert_close(loss_of(head, x, w)(labels), F.cross_entropy(logits, labels), rtol=1e-12, atol=0)


def test_defaults_are_the_papers():
    def head(name):
        return build_head(name, num_classes=10)

    assert (head("cosface").margin, head("cosface").scale_value) == (0.35, 64.0)
    assert (head("arcface").margin, head("arcface").scale_value) == (0.5, 64.0)
    assert head("normface").scale_value == 20.0
    assert (head("arcface").gradient, head("arcface").beyond_pi) == ("full", "linear")
    assert not head("arcface").easy_margin


@pytest.mark.parametrize("name", ["normface", "cosface", "arcface", "adacos", "adacos_fixed"])
def test_cosine_heads_ignore_norms(data, name):
    x, w, labels = data
    lengths = torch.tensor([1e-3, 1, 2, 30, 1e3, 5], dtype=torch.float64)[:, None]
    assert_close(
        loss_of(name, x * lengths, w * 0.01)(labels),
        loss_of(name, x, w)(labels),
        rtol=1e-10,
        atol=0,
    )


def test_softmax_depends_on_norms(data):
    x, w, labels = data
    assert loss_of("softmax", 2 * x, w)(labels) != loss_of("softmax", x, w)(labels)
