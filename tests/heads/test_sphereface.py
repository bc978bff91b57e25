"""SphereFace: ψ, the annealing, and the forms that published codes give it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import build_head
from tests.heads.logits import head_batch, logits, random_cosines, target_and_slope, targets

MARGINS = [1.0, 1.35, 1.7, 2.0, 2.5, 3.0, 4.0, 7.3]


def psi_head(margin, **parameters):
    """ψ by itself."""
    return build_head(
        "sphereface", num_classes=10, margin=margin, scale=1.0, annealing=False, **parameters
    )


def annealed(head, steps):
    for _ in range(steps):
        head.update(head_batch(torch.zeros(1)))
    return head.diagnostics()["lambda"].item()


@pytest.mark.parametrize(
    ("margin", "theta", "value"),
    [
        # The joints of m = 4, where cos(4θ) is ±1: each piece of ψ falls by 2.
        (4, math.pi / 4, -1),
        (4, math.pi / 2, -3),
        (4, 3 * math.pi / 4, -5),
        (4, math.pi / 8, 0),
        (4, 3 * math.pi / 8, -2),
        (4, math.pi / 6, -0.5),  # 4θ = 120°, k = 0
        (4, math.pi / 3, -1.5),  # 4θ = 240°, k = 1: −cos 240° − 2
        (4, 2 * math.pi / 3, -4.5),  # 4θ = 480°, k = 2: cos 480° − 4
        (3, 2 * math.pi / 3, -3),
        (1.35, 1.0, 0.21900669),
        (1.35, 3.0, -1.38499762),  # 4.05 > π: k = 1, −cos 4.05 − 2
        (1.7, 2.0, -1.03320181),  # 3.4 > π: k = 1, −cos 3.4 − 2
    ],
)
def test_psi_at_known_points(margin, theta, value):
    assert target_and_slope(psi_head(margin), theta)[0] == pytest.approx(value, abs=1e-8)


@pytest.mark.parametrize("margin", MARGINS)
def test_psi_ends_at_its_two_ends(margin):
    """From 1 at θ = 0 to 1 − 2m at θ = π for whole m."""
    head = psi_head(margin)
    assert target_and_slope(head, 1e-6)[0] == pytest.approx(1, abs=1e-9)
    if margin == int(margin):
        assert target_and_slope(head, math.pi - 1e-6)[0] == pytest.approx(1 - 2 * margin, abs=1e-9)


@pytest.mark.parametrize("margin", MARGINS)
def test_psi_falls_over_the_whole_circle(margin):
    values = targets(psi_head(margin), torch.linspace(0.01, 3.135, 500, dtype=torch.float64))
    assert all(a > b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("margin", MARGINS[1:])
def test_psi_and_its_slope_are_continuous_at_the_joints(margin):
    head = psi_head(margin)
    for k in range(1, math.ceil(margin)):
        joint = k * math.pi / margin
        near = 2 * margin**2 * 1e-7 / math.sin(joint)  # of the slope, which is 0 at the joint
        left, right = (target_and_slope(head, joint + step) for step in (-1e-7, 1e-7))
        assert left[0] == pytest.approx(1 - 2 * k, abs=1e-9)
        assert right[0] == pytest.approx(1 - 2 * k, abs=1e-9)
        assert left[1] == pytest.approx(0, abs=near)
        assert right[1] == pytest.approx(0, abs=near)


@pytest.mark.parametrize("theta", [0.3, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("margin", [1.7, 4.0])
def test_slope(margin, theta):
    """dψ/d cos θ = (−1)^k m sin(mθ) / sin θ."""
    sign = (-1) ** math.floor(margin * theta / math.pi)
    expected = sign * margin * math.sin(margin * theta) / math.sin(theta)
    assert target_and_slope(psi_head(margin), theta)[1] == pytest.approx(expected, rel=1e-9)


def caffe_psi(margin, c):
    """The polynomials and signs of the authors' margin_inner_product_layer.cpp."""
    sign_0 = torch.sign(c)
    if margin == 2:
        return 2 * sign_0 * c**2 - 1
    if margin == 3:
        sign_1 = torch.sign(c.abs() - 0.5)
        return sign_1 * (4 * c**3 - 3 * c) + sign_0 * (1 + sign_1) - 2
    sign_3 = sign_0 * torch.sign(2 * c**2 - 1)
    return sign_3 * (8 * c**4 - 8 * c**2 + 1) + 2 * sign_0 + sign_3 - 3


@pytest.mark.parametrize("margin", [2, 3, 4])
def test_the_authors_layer(margin):
    """Logits ‖x‖ (ψ + λ cos θ)/(1 + λ) and ‖x‖ cos θ, with the layer's λ, value and derivative."""
    cosine, labels = random_cosines(40, 5)
    norm = torch.linspace(0.5, 30, 40, dtype=torch.float64)
    head = build_head("sphereface", num_classes=5, margin=margin)
    own = F.one_hot(labels, 5).bool()
    for iteration in (1, 2, 3):
        head.update(head_batch(cosine[own].detach()))
        weight = max(1000 * (1 + 0.12 * iteration) ** -1, 5)
        ours = logits(head, cosine, labels, norm)
        mixed = (caffe_psi(margin, cosine) + weight * cosine) / (1 + weight)
        theirs = norm[:, None] * torch.where(own, mixed, cosine)
        assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
        assert_close(
            torch.autograd.grad(ours.sum(), cosine)[0],
            torch.autograd.grad(theirs.sum(), cosine)[0],
            rtol=1e-9,
            atol=1e-10,
        )


