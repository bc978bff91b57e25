from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from frcore.errors import UserError
from frcore.evaluation.intervals.uncertainty import (
    Accuracy,
    TarAt,
    interval_of_mean,
    paired_difference,
)
from frcore.evaluation.metrics import UnresolvableFAR, tar_at_far
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import verification_accuracy

THRESHOLD = 1.0


def dense_design(people, genuine=4):
    """Every two people once, and `genuine` pairs of each person: everyone is in many pairs."""
    a, b = np.triu_indices(people, 1)
    own = np.repeat(np.arange(people), genuine)
    return np.r_[own, a], np.r_[own, b]


def sparse_design(people=400):
    """As in LFW's list: nearly everyone is in one or two pairs."""
    half = people // 2
    own = np.arange(0, people, 2)
    return np.r_[own, np.arange(half)], np.r_[own, np.arange(half) + half]


def draw_scores(a, b, rng, person_spread, pair_spread):
    """Some people are easy and some are hard, for genuine and for impostor pairs."""
    person = rng.normal(0, person_spread, max(a.max(), b.max()) + 1)
    centre = np.where(a == b, 2 + 2 * person[a], person[a] + person[b])
    return centre + rng.normal(0, pair_spread, a.size)


def true_accuracy(a, b, person_spread, pair_spread):
    """Expected accuracy at THRESHOLD over all people there could be."""
    genuine = stats.norm.sf(THRESHOLD - 2, 0, np.hypot(2 * person_spread, pair_spread))
    impostor = stats.norm.cdf(THRESHOLD, 0, np.hypot(2**0.5 * person_spread, pair_spread))
    share = np.mean(a == b)
    return share * genuine + (1 - share) * impostor


def true_tar(far, person_spread, pair_spread):
    """Expected TAR at the threshold where the expected FAR is `far`."""
    threshold = stats.norm.isf(far, 0, np.hypot(2**0.5 * person_spread, pair_spread))
    return stats.norm.sf(threshold - 2, 0, np.hypot(2 * person_spread, pair_spread))


def as_if_pairs_were_independent(scores, same):
    """The wrong way: of accuracy at THRESHOLD."""
    wrong = (scores >= THRESHOLD) != same
    variance = sum(np.var(wrong[kind]) * kind.sum() for kind in (same, ~same)) / same.size**2
    value = 1 - wrong.mean()
    return value - 1.96 * variance**0.5, value + 1.96 * variance**0.5


def coverage(design, spreads, metric, truth, simulations, rng):
    """How often intervals hold the truth, mean SE over true SE; and the scores that were drawn."""
    a, b = design
    held, errors, values, drawn = 0, [], [], []
    for _ in range(simulations):
        drawn.append(draw_scores(a, b, rng, *spreads))
        estimate = interval_of_mean(drawn[-1], a == b, a, b, metric=metric)
        held += not estimate.excludes(truth)
        errors.append(estimate.se_test)
        values.append(estimate.value)
    return held / simulations, np.mean(errors) / np.std(values), drawn


def test_where_people_are_in_many_pairs_taking_these_as_independent_is_far_too_sure(rng):
    design, spreads = dense_design(40), (0.5, 0.7)
    truth = true_accuracy(*design, *spreads)
    metric = Accuracy(None, THRESHOLD)
    held, _, drawn = coverage(design, spreads, metric, truth, 60, rng)
    same = design[0] == design[1]
    intervals = [as_if_pairs_were_independent(scores, same) for scores in drawn]
    naive = np.mean([low <= truth <= high for low, high in intervals])
    assert naive < 0.8
    assert held > naive + 0.1
    assert held >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["accuracy", "tar"])
@pytest.mark.parametrize(
    ("design", "spreads"),
    [
        (dense_design(40), (0.5, 0.7)),
        (sparse_design(), (0.3, 1.0)),
        (sparse_design(), (0.0, 1.0)),
    ],
    ids=["dense", "sparse", "independent"],
)
def test_coverage_is_near_nominal(design, spreads, kind, rng):
    if kind == "accuracy":
        metric, truth = Accuracy(None, THRESHOLD), true_accuracy(*design, *spreads)
    else:
        metric, truth = TarAt(0.1), true_tar(0.1, *spreads)
    held, ratio, _ = coverage(design, spreads, metric, truth, 250, rng)
    # Three standard errors of the count are 0.041; pairs as if they were independent are at 0.70
    # and 0.5 on the dense design.
    assert 0.9 <= held <= 0.99
    assert 0.85 <= ratio <= 1.17


