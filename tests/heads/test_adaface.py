"""AdaFace: figures by hand, the running mean and deviation, and what has no gradient."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.samplers import build_sampler
from tests.heads.logits import head_batch, target_and_slope


def set_state(head, mean, std):
    head.norm_mean.fill_(mean)
    head.norm_std.fill_(std)
    return head


def row(theta, norm):
    cosine = torch.tensor([theta], dtype=torch.float64).cos()
    return head_batch(cosine, torch.tensor([norm], dtype=torch.float64))


@pytest.mark.parametrize(
    ("norm", "quality"),
    # 0.333 (norm − 20) / (4 + 0.001)
    [(20.0, 0.0), (24.0, 0.332917), (18.0, -0.166458), (35.0, 1.0), (2.0, -1.0)],
)
def test_quality_and_target_by_hand(norm, quality):
    head = set_state(build_head("adaface", num_classes=10), 20.0, 4.0)
    batch = row(1.0, norm)
    assert head.quality(batch.norm_N).item() == pytest.approx(quality, abs=1e-6)
    expected = math.cos(1.0 - 0.4 * quality) - 0.4 * quality - 0.4
    assert head.target(batch.cosine_N, batch).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "name"), [(1e-9, "arcface"), (20.0, "cosface")])
def test_the_heads_between_which_it_lies(norm, name):
    """The paper: a quality of −1 is ArcFace, 0 is CosFace, with the same m."""
    head = set_state(build_head("adaface", num_classes=10), 20.0, 1.0)
    other = build_head(name, num_classes=10, margin=0.4)
    for theta in (0.2, 1.0, 2.5):
        batch = row(theta, norm)
        expected = other.target(batch.cosine_N, batch)
        assert_close(head.target(batch.cosine_N, batch), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("ema", [0.01, 0.3, 1.0])
def test_running_mean_and_deviation_in_closed_form(ema):
    """After t equal batches, state = batch + (start − batch)(1 − ema)^t; the deviation's divisor
    is N − 1, and norms count as 0.001 to 100."""
    head = build_head("adaface", num_classes=10, ema=ema)
    batch = head_batch(torch.zeros(3), torch.tensor([0.0, 50.0, 1e6]))  # counts as 0.001, 50, 100
    for _ in range(5):
        head.update(batch)
    decay = (1 - ema) ** 5
    mean = 150.001 / 3
    variance = ((0.001 - mean) ** 2 + (50 - mean) ** 2 + (100 - mean) ** 2) / 2
    assert head.norm_mean.item() == pytest.approx(mean + (20 - mean) * decay, rel=1e-9)
    expected = math.sqrt(variance) * (1 - decay) + 100 * decay
    assert head.norm_std.item() == pytest.approx(expected, rel=1e-9)
    assert head.norm_mean.dtype == head.norm_std.dtype == torch.float64
    assert {"norm_mean", "norm_std"} == set(head.state_dict())


def test_one_row_moves_the_mean_alone():
    head = build_head("adaface", num_classes=10, ema=0.5)
    head.update(head_batch(torch.zeros(1), torch.tensor([40.0])))
    assert (head.norm_mean.item(), head.norm_std.item()) == (30.0, 100.0)


def test_the_state_of_the_step_includes_its_own_batch_and_no_queue():
    head = build_head("adaface", num_classes=4, ema=0.25, scale=2.0)
    classifier = Classifier(4, 2, head=head, sampler=build_sampler("broadface", size=8)).double()
    first, second = (n * torch.eye(2, dtype=torch.float64).repeat(2, 1) for n in (8.0, 40.0))
    labels = torch.arange(4)
    classifier(first, labels)
    assert head.norm_mean.item() == 17.0
    assert head.norm_std.item() == 75.0  # equal norms
    output = classifier(second, labels)
    assert head.norm_mean.item() == 22.75
    after = copy.deepcopy(head).eval()
    batch = head_batch(output.target_cosine_N, second.norm(dim=1))
    quality = 0.333 * (40 - 22.75) / (56.25 + 0.001)
    assert_close(after.quality(batch.norm_N), torch.full((4,), quality, dtype=torch.float64))
    classifier.eval()
    assert_close(classifier(second, labels).row_loss_N, output.row_loss_N)
    assert head.norm_mean.item() == 22.75


@pytest.mark.parametrize("edges", ["clip", "none"])
def test_the_quality_has_no_gradient(edges):
    """Along the embedding itself nothing changes but the norm: there is no gradient."""
    head = build_head("adaface", num_classes=6, ema=1.0, edges=edges)
    classifier = Classifier(6, 4, head=head).double()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = (x * torch.tensor([[1.0], [3.0], [8.0], [20.0], [30.0]])).requires_grad_()
    classifier(x, torch.arange(5)).loss.backward()
    assert x.grad.abs().max() > 1e-3
    assert_close((x.grad * x).sum(1), torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("theta", "norm", "edges", "target", "moves"),
    [
        # ẑ = 1: θ_y − 0.4 below 0
        (0.2, 90.0, "clip", math.cos(0.001) - 0.8, False),
        (0.2, 90.0, "none", math.cos(-0.2) - 0.8, True),
        # ẑ = −1: θ_y + 0.4 beyond π
        (3.0, 0.1, "clip", math.cos(math.pi - 0.001), False),
        (3.0, 0.1, "none", math.cos(3.4), True),
        # cos θ_y above 0.999 counts as that
        (0.01, 0.1, "clip", math.cos(math.acos(0.999) + 0.4), False),
        (0.01, 0.1, "none", math.cos(0.41), True),
        # and in between the two are one
        (1.0, 0.1, "clip", math.cos(1.4), True),
        (1.0, 0.1, "none", math.cos(1.4), True),
    ],
)
def test_edges(theta, norm, edges, target, moves):
    head = set_state(build_head("adaface", num_classes=10, edges=edges), 20.0, 1.0)
    head.quality = lambda norm_N: torch.full_like(norm_N, 1.0 if norm > 20 else -1.0)
    value, slope = target_and_slope(head, theta)
    assert value == pytest.approx(target, rel=1e-9)
    assert (slope != 0) == moves


def test_without_the_clip_a_close_row_is_pushed_away():
    """Where θ_y < m ẑ the target falls as the row comes closer: the reason for the clip."""
    head = build_head("adaface", num_classes=10, edges="none")
    head.quality = torch.ones_like
    assert target_and_slope(head, 0.2)[1] < 0 < target_and_slope(head, 0.6)[1]


def test_diagnostics_are_copies():
    head = build_head("adaface", num_classes=10, ema=1.0)
    shown = head.diagnostics()
    head.update(head_batch(torch.zeros(2), torch.tensor([1.0, 3.0])))
    assert {key: value.item() for key, value in shown.items()} == {
        "norm_mean": 20.0,
        "norm_std": 100.0,
    }
    assert head.diagnostics()["norm_mean"].item() == 2.0
    assert head.diagnostics()["norm_std"].item() == pytest.approx(math.sqrt(2))
    assert not any(value.requires_grad for value in shown.values())
