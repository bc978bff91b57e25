"""A method's spread over seeds, moderated by that of the others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from frcore.evaluation.intervals.influences import Accuracy
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.seeds import LEAST, UNLIKELY, seed_spread
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs


def called_different(spreads: np.ndarray, seeds: int, repetitions: int = 600) -> float:
    """How often a 95 % interval of the first method minus the second leaves out 0, the truth."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(repetitions):
        values = spreads[:, None] * rng.normal(size=(spreads.size, seeds))
        spread = seed_spread(values.tolist())
        variance, freedom = spread.combined([(1 / seeds, own) for own in values[:2].tolist()])
        half = np.sqrt(variance) * stats.t.ppf(0.975, freedom)
        found += abs(values[0].mean() - values[1].mean()) > half
    return found / repetitions


@pytest.mark.slow
@pytest.mark.parametrize(("methods", "seeds"), [(18, 2), (18, 5), (4, 3)])
def test_equal_methods_are_called_different_as_often_as_said(methods: int, seeds: int):
    # 600 repetitions: the share of a true 5 % is below 7.3 % in 99 of 100 such tests.
    assert called_different(np.ones(methods), seeds) < 0.073


@pytest.mark.slow
def test_methods_that_spread_four_times_as_much_are_not_judged_by_the_others():
    # With the pooled spread these are 43 %; what is left is in docs/power.md.
    assert called_different(np.array([4.0, 4.0, *np.ones(16)]), 5) < 0.13


def test_where_spreads_are_drawn_from_one_law_its_parameters_are_found():
    """Four thousand methods: the prior is at or just below the true one, as it is meant to be."""
    rng, prior, scale = np.random.default_rng(2), 6.0, 0.25
    variances = prior * scale / rng.chisquare(prior, 4000)
    found = seed_spread(list(np.sqrt(variances)[:, None] * rng.normal(size=(4000, 3))))
    assert 4 < found.prior < 7
    assert found.centre == pytest.approx(scale, rel=0.15)


def slow_prior(groups: list[list[float]]) -> tuple[float, float]:
    """The same by scipy's multivariate t, one likelihood at a time."""
    deviations = []
    for group in groups:
        basis = np.linalg.svd(np.ones((1, len(group))))[2][1:]  # orthonormal, without the mean
        deviations.append(basis @ group)
    pooled = sum(float(d @ d) for d in deviations) / sum(d.size for d in deviations)

    def likelihood(prior: float, centre: float) -> float:
        return sum(
            stats.multivariate_t(np.zeros(d.size), centre * np.eye(d.size), prior).logpdf(d)
            for d in deviations
        )

    def best(prior: float) -> tuple[float, float]:
        found = optimize.minimize_scalar(
            lambda centre: -likelihood(prior, centre * pooled),
            bounds=(LEAST, 2), method="bounded", options={"xatol": 1e-6},
        )  # fmt: skip
        return -found.fun, found.x * pooled

    priors = np.geomspace(1, 1000, 61)
    every = [best(prior) for prior in priors]
    most = max(value for value, _ in every)
    return next((p, c) for p, (v, c) in zip(priors, every, strict=True) if v >= most - UNLIKELY)


@pytest.mark.slow
@pytest.mark.parametrize("spreads", [np.ones(8), np.array([9.0, *np.ones(7)])])
def test_prior_is_that_of_a_slow_likelihood(spreads: np.ndarray):
    rng = np.random.default_rng(4)
    groups = [list(own * rng.normal(size=2 + place % 3)) for place, own in enumerate(spreads)]
    prior, centre = slow_prior(groups)
    found = seed_spread(groups)
    assert found.prior == pytest.approx(prior)
    assert found.centre == pytest.approx(centre, rel=1e-3)
    own = np.var(groups[0], ddof=1)
    variance, freedom = found.combined([(0.5, groups[0])])
    assert variance == pytest.approx((prior * centre + own) / (prior + 1) / 2, rel=1e-3)
    assert freedom == pytest.approx(min(prior + 1, found.freedom))