def test_value_is_the_metric_and_the_interval_holds_it(rng):
    a, b = sparse_design()
    scores = draw_scores(a, b, rng, 0.3, 0.7)
    same = a == b
    tar = interval_of_mean(scores, same, a, b, metric=TarAt(0.05))
    assert tar.value == tar_at_far(scores[same], scores[~same], 0.05).tar
    accuracy = interval_of_mean(scores, same, a, b, metric=Accuracy(10))
    assert accuracy.value == pytest.approx(verification_accuracy(scores, same, 10).accuracy)
    for estimate in (tar, accuracy):
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1
        assert (estimate.people, estimate.pairs) == (400, 400)
        assert estimate.se_seed is None


def test_accuracy_with_the_threshold_of_each_pair_subtracted_is_the_same(rng):
    """How the report computes it from stored scores and thresholds."""
    a, b = sparse_design()
    scores = draw_scores(a, b, rng, 0.3, 0.7)
    fold = rng.integers(0, 7, a.size)
    result = verification_accuracy(scores, a == b, fold)
    margin = scores - result.threshold_of_pair
    stored = interval_of_mean(margin, a == b, a, b, metric=Accuracy(fold, 0.0))
    direct = interval_of_mean(scores, a == b, a, b, metric=Accuracy(fold))
    assert stored == direct


def test_sides_names_and_repetition_do_not_matter(rng):
    a, b = sparse_design()
    scores = draw_scores(a, b, rng, 0.3, 0.7)
    first = interval_of_mean(scores, a == b, a, b, metric=TarAt(0.05))
    again = interval_of_mean(scores, a == b, b, a, metric=TarAt(0.05))
    names = np.array([f"person {code:04d}" for code in range(400)])
    named = interval_of_mean(scores, a == b, names[a], names[b], metric=TarAt(0.05))
    assert first == again == named


def test_a_difference_on_the_same_pairs_is_surer_than_two_intervals(rng):
    a, b = dense_design(60)
    same, metric = a == b, Accuracy(None, THRESHOLD)
    shared = draw_scores(a, b, rng, 0.5, 0.7)
    better = shared + 0.3 * np.where(same, 1, -1) + rng.normal(0, 0.05, a.size)
    one, other = (interval_of_mean(s, same, a, b, metric=metric) for s in (better, shared))
    difference = paired_difference(better, shared, same, a, b, metric=metric)
    assert difference.value == pytest.approx(one.value - other.value)
    assert difference.se_test < 0.5 * np.hypot(one.se_test, other.se_test)
    assert difference.excludes(0)
    reverse = paired_difference(shared, better, same, a, b, metric=metric)
    assert (reverse.low, reverse.high) == pytest.approx((-difference.high, -difference.low))


def test_a_method_does_not_differ_from_itself(rng):
    a, b = sparse_design()
    scores = draw_scores(a, b, rng, 0.3, 0.7)
    for metric in (Accuracy(10), TarAt(0.05)):
        difference = paired_difference(scores, scores, a == b, a, b, metric=metric)
        assert difference.value == 0
        assert difference.low < 0 < difference.high


@pytest.mark.slow
def test_equal_methods_differ_as_rarely_as_promised(rng):
    a, b = dense_design(40)
    same, apart = a == b, 0
    for _ in range(200):
        shared = draw_scores(a, b, rng, 0.5, 0.0)
        one, other = (shared + rng.normal(0, 0.7, a.size) for _ in range(2))
        difference = paired_difference(one, other, same, a, b, metric=TarAt(0.05))
        apart += difference.excludes(0)
    assert 0.01 <= apart / 200 <= 0.1


def test_seeds_add_their_own_spread(rng):
    a, b = sparse_design()
    same, metric = a == b, Accuracy(None, THRESHOLD)
    shared = draw_scores(a, b, rng, 0.3, 0.7)
    shifts = [-0.4, 0.0, 0.1, 0.3]
    sets = [shared + shift for shift in shifts]
    values = [metric.value(Ranked(scores, same)) for scores in sets]
    estimate = interval_of_mean(sets, same, a, b, metric=metric)
    assert estimate.value == pytest.approx(np.mean(values))
    assert estimate.per_seed == tuple(values)
    assert estimate.se_seed == pytest.approx(stats.sem(values))
    alone = interval_of_mean([shared] * 4, same, a, b, metric=metric)
    assert alone.se_seed == 0
    width = estimate.high - estimate.low
    assert width > alone.high - alone.low
    seeds_only = 2 * stats.t.ppf(0.975, 3) * stats.sem(values)
    assert width == pytest.approx(np.hypot(seeds_only, 2 * 1.96 * estimate.se_test), rel=0.15)


