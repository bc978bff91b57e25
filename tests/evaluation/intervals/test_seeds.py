"""When the spread over seeds may be pooled."""

from __future__ import annotations

import numpy as np
import pytest

from frcore.evaluation.intervals.influences import Accuracy
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.seeds import REFUSED_BELOW, equal_variances, seed_spread
from frcore.evaluation.intervals.uncertainty import intervals_of_pairs


@pytest.mark.parametrize(("methods", "seeds"), [(6, 2), (18, 2), (10, 4)])
def test_equal_spreads_are_refused_as_often_as_said(methods: int, seeds: int):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2000, methods, seeds))
    freedoms = np.full(methods, seeds - 1)
    found = [equal_variances(one.var(axis=1, ddof=1), freedoms) for one in values]
    assert np.mean(np.array(found) < REFUSED_BELOW) == pytest.approx(REFUSED_BELOW, abs=0.015)


def test_a_method_that_spreads_more_is_seen():
    rng = np.random.default_rng(1)
    spreads = np.array([5.0, *np.ones(9)])
    refused = [
        not seed_spread(list(spreads[:, None] * rng.normal(size=(10, 5)))).may_be_pooled
        for _ in range(200)
    ]
    assert np.mean(refused) > 0.9


def test_the_scale_does_not_matter_and_ties_are_no_proof():
    groups = [[0.9, 0.92], [0.8, 0.83], [0.7, 0.71], [0.85, 0.85]]
    found = seed_spread(groups)
    assert found.equal == seed_spread([[8 * x for x in group] for group in groups]).equal
    assert found.may_be_pooled
    assert seed_spread([[0.9, 0.9]] * 5).equal == 1.0
    assert seed_spread([[0.9, 0.95], [0.5]]).equal == 1.0


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


def test_a_refusal_is_said_and_never_makes_an_interval_narrower(unequal):
    scores, people, metrics, groups = unequal
    found = intervals_of_pairs(scores, people, metrics=metrics, groups=groups)
    assert not found.seed_spread.may_be_pooled
    wild, calm = found.difference(groups[0], groups[1]), found.difference(groups[1], groups[2])
    assert "they differ" in wild.method
    alone = intervals_of_pairs(scores, people, metrics=metrics)
    own = alone.difference(groups[0], groups[1])
    assert wild.se_seed == pytest.approx(own.se_seed)
    # Two calm seeds may agree by chance: never less than the pooled spread.
    pooled = found.seed_spread
    assert calm.errors.half_width(0.95) >= 2 * pooled.deviation
    # Without the wild one, what is left is pooled.
    rest = intervals_of_pairs(scores, people, metrics=metrics, groups=groups[1:])
    assert rest.seed_spread.may_be_pooled
    assert rest.difference(groups[1], groups[2]).errors.freedom_seeds == 8


def test_values_from_elsewhere_join_the_spread_and_nothing_else(unequal):
    scores, people, metrics, groups = unequal
    calm = groups[1:]
    own = intervals_of_pairs(scores, people, metrics=metrics, groups=calm)
    more = intervals_of_pairs(
        scores, people, metrics=metrics, groups=calm, elsewhere=[[0.90, 0.91, 0.92], [0.9, 0.9]]
    )
    one, other = own.difference(*calm[:2]), more.difference(*calm[:2])
    assert (one.value, one.se_test) == pytest.approx((other.value, other.se_test))
    assert other.errors.freedom_seeds == one.errors.freedom_seeds + 3
