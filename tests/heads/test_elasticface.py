"""ElasticFace: the distribution of the margins, who gets which, and a stream of its own."""

from __future__ import annotations

import io
import math

import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from frcore.classifier import Classifier
from frcore.heads import build_head
from frcore.samplers import build_sampler
from tests.heads.logits import head_batch


def margins_of(head, cosine_N):
    """The margins that the head draws for these target cosines."""
    target_N = head.target(cosine_N, head_batch(cosine_N))
    if head.margin_type == "cos":
        return cosine_N - target_N
    return target_N.arccos() - cosine_N.arccos()


def cosines(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, generator=generator, dtype=torch.float64) * 1.2 - 0.4


DEFAULTS = [
    ("arc", "off", 0.5, 0.05),
    ("arc", "intended", 0.5, 0.0175),
    ("arc", "published", 0.5, 0.0175),
    ("cos", "off", 0.35, 0.05),
    ("cos", "intended", 0.35, 0.025),
    ("cos", "published", 0.35, 0.02),
]


@pytest.mark.parametrize(("kind", "plus", "mean", "sigma"), DEFAULTS)
def test_margins_are_normal_with_the_papers_mean_and_deviation(kind, plus, mean, sigma):
    head = build_head("elasticface", num_classes=10, margin_type=kind, plus=plus)
    margin_N = margins_of(head, cosines(20_000))
    # four standard errors of the mean and of the deviation
    assert margin_N.mean().item() == pytest.approx(mean, abs=4 * sigma / math.sqrt(20_000))
    assert margin_N.std().item() == pytest.approx(sigma, rel=4 / math.sqrt(40_000))
    assert scipy.stats.kstest(margin_N.numpy(), "norm", (mean, sigma)).pvalue > 0.001


@pytest.mark.parametrize("kind", ["arc", "cos"])
@pytest.mark.parametrize(("plus", "spearman"), [("off", 0), ("intended", -1), ("published", 0)])
def test_which_row_gets_which_margin(kind, plus, spearman):
    """The published code is no better than chance: −0.02 has been measured with it."""
    head = build_head("elasticface", num_classes=10, margin_type=kind, plus=plus)
    cosine_N = cosines(2_000)
    measured = scipy.stats.spearmanr(cosine_N, margins_of(head, cosine_N)).statistic
    # the standard error of no correlation is 1/√1999
    assert measured == pytest.approx(spearman, abs=4 / math.sqrt(1_999) if spearman == 0 else 1e-9)


def test_the_permutations_by_hand():
    """Margins 1 < 2 < 3 < 4 for four rows; the sorting order is 2, 0, 3, 1."""
    cosine_N = torch.tensor([0.5, -0.3, 0.9, 0.1], dtype=torch.float64)
    rank = {
        # nearest row 2 gets the smallest, then 0, 3, 1
        "intended": [2, 4, 1, 3],
        # margins at the places 2, 0, 3, 1
        "published": [3, 1, 4, 2],
    }
    for plus, expected in rank.items():
        head = build_head("elasticface", num_classes=10, margin_type="cos", plus=plus)
        margin_N = margins_of(head, cosine_N)
        assert (margin_N.argsort().argsort() + 1).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "name", "margin"), [("arc", "arcface", 0.5), ("cos", "cosface", 0.35)]
)
def test_without_a_draw_it_is_the_head_of_a_fixed_margin(kind, name, margin):
    """In evaluation, and with σ = 0; the arc rises again beyond π, as in the authors' code."""
    extra = {"beyond_pi": "cos"} if kind == "arc" else {}
    fixed = build_head(name, num_classes=10, margin=margin, **extra)
    cosine_N = torch.linspace(-1, 1, 41, dtype=torch.float64)
    batch = head_batch(cosine_N)
    expected = fixed.target(cosine_N, batch)
    for plus in ("off", "intended", "published"):
        head = build_head("elasticface", num_classes=10, margin_type=kind, plus=plus).eval()
        assert_close(head.target(cosine_N, batch), expected, atol=1e-15, rtol=0)
        drawing = build_head("elasticface", num_classes=10, margin_type=kind, plus=plus, sigma=0)
        assert_close(drawing.target(cosine_N, batch), expected, atol=1e-15, rtol=0)