@pytest.mark.parametrize("margin", [1.35, 1.7, 4.0])
def test_opensphere(margin):
    """cos θ with the difference to ψ added under no_grad; k by floor of mθ/π, for any m."""
    cosine, labels = random_cosines(40, 5, seed=1)
    head = build_head(
        "sphereface", num_classes=5, margin=margin, scale=30, annealing=False, gradient="detached"
    )
    ours = logits(head, cosine, labels)
    with torch.no_grad():
        m_theta = torch.acos(cosine) * (1 + (margin - 1) * F.one_hot(labels, 5).double())
        k = (m_theta / math.pi).floor()
        shift = (1 - 2 * torch.remainder(k, 2)) * m_theta.cos() - 2 * k - cosine
    assert_close(ours, 30 * (cosine + shift), rtol=1e-11, atol=1e-11)
    (gradient,) = torch.autograd.grad(ours.sum(), cosine)
    assert_close(gradient, torch.full_like(gradient, 30.0))


def test_rules_beyond_pi():
    """At θ = 2.5, m = 1.7: mθ = 4.25, cos 4.25 = −0.44608749."""
    slope = 1.7 * math.sin(4.25) / math.sin(2.5)
    for rule, expected in {
        "fold": (-1.55391251, -slope),
        "cos": (-0.44608749, slope),
        "clip": (-1.0, 0.0),
    }.items():
        assert target_and_slope(psi_head(1.7, beyond_pi=rule), 2.5) == pytest.approx(
            expected, abs=1e-7
        )


@pytest.mark.fast_cases(3)
@pytest.mark.parametrize(
    ("step", "value"),
    # 1000/1.12, 1000/13; the floor is reached where 1 + 0.12 t = 200, t = 1658.33
    [(0, 1000), (1, 892.857143), (100, 76.923077), (1658, 5.001), (1659, 5), (5000, 5)],
)
def test_lambda_of_the_authors_layer(step, value):
    head = build_head("sphereface", num_classes=10)
    assert annealed(head, step) == pytest.approx(value, rel=1e-6)


def test_lambda_of_sv_x_softmax():
    head = build_head("sphereface", num_classes=10, gamma=1e-4, power=2)
    assert annealed(head, 100) == pytest.approx(1000 / 1.01**2, rel=1e-6)


def test_lambda_mixes_cosine_and_psi():
    """λ = 3 and θ = 90°: (3 · 0 + ψ)/4 with ψ = −3."""
    head = build_head("sphereface", num_classes=10, lambda_base=3, gamma=0, lambda_min=0)
    assert target_and_slope(head, math.pi / 2)[0] == pytest.approx(-0.75, abs=1e-9)


def test_the_step_is_state_of_the_training_alone():
    x, labels = torch.randn(4, 6), torch.arange(4)
    classifier = Classifier(10, 6, head="sphereface")
    for _ in range(3):
        classifier(x, labels)
    assert classifier.head.steps == 3
    classifier.eval()
    before = classifier(x, labels).loss
    classifier(x, labels)
    assert classifier.head.steps == 3
    resumed = Classifier(10, 6, head="sphereface").eval()
    assert resumed(x, labels).loss != before
    resumed.load_state_dict(classifier.state_dict())
    assert resumed.head.steps == 3
    assert resumed(x, labels).loss == before


def test_diagnostics():
    head = build_head("sphereface", num_classes=10)
    first = head.diagnostics()["lambda"]
    annealed(head, 10)
    assert first == 1000  # not a view of the state
    assert psi_head(4.0).diagnostics() == {}


def test_margin_one_is_normface():
    cosine, labels = random_cosines(30, 3)
    head = build_head("sphereface", num_classes=3, margin=1, scale=20, annealing=False)
    theirs = logits(build_head("normface", num_classes=3), cosine, labels)
    assert_close(logits(head, cosine, labels), theirs, rtol=1e-12, atol=1e-12)


def test_the_norm_scales_all_entries_and_carries_gradient():
    cosine, labels = random_cosines(3, 4)
    norm = torch.tensor([0.5, 2.0, 30.0], dtype=torch.float64, requires_grad=True)
    head = build_head("sphereface", num_classes=4)
    z = logits(head, cosine, labels, norm)
    assert_close(z, logits(head, cosine, labels) * norm[:, None])
    assert_close(torch.autograd.grad(z.sum(), norm)[0], (z / norm[:, None]).sum(1).detach())
    fixed = build_head("sphereface", num_classes=4, scale=64)
    assert_close(logits(fixed, cosine, labels, norm), 64 * logits(head, cosine, labels))


def test_defaults_are_the_papers():
    head = build_head("sphereface", num_classes=10)
    assert (head.margin, head.fixed_scale, head.annealing) == (4, None, True)
    assert (head.lambda_base, head.gamma, head.power, head.lambda_min) == (1000, 0.12, 1, 5)
    assert (head.gradient, head.beyond_pi) == ("full", "fold")
