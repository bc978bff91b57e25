"""The combined margin: all three margins at once, and the rules beyond π."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from frcore.errors import UserError
from frcore.heads import build_head
from tests.heads.logits import logits, random_cosines, target_and_slope, targets

CM1, CM2 = (1.0, 0.3, 0.2), (0.9, 0.4, 0.15)
NAMES = ("m1", "m2", "m3")
SCALELESS = {"num_classes": 10, "scale": 1.0}


def combined(m1, m2, m3, **parameters):
    return build_head("combined", m1=m1, m2=m2, m3=m3, **{**SCALELESS, **parameters})


def test_the_default_is_cm1():
    head = build_head("combined", num_classes=10)
    assert head.margins == CM1
    assert head.scale(None) == 64
    assert (head.gradient, head.beyond_pi) == ("full", "cos")


@pytest.mark.parametrize(
    ("margins", "theta", "value"),
    # cos 1.3 = 0.26749883, cos 1.35 = 0.21900669, cos 1.8 = −0.22720209, cos 2.2 = −0.58850112
    [
        (CM1, 1.0, 0.06749883),
        (CM1, 1.9, -0.78850112),
        (CM2, 1.0, 0.11749883),
        (CM2, 19 / 18, 0.06900669),
        (CM2, 2.0, -0.73850112),
        ((1.35, 0.0, 0.0), 4 / 3, -0.22720209),
    ],
)
def test_figures_from_a_table_of_cosines(margins, theta, value):
    assert target_and_slope(combined(*margins), theta)[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("margins", [CM1, CM2, (1.35, 0.0, 0.0), (2.0, 0.3, 0.1)])
def test_the_papers_code_step_by_step(margins):
    """insightface's arcface_mxnet/train.py: arccos, times m1, plus m2, cos, minus m3; no guard."""
    cosine, labels = random_cosines(12, 6)
    head = build_head("combined", num_classes=6, **dict(zip(NAMES, margins, strict=True)))
    ours = logits(head, cosine, labels)
    (ours_gradient,) = torch.autograd.grad(ours.square().sum(), cosine)

    own = torch.nn.functional.one_hot(labels, 6).bool()
    t = torch.arccos(cosine[own]) * margins[0] + margins[1]
    body = torch.cos(t) - margins[2]
    theirs = 64 * cosine.masked_scatter(own, body)
    (their_gradient,) = torch.autograd.grad(theirs.square().sum(), cosine)
    assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert_close(ours_gradient, their_gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changed", range(3))
def test_no_margin_is_ignored(changed):
    """insightface's PyTorch class drops m1 and m2 where m3 > 0."""
    margins = [0.9, 0.4, 0.15]
    before = target_and_slope(combined(*margins), 1.0)[0]
    margins[changed] += 0.1
    assert before - target_and_slope(combined(*margins), 1.0)[0] > 0.08


@pytest.mark.parametrize("rule", ["cos", "linear", "clip"])
@pytest.mark.parametrize("gradient", ["full", "detached"])
def test_with_the_additive_angle_alone_it_is_arcface(rule, gradient):
    cosine, labels = random_cosines(30, 3)
    dialect = {"beyond_pi": rule, "gradient": gradient}
    ours = logits(combined(1, 0.5, 0, **dialect), cosine, labels)
    theirs = logits(build_head("arcface", margin=0.5, **dialect, **SCALELESS), cosine, labels)
    assert_close(ours, theirs, rtol=1e-11, atol=1e-13)
    assert_close(
        torch.autograd.grad(ours.sum(), cosine)[0],
        torch.autograd.grad(theirs.sum(), cosine)[0],
        rtol=1e-9,
        atol=1e-11,
    )


def test_with_the_cosine_margin_alone_it_is_cosface():
    cosine, labels = random_cosines(30, 3)
    theirs = logits(build_head("cosface", margin=0.35, **SCALELESS), cosine, labels)
    assert_close(logits(combined(1, 0, 0.35), cosine, labels), theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("rule", "value", "slope"),
    # θ = 3, φ = 1.4 · 3 + 0.4 = 4.6: cos φ = −0.11215253, so k = 1 and ψ = 0.11215253 − 2.
    [
        ("cos", -0.26215253, 1.4 * math.sin(4.6) / math.sin(3)),
        ("clip", -1.15, 0.0),
        ("fold", -2.03784747, -1.4 * math.sin(4.6) / math.sin(3)),
    ],
)
def test_rules_beyond_pi(rule, value, slope):
    head = combined(1.4, 0.4, 0.15, beyond_pi=rule)
    assert target_and_slope(head, 3.0) == pytest.approx((value, slope), abs=1e-8)
    head = combined(1.4, 0.4, 0.15, beyond_pi=rule, gradient="detached")
    assert target_and_slope(head, 3.0) == pytest.approx((value, 1.0), abs=1e-8)


def test_linear_as_cavaface_has_it():
    """cos θ − m2 sin m2, where m3 is gone: the target jumps up by 1 + m3 − cos m2 − m2 sin m2."""
    head = combined(*CM1, beyond_pi="linear")
    assert target_and_slope(head, 3.0) == pytest.approx((-1.07864856, 1.0), abs=1e-8)
    edge = math.pi - 0.3
    jump = target_and_slope(head, edge + 1e-7)[0] - target_and_slope(head, edge - 1e-7)[0]
    assert jump == pytest.approx(0.15600745, abs=1e-6)


def test_linear_needs_m1_of_one():
    with pytest.raises(UserError, match=r"'linear' with m1 = 0\.9.*use 'cos', 'clip' or 'fold'"):
        combined(*CM2, beyond_pi="linear")


@pytest.mark.parametrize("margins", [CM1, CM2, (1.4, 0.4, 0.15), (3.7, 1.0, 0.5)])
def test_rules_agree_before_pi_and_only_cos_rises(margins):
    m1, m2, _ = margins
    before = torch.linspace(0.01, (math.pi - m2) / m1 - 1e-9, 50, dtype=torch.float64)
    everywhere = torch.linspace(0.01, 3.135, 400, dtype=torch.float64)
    values = {}
    for rule in ("cos", "clip", "fold"):
        head = combined(*margins, beyond_pi=rule)
        values[rule] = targets(head, before)
        all_over = targets(head, everywhere)
        assert (all_over == sorted(all_over, reverse=True)) == (rule != "cos")
    assert values["cos"] == values["clip"] == values["fold"]


@pytest.mark.parametrize("rule", ["clip", "fold"])
def test_value_and_slope_are_continuous_at_the_joints(rule):
    """φ = kπ; at (3.7, 1) three of them are within [0, π]."""
    head = combined(3.7, 1.0, 0.0, beyond_pi=rule)
    for k in (1, 2, 3):
        joint = (k * math.pi - 1.0) / 3.7
        left, right = (target_and_slope(head, joint + step) for step in (-1e-7, 1e-7))
        assert left == pytest.approx(right, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", ["cos", "clip", "fold"])
def test_finite_at_and_beyond_cosine_one(dtype, rule):
    edge = 1 + 2 * torch.finfo(dtype).eps
    cosine = torch.tensor([1.0, -1.0, edge, -edge], dtype=dtype, requires_grad=True)
    value = combined(*CM2, beyond_pi=rule).target(cosine, None)
    value.sum().backward()
    assert torch.isfinite(cosine.grad).all()
    assert value[0].item() == pytest.approx(math.cos(0.4) - 0.15, abs=2e-4)
    assert value[2].item() == pytest.approx(value[0].item(), abs=1e-6)
