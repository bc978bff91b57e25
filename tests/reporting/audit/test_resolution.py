"""The bounds against scipy's tests, enumeration and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frcore.reporting.audit.differences import BEYOND, GROUP, OPEN, TOO_SMALL, differences
from frcore.reporting.audit.resolution import (
    found_often,
    independent,
    mcnemar,
    never,
    resolvable,
)


def audit_of(values: list[float], trials: int, people: int | None = None, effects=None):
    frame = pd.DataFrame({"value": values, "trials": trials, "people": people or trials})
    frame["method"] = [f"m{place}" for place in frame.index]
    return differences(frame.assign(**dict.fromkeys(GROUP, "x")), effects or {})


def test_mcnemar_is_scipys_binomial_test():
    for fewer, more in itertools.product((0, 1, 5, 40), (0, 1, 2, 6, 9, 60)):
        one, other = sorted((fewer, more))
        expected = stats.binomtest(one, one + other).pvalue if other else 1.0
        assert mcnemar(other - one, one + other) == pytest.approx(expected, rel=1e-9)


def test_six_trials_are_the_fewest():
    assert never() == 6
    assert stats.binomtest(0, 5).pvalue > 0.05 > stats.binomtest(0, 6).pvalue


@pytest.mark.parametrize("errors", [(3, 8), (3, 9), (10, 40), (0, 5), (0, 6), (50, 90)])
def test_a_verdict_holds_for_every_overlap_of_the_errors(errors):
    """Every table of who got what wrong that has these error counts, by scipy."""
    trials = 997
    values = [round(100 * (1 - count / trials), 4) for count in errors]
    (found,) = audit_of(values, trials).to_dict("records")
    few, many = errors
    p = {common: stats.binomtest(few - common, few + many - 2 * common).pvalue
         for common in range(few + 1)}  # fmt: skip
    by_chance = few * many // trials
    if found["verdict"] == TOO_SMALL:
        assert min(p.values()) > 0.05
    elif found["verdict"] == BEYOND:
        assert max(value for common, value in p.items() if common >= by_chance) <= 0.05
    else:
        assert p[by_chance] > 0.05 >= p[few]
    assert found["trials_apart"] == many - few


def test_independent_errors_have_the_variance_of_two_samples():
    a, b, n = 30, 75, 600
    two = n * (a / n * (1 - a / n) + b / n * (1 - b / n))
    assert independent(a, b, n) - (a - b) ** 2 / n == pytest.approx(two)


def test_the_smallest_resolvable_loss_is_near_that_of_fishers_test():
    """LFW at 99.8 %: 12 errors of 6,000, against how many?"""
    loss = round(6000 * resolvable(0.998, 6000))
    p = [stats.fisher_exact([[12, 5988], [12 + k, 5988 - k]]).pvalue for k in (loss - 2, loss + 2)]
    assert p[0] > 0.05 > p[1]
    assert resolvable(0.998, 6000, 4.0) > 1.5 * resolvable(0.998, 6000)
    assert np.isnan(resolvable(0.001, 100))


def test_rates_of_finding_in_simulated_pairs():
    """2,000 test sets of 6,000 pairs, errors independent: 5 % if equal, 90 % at the loss."""
    rng, n, value = np.random.default_rng(0), 6000, 0.96
    loss = found_often(value, n)
    for other, low, high in ((value, 0.02, 0.06), (value - loss, 0.86, 0.93)):
        one_only, other_only = ((1 - value) * other, value * (1 - other))
        drawn = rng.multinomial(n, [one_only, other_only, 1 - one_only - other_only], size=2000)
        p = mcnemar(np.abs(drawn[:, 0] - drawn[:, 1]), drawn[:, 0] + drawn[:, 1])
        assert low < np.mean(p <= 0.05) < high


def test_with_people_that_fail_together_the_people_are_the_sample():
    """500 people with 14 pairs each, as in CFP: 14 times the binomial variance."""
    rng = np.random.default_rng(1)
    rates = rng.binomial(500, 0.9, size=4000) / 500
    assert np.var(rates) / (0.9 * 0.1 / 7000) == pytest.approx(14, rel=0.1)
    (found,) = audit_of([98.01, 96.5], 7000, people=500).to_dict("records")
    expected = mcnemar(106 / 14, independent(139, 245, 7000) / 14)
    assert found["verdict"] == BEYOND
    assert found["p_people"] == pytest.approx(float(expected))
    assert found["p_people"] > 0.05


def test_all_differences_of_a_ranking_hold_together():
    alone = audit_of([99.85, 99.61], 6000).iloc[0]
    found = audit_of([99.85, 99.61, *[99.83] * 5], 6000)
    (among,) = found[found["worse"].eq("m1") & found["better"].eq("m0")].to_dict("records")
    assert 0.05 / 21 < alone["p_independent"] == among["p_independent"] <= 0.05
    assert (alone["verdict"], among["verdict"]) == (BEYOND, OPEN)
    assert among["comparisons"] == len(found) == 21


def test_a_known_design_effect_makes_differences_less_certain():
    plain, known = (audit_of([99.83, 99.5], 6000, effects=effects).iloc[0]
                    for effects in ({}, {("x", "x"): 2.0}))  # fmt: skip
    assert plain["p_independent"] < known["p_independent"]
    assert plain["p_at_best"] == known["p_at_best"]


def test_rounding_counts_against_either_verdict():
    """One decimal on IJB-C: 96.4 and 96.4 can be 19 trials apart."""
    printed = audit_of([96.4, 96.4], 19_557).iloc[0]
    exact = audit_of([96.4, 96.39], 19_557).iloc[0]  # the second shows that there are two decimals
    assert printed["verdict"] == OPEN
    assert exact["verdict"] == TOO_SMALL
    assert audit_of([99.83, 99.75], 6000).iloc[0]["verdict"] == TOO_SMALL
    assert audit_of([99.83, 99.73], 6000).iloc[0]["verdict"] == OPEN
