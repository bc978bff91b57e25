"""MagFace: figures by hand, the two gradients through the norm, and the paper's bound on λ_g."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import build_head
from frcore.samplers import build_sampler
from tests.heads.logits import head_batch


def of(theta, norm):
    """A row at the angle θ_y with a norm; both with gradient."""
    cosine = torch.tensor([theta], dtype=torch.float64).cos().requires_grad_()
    return head_batch(cosine, torch.tensor([norm], dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    ("norm", "margin"), [(3.0, 0.45), (10.0, 0.45), (60.0, 0.625), (110.0, 0.8), (500.0, 0.8)]
)
def test_margin_is_linear_in_the_norm_between_its_ends(norm, margin):
    head = build_head("magface", num_classes=10)
    batch = of(1.0, norm)
    assert head.margin(batch.norm_N).item() == pytest.approx(margin, rel=1e-12)
    assert head.target(batch.cosine_N, batch).item() == pytest.approx(math.cos(1 + margin))


@pytest.mark.parametrize(
    ("norm", "penalty"),
    # 35 (1/a + a/110²): by hand 3.5 + 0.028926, 0.583333 + 0.173554, 0.318182 twice
    [(2.0, 3.528926), (10.0, 3.528926), (60.0, 0.756887), (110.0, 0.636364), (1e9, 0.636364)],
)
def test_penalty(norm, penalty):
    head = build_head("magface", num_classes=10)
    assert head.penalty(of(1.0, norm)).item() == pytest.approx(penalty, abs=1e-6)


def test_mag_cos_has_the_defaults_of_its_own_run():
    head = build_head("magface", num_classes=10, margin_type="cos")
    batch = of(2.0, 60.0)  # cos θ_y < 0: easy_margin has no say
    target = head.target(batch.cosine_N, batch).item()
    assert target == pytest.approx(math.cos(2) - (0.35 + 0.8) / 2)
    assert head.penalty(batch).item() == pytest.approx(150 * (1 / 60 + 60 / 12100))
    given = build_head("magface", num_classes=10, margin_type="cos", l_m=0.1, lambda_g=0)
    assert given.target(batch.cosine_N, batch).item() == pytest.approx(math.cos(2) - 0.45)
    assert given.penalty(batch).item() == 0


@pytest.mark.parametrize(
    ("theta", "easy", "target"),
    [
        (1.5, True, math.cos(1.5 + 0.625)),
        (1.6, True, math.cos(1.6)),
        (1.6, False, math.cos(1.6 + 0.625)),
        (2.5, False, math.cos(2.5 + 0.625)),
        (2.6, False, math.cos(2.6) - 0.625 * math.sin(0.625)),  # 2.6 + 0.625 > π
    ],
)
def test_where_the_margin_applies(theta, easy, target):
    head = build_head("magface", num_classes=10, easy_margin=easy)
    batch = of(theta, 60.0)
    assert head.target(batch.cosine_N, batch).item() == pytest.approx(target, rel=1e-12)


def test_facex_zoos_rule_has_no_margin_beyond_pi():
    head = build_head("magface", num_classes=10, easy_margin=False, beyond_pi="plain")
    for theta, moved in ((2.5, 2.5 + 0.625), (2.6, 2.6)):
        batch = of(theta, 60.0)
        target = head.target(batch.cosine_N, batch).item()
        assert target == pytest.approx(math.cos(moved), rel=1e-12)


@pytest.mark.parametrize(("norm", "inside"), [(5.0, False), (60.0, True), (200.0, False)])
def test_gradient_along_the_norm(norm, inside):
    """dL/da = (1 − p_y) s sin(θ_y + m(a)) m' + λ_g (1/u_a² − 1/a²), written out; 0 outside."""
    head = build_head("magface", num_classes=2, scale=2.0, lambda_g=20.0)
    classifier = Classifier(2, 2, head=head).double()
    with torch.no_grad():
        classifier.centers.copy_(torch.eye(2))
    theta, other = 0.6, math.cos(math.pi / 2 - 0.6)
    direction = torch.tensor([math.cos(theta), math.sin(theta)], dtype=torch.float64)
    x = (norm * direction)[None].requires_grad_()
    classifier(x, torch.tensor([0])).loss.backward()
    slope = 0.35 / 100
    moved = theta + 0.45 + slope * (norm - 10)
    missed = 1 / (1 + math.exp(2 * math.cos(moved) - 2 * other))
    expected = missed * 2 * math.sin(moved) * slope + 20 * (1 / 110**2 - 1 / norm**2)
    radial = (x.grad[0] @ direction).item()
    assert radial == pytest.approx(expected if inside else 0.0, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("parameters", "bound"),
    # what the authors' trainer prints as "min lambda g" for its two runs: s m' / −g'(l_a)
    [({}, 22.586666666666673), ({"margin_type": "cos"}, 29.04)],
)
def test_above_the_papers_bound_every_row_gains_from_a_larger_norm(parameters, bound):
    """The margin pulls towards the origin by at most s m', at p_y = 0 and sin(θ_y + m) = 1."""
    for factor in (0.99, 1.01):
        head = build_head("magface", num_classes=10, lambda_g=factor * bound, **parameters)
        batch = of(math.pi / 2 - head.l_m, 10.0 + 1e-9)
        target = head.target(batch.cosine_N, batch)
        hardest = head.row_loss(64 * target, torch.tensor([1e4], dtype=torch.float64))
        (hardest + head.penalty(batch)).sum().backward()
        assert (batch.norm_N.grad.item() < 0) == (factor > 1)


def test_the_penalty_of_a_queue_moves_nothing():
    def step(lambda_g):
        head = build_head("magface", num_classes=4, lambda_g=lambda_g)
        classifier = Classifier(4, 3, head=head, sampler=build_sampler("broadface", size=4))
        x = 20 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
        classifier(x[0], torch.arange(4))
        output = classifier(x[1], torch.arange(4))
        output.loss.backward()
        return classifier.centers.grad, output

    (with_it, output), (without, bare) = step(35.0), step(0.0)
    assert_close(with_it, without)
    assert (output.row_loss_N > bare.row_loss_N).all()


@pytest.mark.parametrize(
    "parameters", [{"l_a": 110.0}, {"l_a": 20.0, "u_a": 10.0}, {"l_m": 0.9}, {"u_m": 0.4}]
)
def test_ends_in_the_wrong_order_are_refused(parameters):
    with pytest.raises(UserError, match="l_a < u_a and l_m ≤ u_m"):
        build_head("magface", num_classes=10, **parameters)