def test_two_seeds_say_little(rng):
    a, b = sparse_design()
    shared = draw_scores(a, b, rng, 0.3, 0.7)
    two = [shared, shared + 0.3 * np.where(a == b, 1, -1)]
    metric = Accuracy(None, THRESHOLD)
    few = interval_of_mean(two, a == b, a, b, metric=metric)
    many = interval_of_mean(two * 4, a == b, a, b, metric=metric)
    assert few.high - few.low > 2 * (many.high - many.low)


@pytest.mark.slow
def test_intervals_over_seeds_cover_the_mean_over_all_seeds(rng):
    """Test people and seeds both drawn anew: coverage of the doubly expected accuracy."""
    a, b = dense_design(40)
    same, metric, seed_spread, held = a == b, Accuracy(None, 0.0), 0.3, 0
    # Genuine and impostor are symmetric about 0, and a seed scales the separation of both.
    for _ in range(200):
        person = rng.normal(0, 0.3, 40)
        runs = []
        for _ in range(3):
            gain = rng.normal(1.0, seed_spread)
            centre = np.where(same, gain + person[a], -gain + (person[a] + person[b]) / 2**0.5)
            runs.append(centre + rng.normal(0, 1, a.size))
        estimate = interval_of_mean(runs, same, a, b, metric=metric)
        truth = stats.norm.cdf(1.0, 0, np.sqrt(1 + 0.3**2 + seed_spread**2))
        held += not estimate.excludes(truth)
    assert held / 200 >= 0.92


def test_perfect_accuracy_is_not_certain(rng):
    a, b = sparse_design()
    perfect = np.where(a == b, 1.0, 0.0) + rng.uniform(0, 0.1, a.size)
    estimate = interval_of_mean(perfect, a == b, a, b, metric=Accuracy(10))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(
        stats.binomtest(200, 200).proportion_ci(method="wilson").low
    )
    assert "Wilson" in estimate.method


def make_many(pairs, people, rng):
    a = rng.integers(0, people, pairs)
    b = np.where(np.arange(pairs) % 2, a, (a + 1 + rng.integers(0, people - 1, pairs)) % people)
    return rng.normal(2.0 * (a == b)).astype(np.float32), a == b, a, b


@pytest.mark.slow
def test_the_interval_of_many_pairs_is_quick(rng):
    given = make_many(1_000_000, 4_000, rng)
    start = time.process_time()
    interval_of_mean(*given, metric=TarAt(1e-2))
    assert time.process_time() - start < 5


def test_what_has_no_interval_is_refused(rng):
    a, b = sparse_design()
    scores = draw_scores(a, b, rng, 0.3, 0.7)
    same, accuracy = a == b, Accuracy(10)

    def refused(message, *, kind=UserError, **change):
        given = {"score_sets": scores, "same": same, "identity_a": a, "identity_b": b}
        given |= {"metric": accuracy} | change
        with pytest.raises(kind, match=message):
            interval_of_mean(**given)

    refused("run 0 score 3 of 400 is nan", score_sets=np.where(np.arange(400) == 3, np.nan, scores))
    refused("differ in length", score_sets=[scores, scores[1:]])
    refused("pair 0 is labelled impostor", same=~same)
    refused("shapes", identity_a=a[1:])
    refused("between 0 and 1", level=95)
    refused("both are None", metric=Accuracy(None, None))
    refused("at least 1,000 impostor", kind=UnresolvableFAR, metric=TarAt(1e-3))
    refused("give one below 1", metric=TarAt(1.0))
    few = np.r_[np.flatnonzero(same)[:4], np.flatnonzero(~same)[:2]]  # eight people
    refused("too few for an interval", score_sets=scores[few], same=same[few], identity_a=a[few],
            identity_b=b[few], metric=Accuracy(None, 0.5))  # fmt: skip
    star = np.r_[np.arange(20), np.zeros(19, int)], np.r_[np.arange(20), np.arange(1, 20)]
    refused("have a person in common", score_sets=scores[:39], same=star[0] == star[1],
            identity_a=star[0], identity_b=star[1], metric=Accuracy(None, 0.0))  # fmt: skip
    with pytest.raises(UserError, match="same pairs and seeds on both sides"):
        paired_difference([scores] * 2, scores, same, a, b, metric=accuracy)