def draws(seed, rows=6):
    head = build_head("elasticface", num_classes=10, margin_type="cos")
    head.attach(seed=seed)
    return margins_of(head, torch.zeros(rows, dtype=torch.float64))


def test_draws_follow_from_the_seed_and_from_nothing_else():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = draws(5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(first, draws(5))
    assert not torch.equal(first, draws(6))


def test_draws_are_not_those_of_the_centres_or_of_the_sampler():
    """All three start from the run's seed; without streams of their own they would be equal."""
    plain = torch.randn(6, generator=torch.Generator().manual_seed(0)).double()
    assert not torch.isclose((draws(0) - 0.35) / 0.05, plain, atol=1e-3).any()
    x = torch.randn(3, 4)
    columns = []
    for name in ("cosface", "elasticface"):
        classifier = Classifier(50, 4, head=name, sampler=build_sampler("partial_fc", rate=0.3))
        classifier(x, torch.arange(3))
        classifier(x, torch.arange(3))
        columns.append(classifier.active.tolist())
    assert columns[0] == columns[1]


def test_each_row_of_a_queue_has_a_draw_of_its_own_at_each_step():
    """One identity's row, in the batch and three times in the queue: four different losses."""
    head = build_head("elasticface", num_classes=5, margin_type="cos")
    sampler = build_sampler("broadface", size=3, compensate=False)
    classifier = Classifier(5, 4, head=head, sampler=sampler)
    x = torch.ones(3, 4)
    seen = []
    target = head.target
    head.target = lambda cosine_N, batch: seen.append(target(cosine_N, batch)) or seen[-1]
    for _ in range(3):
        classifier(x, torch.zeros(3, dtype=torch.long))
    assert [len(target_M) for target_M in seen] == [3, 6, 6]
    assert len({value for target_M in seen for value in target_M.tolist()}) == 15


@pytest.mark.parametrize("drawn", [0, 3])
def test_a_resume_goes_on_in_the_middle_of_the_stream(drawn):
    head = build_head("elasticface", num_classes=10)
    head.attach(seed=11)
    for _ in range(drawn):
        margins_of(head, cosines(7))
    file = io.BytesIO()
    torch.save(head.state_dict(), file)
    expected = [margins_of(head, cosines(5)) for _ in range(2)]
    file.seek(0)
    resumed = build_head("elasticface", num_classes=10)
    resumed.attach(seed=12)
    margins_of(resumed, cosines(3))
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for margin_N in expected:
        assert torch.equal(margins_of(resumed, cosines(5)), margin_N)


def test_evaluation_draws_nothing():
    head = build_head("elasticface", num_classes=10)
    head.attach(seed=3)
    other = build_head("elasticface", num_classes=10)
    other.attach(seed=3)
    margins_of(head.eval(), cosines(4))
    assert torch.equal(margins_of(head.train(), cosines(4)), margins_of(other, cosines(4)))


def test_the_margin_carries_no_gradient():
    """dz/d cos θ_y is 1 for "cos" whatever the order of the rows; sin(θ+E)/sin θ for "arc"."""
    cosine_N = cosines(6).requires_grad_()
    head = build_head("elasticface", num_classes=10, margin_type="cos", plus="intended")
    head.target(cosine_N, head_batch(cosine_N)).sum().backward()
    assert_close(cosine_N.grad, torch.ones(6, dtype=torch.float64))
    cosine_N.grad = None
    head = build_head("elasticface", num_classes=10, plus="intended")
    target_N = head.target(cosine_N, head_batch(cosine_N))
    target_N.sum().backward()
    ratio_N = target_N.detach().arccos().sin() / cosine_N.detach().arccos().sin()
    assert_close(cosine_N.grad, ratio_N)
