"""ArcFace's dialects, against figures worked out from the published codes."""

from __future__ import annotations

import math

import pytest
import torch

from frcore.heads import build_head


def logit(theta, **dialect):
    """s times the target of one row at angle `theta`, and its derivative by the cosine."""
    head = build_head("arcface", num_classes=10, margin=0.5, scale=64, **dialect)
    cosine = torch.tensor([math.cos(theta)], dtype=torch.float64, requires_grad=True)
    z = head.scale(None) * head.target(cosine, None)
    z.sum().backward()
    return z.item(), cosine.grad.item()


@pytest.mark.parametrize(("gradient", "factor"), [("detached", 64.0), ("full", 149.5)])
def test_derivative_at_cosine_095(gradient, factor):
    """s alone, or s sin(θ+m)/sin θ: what insightface computes and what the formula says."""
    value, derivative = logit(math.acos(0.95), gradient=gradient)
    assert derivative == pytest.approx(factor, abs=0.05)
    assert value == pytest.approx(64 * math.cos(math.acos(0.95) + 0.5), rel=1e-12)


@pytest.mark.parametrize(
    ("rule", "value", "derivative"),
    # insightface's code now, its code until 2022, AdaFace's and opensphere's, and FaceX-Zoo's.
    [
        ("cos", -61.88, 64 * math.sin(3.4) / math.sin(2.9)),
        ("linear", -77.48, 64.0),
        ("clip", -64.0, 0.0),
        ("plain", 64 * math.cos(2.9), 64.0),
    ],
)
def test_rules_beyond_pi(rule, value, derivative):
    z, slope = logit(2.9, beyond_pi=rule)
    assert z == pytest.approx(value, abs=0.005)
    assert slope == pytest.approx(derivative, rel=1e-9)
    detached, slope = logit(2.9, beyond_pi=rule, gradient="detached")
    assert detached == pytest.approx(z, rel=1e-12)
    assert slope == 64.0


def test_rules_agree_before_pi():
    just_before = math.pi - 0.5 - 1e-6
    values = {logit(just_before, beyond_pi=rule) for rule in ("cos", "linear", "clip", "plain")}
    assert len(values) == 1


@pytest.mark.parametrize("rule", ["linear", "clip"])
def test_guards_never_rise_with_the_angle(rule):
    values = [logit(theta, beyond_pi=rule)[0] for theta in torch.linspace(0.01, 3.13, 60).tolist()]
    assert values == sorted(values, reverse=True)


def test_without_a_guard_the_target_rises_again():
    assert logit(3.1, beyond_pi="cos")[0] > logit(2.7, beyond_pi="cos")[0]
    assert logit(2.7, beyond_pi="plain")[0] > logit(2.6, beyond_pi="plain")[0]


def test_easy_margin_acts_on_acute_angles_only():
    assert logit(1.0, easy_margin=True)[0] == pytest.approx(64 * math.cos(1.5))
    assert logit(2.0, easy_margin=True)[0] == pytest.approx(64 * math.cos(2.0))
    assert logit(2.9, easy_margin=True)[0] == pytest.approx(64 * math.cos(2.9))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slope_is_bounded_at_cosine_one(dtype):
    """The derivative sin(θ+m)/sin θ is unbounded there; beside it, it is exact."""
    head = build_head("arcface", num_classes=10)
    edge = 1 + 2 * torch.finfo(dtype).eps
    cosine = torch.tensor([1.0, -1.0, edge, -edge], dtype=dtype, requires_grad=True)
    head.target(cosine, None).sum().backward()
    assert torch.isfinite(cosine.grad).all()
    assert head.target(cosine, None)[0].item() == pytest.approx(math.cos(0.5), abs=2e-4)
    theta = 0.01
    near = torch.tensor([math.cos(theta)], dtype=torch.float64, requires_grad=True)
    head.target(near, None).backward()
    assert near.grad.item() == pytest.approx(math.sin(theta + 0.5) / math.sin(theta), rel=1e-9)
