"""AdaCos: the figures of the paper, the recursion, and the cases where public copies break."""

from __future__ import annotations

import math

import pytest
import torch

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.heads.adacos_fixed import fixed_scale
from frcore.heads.base import HeadBatch
from frcore.samplers import build_sampler


@pytest.mark.parametrize(
    ("classes", "scale"),
    [(10_572, 13.10), (85_742, 16.06), (93_431, 16.19), (360_232, 18.09), (2_059_906, 20.56)],
)
def test_fixed_scale(classes, scale):
    assert fixed_scale(classes) == pytest.approx(scale, abs=0.005)
    for name in ("adacos", "adacos_fixed"):
        head = build_head(name, num_classes=classes)
        assert float(head.scale(None)) == pytest.approx(scale, abs=0.005)


def batch_of(theta, negative_logsumexp, classes=10_572):
    cosine = torch.tensor(theta, dtype=torch.float64).cos()
    return HeadBatch(
        cosine, torch.ones_like(cosine), torch.zeros(len(theta)).long(), classes, negative_logsumexp
    )


@pytest.mark.parametrize(
    ("degrees", "scale"), [(89, 13.35), (45, 13.35), (30, 10.83), (17, 9.79), (0, 9.35)]
)
def test_fixed_point_falls_with_the_median_angle(degrees, scale):
    """Negative cosines as N(0, 1/512), whose mean of exp(s cos) is exp(s²/1024).

    The scale then solves s cos(min(π/4, θ)) = log(C−1) + s²/1024; above 45° nothing changes.
    """
    head = build_head("adacos", num_classes=10_572)
    theta = [math.radians(degrees)] * 4

    def negatives(s):
        return (math.log(10_571) + s * s / 1024).expand(4)

    for _ in range(60):
        head.update(batch_of(theta, negatives))
    s = head.scale_value.item()
    assert s == pytest.approx(scale, abs=0.005)
    clipped = min(theta[0], math.pi / 4)
    assert s * math.cos(clipped) == pytest.approx(math.log(10_571) + s**2 / 1024, rel=1e-9)


def test_mean_is_of_exponentials_and_median_of_target_angles():
    head = build_head("adacos", num_classes=100)
    sums = torch.tensor([2.0, 50.0, 5000.0, 8.0], dtype=torch.float64)
    head.update(batch_of([0.1, 0.2, 0.4, 3.0], lambda s: sums.log(), classes=100))
    assert head.scale_value.item() == pytest.approx(math.log(5060 / 4) / math.cos(0.3), rel=1e-12)


def test_update_uses_the_previous_scale():
    head = build_head("adacos", num_classes=100)
    seen = []

    def negatives(s):
        seen.append(float(s))
        return torch.full((2,), 5.0, dtype=torch.float64)

    head.update(batch_of([0.5, 0.5], negatives))
    first = head.scale_value.item()
    head.update(batch_of([0.5, 0.5], negatives))
    assert seen == [pytest.approx(fixed_scale(100)), first]


@pytest.mark.parametrize("log_sum", [-math.inf, -3.0, 0.0, math.inf, math.nan])
def test_a_scale_that_makes_no_sense_is_not_taken(log_sum):
    """No other column, or all so far that B_avg ≤ 1: s would be −∞, negative, 0 or not a number."""
    head = build_head("adacos", num_classes=100)
    before = head.scale_value.item()
    head.update(batch_of([0.5, 0.5], lambda s: torch.full((2,), log_sum, dtype=torch.float64)))
    assert head.scale_value.item() == before


def test_one_active_column_leaves_the_scale_alone():
    classifier = Classifier(5, 3, head="adacos", sampler=build_sampler("partial_fc", rate=0))
    before = classifier.head.scale_value.item()
    output = classifier(torch.ones(2, 3), torch.tensor([1, 1]))
    assert output.loss == 0
    assert classifier.head.scale_value.item() == before


def test_no_overflow_where_a_sum_of_exponentials_would():
    """exp(s cos) at s = 800 overflows float64; the log of the mean does not."""
    head = build_head("adacos", num_classes=100)
    head.update(batch_of([0.0], lambda s: torch.tensor([800.0], dtype=torch.float64)))
    assert head.scale_value.item() == pytest.approx(800.0)


def test_state_is_a_buffer_with_all_its_digits():
    head = build_head("adacos", num_classes=100)
    assert head.state_dict()["scale_value"].dtype == torch.float64
    assert not list(head.parameters())
    assert not head.scale(None).requires_grad


