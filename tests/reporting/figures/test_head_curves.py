"""P(θ) against formulas written out here, and against what the AdaCos paper says of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from frcore.classifier import Classifier
from frcore.heads import HEADS, build_head
from frcore.heads.probability import NORM, NUM_CLASSES, crossing, head_curve, scale_of
from frcore.reporting.figures.head_curves import head_curves

DEGREES = np.arange(0, 180.5, 0.5)
RADIANS = np.radians(DEGREES)
SOFTMAX_HEADS = [name for name in HEADS if HEADS.load(name).reduction == "logsumexp"]


def curve(name: str, num_classes: int = NUM_CLASSES, **parameters: object) -> np.ndarray:
    return head_curve(build_head(name, num_classes=num_classes, **parameters).eval(), DEGREES)


def softmax_probability(z_y: np.ndarray, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """e^z_y / (e^z_y + (C − 1) e^0), in float128 or whatever is the widest."""
    numerator = np.exp(z_y.astype(np.longdouble))
    return (numerator / (numerator + num_classes - 1)).astype(float)


@pytest.mark.parametrize(
    ("name", "z_y"),
    [
        ("softmax", NORM * np.cos(RADIANS)),
        ("normface", 20 * np.cos(RADIANS)),
        ("cosface", 64 * (np.cos(RADIANS) - 0.35)),
        ("adacos_fixed", math.sqrt(2) * math.log(NUM_CLASSES - 1) * np.cos(RADIANS)),
        ("adacos", math.sqrt(2) * math.log(NUM_CLASSES - 1) * np.cos(RADIANS)),
        (
            "arcface",
            64 * np.where(
                np.degrees(0.5) + DEGREES <= 180,
                np.cos(RADIANS + 0.5),
                np.cos(RADIANS) - 0.5 * math.sin(0.5),
            ),
        ),
    ],
)  # fmt: skip
def test_the_formula_written_out(name, z_y):
    # sin θ is held up a little at 0° (docs, "At the edges"); no probability shows it.
    assert curve(name) == pytest.approx(softmax_probability(z_y), abs=1e-12)


@pytest.mark.parametrize("name", SOFTMAX_HEADS)
def test_what_the_classifier_computes(name):
    """The same probability as exp(−loss) of a real layer whose other centres stand at 90°."""
    num_classes = 6
    head = build_head(name, num_classes=num_classes)
    classifier = Classifier(num_classes, num_classes + 1, head=head).double().eval()
    degrees = np.array([5.0, 40.0, 70.0, 88.0, 120.0])
    center_CD = torch.zeros_like(classifier.centers)
    center_CD[:, 1:] = torch.eye(num_classes)
    center_CD[0] = 0
    center_CD[0, 0] = 1
    with torch.no_grad():
        classifier.centers.copy_(center_CD)
        theta_N = torch.from_numpy(np.radians(degrees))
        embedding_ND = torch.zeros(len(degrees), num_classes + 1, dtype=torch.float64)
        # In the plane of the own centre and a direction that no centre has.
        embedding_ND[:, 0] = NORM * theta_N.cos()
        embedding_ND[:, 1] = NORM * theta_N.sin()
        loss = [
            classifier(row[None], torch.zeros(1, dtype=torch.long)).loss for row in embedding_ND
        ]
        penalty = [_penalty(classifier.head, num_classes) for _ in loss]
    expected = np.exp(-np.array([float(a - b) for a, b in zip(loss, penalty, strict=True)]))
    assert head_curve(classifier.head, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def _penalty(head: torch.nn.Module, num_classes: int) -> float:
    from frcore.heads.base import HeadBatch

    one = torch.ones(1, dtype=torch.float64)
    batch = HeadBatch(one, one * NORM, torch.zeros(1, dtype=torch.long), num_classes)
    return float(head.penalty(batch))


@pytest.mark.parametrize("num_classes", [1000, 10_572, 93_431])
def test_the_fixed_adacos_curve_is_half_and_steepest_at_45_degrees(num_classes):
    """AdaCos paper, section 4.1: s is chosen so that |∂²P/∂θ²| ≈ 0 at 45°."""
    probability = curve("adacos_fixed", num_classes)
    assert probability[DEGREES == 45] == pytest.approx(0.5, abs=1e-12)
    steepest = DEGREES[np.gradient(probability, DEGREES).argmin()]
    assert steepest == pytest.approx(45, abs=2)
    # A scale as large as 64 has its steepest point where a face's own angle hardly ever is.
    plain = head_curve(build_head("normface", num_classes=num_classes, scale=64.0), DEGREES)
    assert DEGREES[np.gradient(plain, DEGREES).argmin()] > 75


@pytest.mark.parametrize(
    ("num_classes", "published"), [(10_572, 13.10), (85_742, 16.06), (93_431, 16.19)]
)
def test_the_fixed_adacos_scale_of_the_usual_training_sets(num_classes, published):
    head = build_head("adacos_fixed", num_classes=num_classes)
    assert round(scale_of(head), 2) == published


def test_a_larger_margin_asks_for_a_smaller_angle():
    crossings = [crossing(DEGREES, curve("cosface", margin=m)) for m in (0.0, 0.2, 0.35, 0.5)]
    assert crossings == sorted(crossings, reverse=True)
    # P = ½ where s (cos θ − m) = log(C − 1)
    expected = [
        math.degrees(math.acos(m + math.log(NUM_CLASSES - 1) / 64)) for m in (0.0, 0.2, 0.35, 0.5)
    ]
    assert crossings == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_falls_from_its_centre_to_the_far_side(name):
    rows = head_curves([name])
    probability = rows["probability"].to_numpy()
    assert probability.shape == (361,)
    assert np.isfinite(probability).all()
    assert ((probability >= 0) & (probability <= 1)).all()
    assert probability[0] > 0.9
    assert (np.diff(probability[DEGREES <= 90]) <= 1e-12).all()
    assert probability[DEGREES >= 90].max() < 0.01
    assert (rows["scale"] > 0).all()


def test_a_state_that_is_used_shows():
    head = build_head("adacos", num_classes=NUM_CLASSES)
    head.scale_value.fill_(64.0)
    plain = build_head("normface", num_classes=NUM_CLASSES, scale=64.0)
    assert head_curve(head, DEGREES) == pytest.approx(head_curve(plain, DEGREES), abs=1e-15)


def test_a_binary_head_shows_the_sigmoid_of_its_own_logit():
    class Binary(type(build_head("cosface", num_classes=3))):
        reduction = "softplus_sum"

    head = Binary(NUM_CLASSES, margin=0.3, scale=20.0)
    expected = 1 / (1 + np.exp(-20 * (np.cos(RADIANS) - 0.3)))
    assert head_curve(head, DEGREES) == pytest.approx(expected, abs=1e-12)


def test_crossings_that_do_not_exist():
    degrees = np.array([0.0, 90.0, 180.0])
    assert crossing(degrees, np.array([0.9, 0.8, 0.7])) is None
    assert crossing(degrees, np.array([0.4, 0.2, 0.1])) is None