def test_the_scale_does_not_matter_and_ties_make_nothing_certain():
    groups = [[0.9, 0.92], [0.8, 0.83], [0.7, 0.71], [0.85, 0.85]]
    found, eightfold = seed_spread(groups), seed_spread([[8 * x for x in g] for g in groups])
    assert found.prior == eightfold.prior
    assert eightfold.centre == pytest.approx(64 * found.centre)
    assert found.variance(groups[-1]) > 0.3 * found.deviation**2
    assert seed_spread([[0.9, 0.9]] * 5).variance([0.9, 0.9]) == 0.0
    alone, own = seed_spread([[0.9, 0.95], [0.5]]), [0.9, 0.95]
    assert alone.combined([(1.0, own)]) == pytest.approx((np.var(own, ddof=1), 1.0))
    assert alone.combined([(1.0, [0.5])]) == pytest.approx((np.var(own, ddof=1), 1.0))


def test_degrees_of_freedom_count_the_prior_once():
    rng = np.random.default_rng(5)
    found = seed_spread(rng.normal(size=(18, 3)).tolist())
    assert found.combined([(1.0, [1.0, 2.0, 3.0])])[1] == pytest.approx(found.prior + 2)
    assert found.combined([(1.0, [1.0, 2.0, 3.0])] * 2)[1] == pytest.approx(found.prior + 4)
    assert found.combined([(1.0, [1.0])] * 2)[1] == pytest.approx(found.prior)
    assert found.combined([(1.0, [1.0, 2.0, 3.0])] * 40)[1] == found.freedom
    # Nothing but the larger of two very unequal variances matters.
    uneven = [(1.0, [1.0, 2.0, 3.0]), (1e-6, [1.0, 2.0, 3.0])]
    assert found.combined(uneven)[1] == pytest.approx(found.prior + 2, abs=1e-3)
    assert found.combined([(1.0, [1.0, 1.0])], least=1e6)[0] == 1e6


@pytest.fixture(scope="module")
def unequal():
    """The first method's seeds differ far more than those of the others."""
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 80, 600), rng.integers(1, 80, 600)
    same = np.arange(600) % 2 == 0
    b = np.where(same, a, (a + b) % 80)
    skills = {"wild0": 0.3, "wild1": 3.0}
    skills |= {f"{name}{seed}": 1.5 for name in "abcdefgh" for seed in (0, 1)}
    scores = {run: rng.normal(skill * np.where(same, 1, -1)) for run, skill in skills.items()}
    groups = [[f"{name}0", f"{name}1"] for name in ["wild", *"abcdefgh"]]
    metrics = dict.fromkeys(scores, Accuracy(None, 0.0))
    return scores, people_of_pairs(same, a, b), metrics, groups


def test_one_wild_method_has_a_wide_interval_and_the_others_do_not(unequal):
    scores, people, metrics, groups = unequal
    found = intervals_of_pairs(scores, people, metrics=metrics, groups=groups)
    wild, calm = found.difference(groups[0], groups[1]), found.difference(groups[1], groups[2])
    assert "moderated over 9 methods" in wild.method
    assert wild.se_seed > 2.5 * calm.se_seed
    assert wild.errors.freedom_seeds < calm.errors.freedom_seeds
    # Far from the 12.7 standard errors of two seeds of its own.
    rest = intervals_of_pairs(scores, people, metrics=metrics, groups=groups[1:])
    narrow, wide = (one.errors.half_width(0.95) for one in (
        rest.difference(groups[1], groups[2]), calm))  # fmt: skip
    assert wide < 8 * narrow


def test_values_from_elsewhere_join_the_spread_and_nothing_else(unequal):
    scores, people, metrics, groups = unequal
    calm = groups[1:]
    own = intervals_of_pairs(scores, people, metrics=metrics, groups=calm)
    more = intervals_of_pairs(
        scores, people, metrics=metrics, groups=calm, elsewhere=[[0.90, 0.91, 0.92], [0.9, 0.9]]
    )
    one, other = own.difference(*calm[:2]), more.difference(*calm[:2])
    assert (one.value, one.se_test) == pytest.approx((other.value, other.se_test))
    assert more.seed_spread.freedom == own.seed_spread.freedom + 3
