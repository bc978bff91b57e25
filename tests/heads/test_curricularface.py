"""CurricularFace: the rule for hard classes, the course of t, and the authors' code."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from tests.heads.logits import head_batch, logits, random_cosines, target_and_slope


def head_with_t(t, **parameters):
    head = build_head("curricularface", num_classes=10, **parameters)
    head.t.fill_(t)
    return head


def negatives(head, theta, others):
    """What the other cosines of one row become, and their derivatives."""
    own = torch.tensor([theta], dtype=torch.float64).cos().requires_grad_()
    cosine = torch.tensor([others], dtype=torch.float64, requires_grad=True)
    batch = head_batch(own)
    value = head.negative(cosine, head.target(own, batch)[:, None], batch)
    value.sum().backward()
    assert own.grad is None  # none through the choice
    return value[0].tolist(), cosine.grad[0].tolist()


@pytest.mark.parametrize(
    ("t", "others", "values", "slopes"),
    # θ_y = 1, cos 1.5 = 0.07073720: above it a class is hard; N = c (t + c), dN/dc = t + 2c.
    [
        (0.0, [0.0708, 0.0707, 0.5, -0.5], [0.00501264, 0.0707, 0.25, -0.5], [0.1416, 1, 1, 1]),
        (0.3, [0.5, 0.07, 0.9], [0.4, 0.07, 1.08], [1.3, 1, 2.1]),
        (1.0, [0.5], [0.75], [2.0]),
        (-0.2, [0.5], [0.15], [0.8]),
    ],
)
def test_hard_classes_at_known_points(t, others, values, slopes):
    value, slope = negatives(head_with_t(t), 1.0, others)
    assert value == pytest.approx(values, abs=1e-12)
    assert slope == pytest.approx(slopes, abs=1e-12)


def test_hard_classes_below_zero():
    """θ_y = 2, cos 2.5 = −0.80114362: a hard class may have a negative cosine."""
    value, slope = negatives(head_with_t(0.3), 2.0, [-0.5, -0.9])
    assert value == pytest.approx([0.1, -0.9])
    assert slope == pytest.approx([-0.7, 1])


def test_the_choice_is_made_without_the_guard():
    """θ_y = 3: cos 3.5 = −0.93645669 decides, though the target is cos 3 − 0.5 sin 0.5."""
    head = head_with_t(0.0)
    assert target_and_slope(head, 3.0)[0] == pytest.approx(-1.22970527, abs=1e-8)
    assert negatives(head, 3.0, [-0.95, -0.93])[0] == pytest.approx([-0.95, 0.8649])


@pytest.mark.parametrize(
    ("rule", "value"), [("linear", -1.22970527), ("cos", -0.93645669), ("clip", -1.0)]
)
def test_rules_beyond_pi(rule, value):
    head = build_head("curricularface", num_classes=10, beyond_pi=rule)
    assert target_and_slope(head, 3.0)[0] == pytest.approx(value, abs=1e-8)
    assert target_and_slope(head, 1.0) == pytest.approx(
        (math.cos(1.5), math.sin(1.5) / math.sin(1.0)), rel=1e-12
    )


@pytest.mark.parametrize("ema", [0.01, 0.1, 0.99, 1.0])
def test_t_after_constant_batches(ema):
    """From 0 towards r = mean cos θ_y: t_n = r (1 − (1 − α)^n)."""
    head = build_head("curricularface", num_classes=10, ema=ema)
    for step in range(1, 8):
        head.update(head_batch(torch.tensor([0.2, 0.4, 0.9])))
        assert head.t.item() == pytest.approx(0.5 * (1 - (1 - ema) ** step), rel=1e-6)


def test_t_is_the_weighted_sum_of_the_means():
    head = build_head("curricularface", num_classes=10, ema=0.1)
    means = [0.1, -0.3, 0.8, 0.5]
    for mean in means:
        head.update(head_batch(torch.tensor([mean - 0.05, mean + 0.05], dtype=torch.float64)))
    expected = sum(0.1 * 0.9 ** (len(means) - 1 - i) * r for i, r in enumerate(means))
    assert head.t.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ema", [0.01, 0.1])
def test_the_authors_code(ema):
    """t before the logits of its own step, in-place mask over all columns, then the target."""
    head = build_head("curricularface", num_classes=8, ema=ema)
    m, t = 0.5, torch.zeros(1, dtype=torch.float64)
    for seed in range(4):
        cosine, labels = random_cosines(30, 8, seed)
        own = cosine[torch.arange(30), labels][:, None]
        shifted = own * math.cos(m) - (1 - own**2).sqrt() * math.sin(m)
        final = torch.where(own > math.cos(math.pi - m), shifted, own - math.sin(math.pi - m) * m)
        t = own.detach().mean() * ema + (1 - ema) * t
        z = cosine.clone()
        hard = z > shifted
        z[hard] = z[hard] * (t + z[hard])
        theirs = 64 * z.scatter(1, labels[:, None], final)

        head.update(head_batch(own.detach().squeeze(1)))
        ours = logits(head, cosine, labels)
        assert head.t.item() == pytest.approx(t.item(), rel=1e-12)
        assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
        assert_close(
            torch.autograd.grad(F.cross_entropy(ours / 16, labels), cosine)[0],
            torch.autograd.grad(F.cross_entropy(theirs / 16, labels), cosine)[0],
            rtol=1e-9,
            atol=1e-12,
        )


def test_t_is_state_of_the_training_alone():
    x, labels = torch.randn(4, 6), torch.arange(4)
    classifier = Classifier(10, 6, head="curricularface")
    centers = F.normalize(classifier.centers.detach())
    mean = (F.normalize(x) * centers[labels]).sum(1).mean().item()
    classifier(x, labels)
    assert classifier.head.t.item() == pytest.approx(0.01 * mean, rel=1e-4)
    classifier.eval()
    before = classifier.head.t.clone()
    loss = classifier(x * 2, labels.flip(0)).loss
    assert torch.equal(classifier.head.t, before)
    resumed = Classifier(10, 6, head="curricularface").eval()
    resumed.load_state_dict(classifier.state_dict())
    assert torch.equal(resumed.head.t, before)
    assert torch.equal(resumed(x * 2, labels.flip(0)).loss, loss)


def test_state_and_diagnostics():
    head = build_head("curricularface", num_classes=10)
    assert head.state_dict()["t"].dtype == torch.float64
    assert not list(head.parameters())
    seen = head.diagnostics()["t"]
    head.update(head_batch(torch.tensor([0.5])))
    assert seen == 0  # not a view of the state
    assert head.diagnostics()["t"] == head.t


@pytest.mark.parametrize("ema", [0, 1.5])
def test_ema_out_of_range(ema):
    with pytest.raises(UserError, match="ema"):
        build_head("curricularface", num_classes=10, ema=ema)


def test_defaults_are_the_authors():
    head = build_head("curricularface", num_classes=10)
    assert (head.margin, head.scale_value, head.ema) == (0.5, 64, 0.01)
    assert (head.beyond_pi, head.gradient, head.easy_margin) == ("linear", "full", False)
