"""Variances in closed form against sums over all combinations of pairs, and against a bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from frcore.evaluation.identification import Searches
from frcore.evaluation.intervals.influences import Accuracy, RankShare, TarAt, TpirAt
from frcore.evaluation.intervals.people import Products, people_of_pairs, people_of_searches
from frcore.evaluation.intervals.uncertainty import interval_of_mean, intervals_of_searches
from frcore.evaluation.metrics import tar_at_far
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import verification_accuracy

PEOPLE = 30


@pytest.fixture
def pairs(rng):
    """Dyads of one to several pairs, in no order, and four genuine pairs of each person."""
    a, b = rng.integers(0, PEOPLE, (2, 600))
    a[:120] = b[:120] = np.repeat(np.arange(PEOPLE), 4)
    keep = rng.permutation(np.flatnonzero((a != b) | (np.arange(a.size) < 120)))
    a, b = a[keep], b[keep]
    person = rng.normal(0, 0.5, PEOPLE)
    scores = rng.normal(1.5 * (a == b) + person[a] + person[b], 0.7)
    return scores, a == b, a, b


def sharing(a, b):
    """1 for two pairs with a person in common, (P, P)."""
    return np.array([[bool({p, q} & {r, s}) for r, s in zip(a, b, strict=True)]
                     for p, q in zip(a, b, strict=True)])  # fmt: skip


def of_pairs(scores, same, metric):
    """The influence of each pair (P,), by moving weight onto it."""
    weight = np.ones(same.size)
    found = np.empty(same.size)
    for pair in range(same.size):
        moved = weight.copy()
        moved[pair] += 1e-4
        found[pair] = (weighted(scores, same, metric, moved)
                       - weighted(scores, same, metric, weight)) / 1e-4  # fmt: skip
    return found


def weighted(scores, same, metric, weight):
    """Accuracy of weighted pairs, with the shares of kinds and folds as they are in the list."""
    fold = np.zeros(same.size, int) if metric.folds is None else np.asarray(metric.folds)
    if metric.folds is None:
        right = (scores >= metric.threshold) == same
    else:
        right = verification_accuracy(scores, same, fold).correct
    folds, sizes = np.unique(fold, return_counts=True)
    share = weight / (folds.size * sizes[np.searchsorted(folds, fold)])
    plain = share / weight
    return sum(
        plain[kind].sum() * (share * right)[kind].sum() / share[kind].sum()
        for kind in (same, ~same)
    )


@pytest.mark.slow
@pytest.mark.parametrize("folds", [None, 3])
def test_the_variance_is_the_sum_over_combinations_of_pairs_that_share_people(pairs, folds):
    scores, same, a, b = pairs
    given = None if folds is None else np.arange(same.size) ** 2 % folds
    metric = Accuracy(given, 0.6 if folds is None else None)
    people = people_of_pairs(same, a, b)
    influence = metric.influence(Ranked(scores, same), people)
    psi = of_pairs(scores, same, metric)
    expected = psi @ sharing(a, b) @ psi
    assert Products.of([influence]).variance(np.ones(1), 0.0) == pytest.approx(expected, rel=1e-3)
    by_person = [psi[(a == one) | (b == one)].sum() for one in range(PEOPLE)]
    assert influence.people == pytest.approx(np.array(by_person), abs=1e-5)


@pytest.mark.slow
def test_of_a_difference_the_influences_are_subtracted(pairs, rng):
    scores, same, a, b = pairs
    people, metric = people_of_pairs(same, a, b), Accuracy(None, 0.6)
    shift = rng.normal(0, 0.4, PEOPLE)
    both = [scores, scores + shift[a] + shift[b]]
    products = Products.of([metric.influence(Ranked(one, same), people) for one in both])
    psi = np.subtract(*(of_pairs(one, same, metric) for one in both))
    expected = psi @ sharing(a, b) @ psi
    assert products.variance(np.array([1.0, -1.0]), 0.0) == pytest.approx(expected, rel=1e-3)
    assert products.variance(np.array([1.0, -1.0]), 0.2) == pytest.approx(expected / 0.8, rel=1e-3)


def test_the_slope_of_tar_is_the_rise_of_the_roc_about_the_threshold(pairs):
    scores, same, a, b = pairs
    people, far = people_of_pairs(same, a, b), 0.1
    ranked = Ranked(scores, same)
    point = tar_at_far(scores[same], scores[~same], far)
    impostor = people.impostor(np.flatnonzero(~same & (scores >= point.threshold)))
    genuine = people.genuine(np.flatnonzero(same & (scores >= point.threshold)))
    found = TarAt(far).influence(ranked, people)
    slopes = (genuine - found.people) / impostor.people
    assert slopes == pytest.approx(np.full(PEOPLE, slopes[0]))
    error = Products.of([impostor]).variance(np.ones(1), people.overlap) ** 0.5
    lowest, highest = point.far - 2 * error, point.far + 2 * error
    tars = [
        tar_at_far(scores[same], scores[~same], max(one, 2e-3)).tar for one in (lowest, highest)
    ]
    assert slopes[0] == pytest.approx((tars[1] - tars[0]) / (highest - max(lowest, 0)), rel=0.15)


@pytest.mark.parametrize("far", [0.05, 0.2])
def test_the_standard_error_of_tar_is_near_that_of_a_bootstrap_over_people(far, rng):
    """Drawing people, and subtracting what is specific to a dyad twice (Owen 2007)."""
    people, draws = 60, 400
    a, b = np.triu_indices(people, 1)
    a, b = np.r_[np.repeat(np.arange(people), 3), a], np.r_[np.repeat(np.arange(people), 3), b]
    hard, same = rng.normal(0, 0.5, people), a == b
    scores = rng.normal(np.where(same, 2 + hard[a], hard[a] + hard[b]), 0.7)
    estimate = interval_of_mean(scores, same, a, b, metric=TarAt(far))
    overlap = people_of_pairs(same, a, b).overlap

    def spread(weights):
        found = []
        for weight in weights:
            copies = np.repeat(scores, weight), np.repeat(same, weight)
            found.append(tar_at_far(copies[0][copies[1]], copies[0][~copies[1]], far).tar)
        return np.var(found)

    counts = rng.multinomial(people, np.full(people, 1 / people), draws)
    of_people = spread(np.where(same, one[a], one[a] * one[b]) for one in counts)
    dyads = int((~same).sum())
    counts = rng.multinomial(dyads, np.full(dyads, 1 / dyads), draws)
    of_dyads = spread(np.r_[np.ones(same.sum(), int), one] for one in counts)
    expected = np.sqrt((of_people - 2 * of_dyads) / (1 - overlap))
    assert estimate.se_test == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("design", ["dense", "sparse"])
def test_overlap_is_the_share_of_pairs_of_pairs_with_a_common_person(design):
    if design == "dense":
        a, b = np.triu_indices(15, 1)
    else:
        a, b = np.arange(30), np.arange(30) + 30
    own = np.repeat(np.arange(a.max() + 1), 2)
    a, b = np.r_[own, a], np.r_[own, b]
    same = a == b
    shares = [sharing(a[kind], b[kind]).mean() for kind in (same, ~same)]
    assert people_of_pairs(same, a, b).overlap == pytest.approx(max(shares))


def test_searches_are_clustered_by_the_people_of_probes(rng):
    person = rng.permutation(np.repeat(np.arange(50), 6))
    mated = person < 25
    rank = np.where(mated, 1 + (rng.random(300) < 0.3), 0)
    mate = np.where(mated, rng.normal(0.5, 0.1, 300), -2).astype(np.float32)
    other = rng.normal(0.2, 0.1, 300).astype(np.float32)
    galleries = [
        Searches(person, mated, mate, other, rank.astype(np.int32)),
        Searches(person, ~mated, mate, other, np.where(mated, 0, 1).astype(np.int32)),
    ]
    found = intervals_of_searches({"run": galleries}, metrics={"run": RankShare(1)}).mean(["run"])
    psi = np.where(mated, (rank == 1) - np.mean(rank[mated] == 1), 0) / mated.sum() / 2
    by_person = np.bincount(person, psi)
    assert found.value == pytest.approx((np.mean(rank[mated] == 1) + 1) / 2)
    # One person's searches are a fiftieth of all combinations.
    assert found.se_test == pytest.approx(np.sqrt(np.square(by_person).sum() / (1 - 1 / 50)))
    assert (found.people, found.pairs) == (50, 600)
    every, one, _ = people_of_searches([g.mated for g in galleries], [g.person for g in galleries])
    assert (every.carrying, one.carrying, every.dyads) == (50, 25, 0)
    as_pairs = TarAt(0.1).influence(Ranked(*galleries[0].scores()), one)
    assert TpirAt(0.1).influence(galleries[0], one).people == pytest.approx(as_pairs.people)
