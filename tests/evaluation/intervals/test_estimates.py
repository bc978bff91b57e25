"""Many runs at once give the numbers of one call per comparison."""

import numpy as np
import pytest
from scipy import stats

from frcore.evaluation.intervals.estimates import Estimate
from frcore.evaluation.intervals.people import people_of_pairs
from frcore.evaluation.intervals.uncertainty import (
    Accuracy,
    TarAt,
    interval_of_mean,
    intervals_of_pairs,
    paired_difference,
)

PAIRS, PEOPLE = 600, 80


@pytest.fixture(scope="module")
def protocol():
    rng = np.random.default_rng(3)
    same = np.arange(PAIRS) % 2 == 0
    a = rng.integers(0, PEOPLE, PAIRS)
    b = np.where(same, a, (a + rng.integers(1, PEOPLE, PAIRS)) % PEOPLE)
    scores = {f"run{i}": rng.normal((1.5 + i / 4) * same) for i in range(4)}
    return scores, same, a, b


def assert_same(one: Estimate, other: Estimate) -> None:
    """Field by field, up to the order in which sums of float64 are taken.

    Four runs at once are a product of matrices and one alone is one of a matrix and a vector, which
    libraries sum in other orders, and on another processor in others again.
    """
    for name, value in vars(one).items():
        exact = value is None or isinstance(value, str)
        assert vars(other)[name] == (value if exact else pytest.approx(value, rel=1e-9)), name


@pytest.mark.parametrize("metric", [Accuracy(10), TarAt(0.05)])
def test_same_as_one_call_each(protocol, metric):
    scores, same, a, b = protocol
    metrics = dict.fromkeys(scores, metric)
    shared = intervals_of_pairs(scores, people_of_pairs(same, a, b), metrics=metrics)
    settings = {"metric": metric}
    one, two = [scores["run0"], scores["run1"]], [scores["run2"], scores["run3"]]
    assert_same(shared.mean(["run0", "run1"]), interval_of_mean(one, same, a, b, **settings))
    assert_same(shared.mean(["run3"]), interval_of_mean(scores["run3"], same, a, b, **settings))
    assert_same(
        shared.difference(["run0", "run1"], ["run2", "run3"], level=0.9),
        paired_difference(one, two, same, a, b, level=0.9, **settings),
    )


def test_spread_over_seeds_is_that_of_the_groups_moderated(protocol):
    scores, same, a, b = protocol
    groups = [["run0", "run1"], ["run2", "run3"]]
    people, metrics = people_of_pairs(same, a, b), dict.fromkeys(scores, Accuracy(10))
    shared = intervals_of_pairs(scores, people, metrics=metrics, groups=groups)
    tables = [[shared.values[run] for run in group] for group in groups]
    # F of the one-way analysis is (between / 1) / (within / 2): scipy gives F, so within follows.
    between = 2 * sum((np.mean(table) - np.mean(tables)) ** 2 for table in tables)
    within = between / stats.f_oneway(*tables).statistic
    spread = shared.seed_spread
    assert spread.deviation == pytest.approx(np.sqrt(within))
    one, other = (spread.variance(table) for table in tables)
    assert shared.mean(groups[0]).se_seed == pytest.approx(np.sqrt(one / 2))
    assert shared.difference(*groups).se_seed == pytest.approx(np.sqrt((one + other) / 2))
    assert "moderated over 2 methods" in shared.mean(groups[0]).method
    # A single run borrows the spread of the others, and a method does not differ from itself.
    assert shared.mean(["run0"]).se_seed == pytest.approx(np.sqrt(one))
    itself = shared.difference(groups[0], groups[0])
    assert (itself.value, itself.se_seed) == (0.0, 0.0)


def test_pooling_one_group_changes_nothing_but_the_words(protocol):
    scores, same, a, b = protocol
    people, metrics = people_of_pairs(same, a, b), dict.fromkeys(scores, TarAt(0.05))
    runs = ["run0", "run1"]
    plain = intervals_of_pairs(scores, people, metrics=metrics).mean(runs)
    pooled = intervals_of_pairs(scores, people, metrics=metrics, groups=[runs]).mean(runs)
    assert pooled.interval == pytest.approx(plain.interval)
    assert pooled.se_seed == pytest.approx(plain.se_seed)