def conflicting(rows, degrees, cosine):
    """64 rows of 10,572 classes with N(0, 1/512) negatives, as in a settled training.

    The first `rows` of them have another class at `cosine`, as a duplicate identity would be.
    """
    generator = torch.Generator().manual_seed(0)
    cosine_C = torch.randn(10_571, generator=generator, dtype=torch.float64) / math.sqrt(512)

    def negatives(s):
        clean = torch.logsumexp(s * cosine_C, 0)
        with_conflict = torch.logaddexp(clean, torch.as_tensor(cosine * s, dtype=torch.float64))
        return torch.stack([with_conflict] * rows + [clean] * (64 - rows))

    return batch_of([math.radians(degrees)] * 64, negatives)


def scales(batch, **parameters):
    """The scale over 50 steps of the same batch."""
    head = build_head("adacos", num_classes=10_572, **parameters)
    out = []
    for _ in range(50):
        head.update(batch)
        out.append(head.scale_value.item())
    return out


@pytest.mark.parametrize(
    ("rows", "degrees", "cosine", "settles"),
    [(1, 45, 0.9, 13.7), (3, 30, 0.9, 10.9), (20, 30, 0.8, 11.0), (64, 30, 0.8, 11.6)],
)
def test_conflicting_classes_that_do_no_harm(rows, degrees, cosine, settles):
    path = scales(conflicting(rows, degrees, cosine))
    assert path[-1] == pytest.approx(settles, abs=0.05)
    assert path[-1] == pytest.approx(path[-2], abs=1e-3)


@pytest.mark.parametrize(("rows", "cosine", "beyond"), [(3, 0.9, 1e4), (20, 0.8, 1e3)])
def test_a_few_conflicting_classes_make_the_scale_diverge_early_and_the_guard_holds_it(
    rows, cosine, beyond
):
    """5 % of the rows at cos 0.9, or 31 % at 0.8, while θ_med is 45°: the mean of exponentials is
    theirs alone, and s(t) = (cosine s(t−1) + log share) √2 grows without bound."""
    batch = conflicting(rows, 45, cosine)
    path = scales(batch)
    assert path[-1] > beyond
    assert path == sorted(path)
    assert path[-1] / path[-2] == pytest.approx(cosine * math.sqrt(2), rel=0.02)

    guarded = scales(batch, max_scale=26.0)
    assert guarded[:5] == path[:5]
    assert guarded[-1] == max(guarded) == 26.0
    # The two estimates that do not feed back.
    assert path[0] == scales(batch, statistics="restarted")[-1] < 15
    assert scales(batch, statistics="constant")[-1] == pytest.approx(fixed_scale(10_572))


def test_the_guard_holds_the_start_and_an_infinite_estimate():
    head = build_head("adacos", num_classes=10_572, max_scale=5.0)
    assert head.scale_value.item() == 5.0
    head = build_head("adacos", num_classes=10_572, max_scale=20.0)
    head.update(batch_of([0.5], lambda s: torch.tensor([math.inf])))
    assert head.scale_value.item() == 20.0


def test_a_constant_b_needs_no_statistics_of_the_backend():
    """s = log(C − 1) / cos θ_med: between log(C − 1) at 0 and √2 of it from π/4 on."""
    head = build_head("adacos", num_classes=101, statistics="constant")
    assert head.statistics == frozenset()
    assert build_head("adacos", num_classes=101).statistics == {"negative_logsumexp"}
    for theta, factor in ((0.0, 1.0), (0.5, math.cos(0.5)), (1.2, math.sqrt(0.5))):
        head.update(batch_of([theta] * 3, None, classes=101))
        assert head.scale_value.item() == pytest.approx(math.log(100) / factor, rel=1e-12)


@pytest.mark.parametrize(
    ("angle", "theta"),
    [("median", 0.3), ("lower_median", 0.2), ("quarter_pi", math.pi / 4)],
)
def test_what_stands_for_the_median_angle(angle, theta):
    head = build_head("adacos", num_classes=100, angle=angle)
    batch = batch_of([0.4, 0.1, 3.0, 0.2], lambda s: torch.full((4,), 5.0, dtype=torch.float64))
    head.update(batch)
    assert head.scale_value.item() == pytest.approx(5 / math.cos(theta), rel=1e-12)


def test_restarted_knows_the_start_only():
    head = build_head("adacos", num_classes=100, statistics="restarted")
    seen = []

    def negatives(s):
        seen.append(float(s))
        return torch.full((2,), 5.0, dtype=torch.float64)

    for _ in range(3):
        head.update(batch_of([0.5, 0.5], negatives))
    assert seen == [pytest.approx(fixed_scale(100))] * 3
