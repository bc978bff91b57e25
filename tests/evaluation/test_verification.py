from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.model_selection import KFold

from frcore.errors import UserError
from frcore.evaluation.verification import (
    accuracy_at,
    fold_of_pair,
    threshold_from,
    verification_accuracy,
    wilson_interval,
)

LFW_FOLDS = [0.9950, 0.9967, 0.9950, 0.9950, 0.9933, 0.9950, 0.9917, 0.9967, 1.0, 0.9967]


def make_pairs(rng, count=200, separation=1.5, decimals=1):
    same = rng.random(count) < 0.5
    return (rng.normal(separation * same)).round(decimals), same


def slow_best_accuracy(scores, same):
    cuts = [*scores, np.inf]
    return max(np.mean((scores >= cut) == same) for cut in cuts)


def slow_folds(scores, same, fold):
    """For each fold the accuracies of all thresholds that are best on the others, by counting."""
    allowed = []
    for held_out in np.unique(fold):
        train, test = fold != held_out, fold == held_out
        values = np.unique(scores[train])
        cuts = [values[0], *((values[1:] + values[:-1]) / 2), values[-1] + 1e-9]
        right = [np.sum((scores[train] >= cut) == same[train]) for cut in cuts]
        best = [cut for cut, count in zip(cuts, right, strict=True) if count == max(right)]
        allowed.append({np.mean((scores[test] >= cut) == same[test]) for cut in best})
    return allowed


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40).filter(
        lambda pairs: len({same for _, same in pairs}) == 2
    )
)
def test_threshold_is_as_accurate_as_any_can_be(pairs):
    scores, same = (np.array(column) for column in zip(*pairs, strict=True))
    threshold = threshold_from(scores / 3, same)
    assert accuracy_at(threshold, scores / 3, same) == slow_best_accuracy(scores / 3, same)


def test_threshold_is_the_middle_of_the_widest_best_gap():
    # Cuts in (0.3, 0.4) and (0.5, 0.8) are both right 5 times of 6; the second gap is wider.
    scores, same = [0.9, 0.8, 0.5, 0.4, 0.3, 0.1], [1, 1, 0, 1, 0, 0]
    assert threshold_from(scores, same) == pytest.approx(0.65)


def test_equally_wide_gaps_give_the_higher_threshold():
    assert threshold_from([3.0, 2.0, 1.0, 0.0], [1, 0, 1, 0]) == 2.5


def test_threshold_between_neighbouring_floats_still_separates_them():
    low = 0.3
    high = np.nextafter(low, 1)
    threshold = threshold_from([high, low], [1, 0])
    assert accuracy_at(threshold, [high, low], [1, 0]) == 1


@pytest.mark.parametrize(("genuine_first", "expected"), [(True, 1.0), (False, 0.5)])
def test_one_sided_pairs_get_a_threshold_at_the_end(genuine_first, expected):
    same = np.array([genuine_first, not genuine_first])
    scores = np.array([0.9, 0.1])
    assert accuracy_at(threshold_from(scores, same), scores, same) == expected


def test_order_of_the_pairs_does_not_move_the_threshold(rng):
    scores, same = make_pairs(rng)
    for _ in range(20):
        order = rng.permutation(scores.size)
        assert threshold_from(scores[order], same[order]) == threshold_from(scores, same)


def test_each_fold_is_judged_with_a_threshold_that_is_best_on_the_others(rng):
    for _ in range(10):
        scores, same = make_pairs(rng, 120)
        fold = rng.integers(0, 6, 120)
        result = verification_accuracy(scores, same, fold)
        for accuracy, allowed in zip(
            result.fold_accuracies, slow_folds(scores, same, fold), strict=True
        ):
            assert accuracy in allowed
        assert result.accuracy == pytest.approx(np.mean(result.fold_accuracies))


def test_a_fold_has_no_say_in_its_own_threshold(rng):
    scores, same = make_pairs(rng)
    before = verification_accuracy(scores, same, 10)
    changed = scores.copy()
    changed[:20] = rng.normal(0, 5, 20)
    after = verification_accuracy(changed, same, 10)
    assert after.thresholds[0] == before.thresholds[0]
    assert (after.thresholds[1:] != before.thresholds[1:]).any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_shuffling_pairs_within_folds_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    scores, same = make_pairs(rng, 100)
    fold = np.repeat(np.arange(10), 10)
    order = np.lexsort((rng.random(100), fold))
    before = verification_accuracy(scores, same, 10)
    after = verification_accuracy(scores[order], same[order], 10)
    np.testing.assert_array_equal(before.fold_accuracies, after.fold_accuracies)
    by_id = rng.permutation(100)
    np.testing.assert_array_equal(
        verification_accuracy(scores[by_id], same[by_id], fold[by_id]).fold_accuracies,
        before.fold_accuracies,
    )


@pytest.mark.parametrize("pairs", [10, 23, 600])
def test_number_of_folds_means_the_blocks_of_kfold(pairs):
    fold = fold_of_pair(10, pairs)
    for index, (_, test) in enumerate(KFold(10, shuffle=False).split(np.zeros(pairs))):
        np.testing.assert_array_equal(np.flatnonzero(fold == index), test)


def test_interval_and_standard_error_are_those_of_the_folds(rng):
    scores, same = make_pairs(rng, 600)
    result = verification_accuracy(scores, same, 10)
    low, high = stats.ttest_1samp(result.fold_accuracies, 0).confidence_interval(0.95)
    assert result.interval == pytest.approx((low, high))
    assert result.std_error == pytest.approx(stats.sem(result.fold_accuracies))


def test_perfect_accuracy_has_an_interval_all_the_same():
    same = np.tile([True, False], 50)
    result = verification_accuracy(same.astype(float), same, 10)
    expected = stats.binomtest(100, 100).proportion_ci(method="wilson")
    assert result.accuracy == 1
    assert result.interval == pytest.approx((expected.low, expected.high))
    assert "Wilson" in result.method


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 7), (7, 7), (995, 1000)])
def test_wilson_interval_is_scipys(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.9, method="wilson")
    assert wilson_interval(successes, trials, 0.9) == pytest.approx((expected.low, expected.high))


def peers_fold_accuracies(embeddings_a, embeddings_b, same, folds):
    """InsightFace's eval/verification.py calculate_roc, re-told."""
    distance = np.sum(np.square(embeddings_a - embeddings_b), 1)
    accuracies = []
    for train, test in KFold(folds, shuffle=False).split(distance):
        right = [np.mean((distance[train] < t) == same[train]) for t in np.arange(0, 4, 0.01)]
        threshold = np.arange(0, 4, 0.01)[np.argmax(right)]
        accuracies.append(np.mean((distance[test] < threshold) == same[test]))
    return accuracies


def test_grid_rule_is_the_peers(rng):
    vectors = rng.normal(size=(2, 400, 8))
    same = rng.random(400) < 0.5
    vectors[1, same] += vectors[0, same]
    a, b = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    result = verification_accuracy(np.sum(a * b, 1), same, 10, rule="grid")
    np.testing.assert_array_equal(result.fold_accuracies, peers_fold_accuracies(a, b, same, 10))


def test_grid_rule_accepts_strictly_below_its_threshold():
    """A genuine pair at the squared distance 1 of the grid is accepted from 1.01 on."""
    scores, same = [0.5, -0.5, 0.5, -0.5], [True, False, True, False]
    result = verification_accuracy(scores, same, 2, rule="grid")
    assert result.thresholds.tolist() == pytest.approx([1 - 1.01 / 2] * 2)
    assert result.accuracy == 1


@pytest.mark.parametrize("rule", ["exact", "grid"])
def test_published_fold_accuracies_of_lfw_view_2(lfw, rule):
    a, b, same = lfw.pairs()
    unit = lfw.embeddings / np.linalg.norm(lfw.embeddings, axis=1, keepdims=True)
    result = verification_accuracy(np.sum(unit[a] * unit[b], 1), same, folds=10, rule=rule)
    assert result.fold_accuracies.round(4).tolist() == LFW_FOLDS


def test_pair_columns_repeat_the_folds(rng):
    scores, same = make_pairs(rng)
    result = verification_accuracy(scores, same, 4)
    assert accuracy_at(result.threshold_of_pair, scores, same) == result.correct.mean()
    assert np.unique(result.threshold_of_pair).size <= 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [0.1, np.nan, 0.2, 0.3]}, "pair score 1 of 4 is nan"),
        ({"same": [1, 0, 1]}, "give one each"),
        ({"same": [1, 0, 2, 0]}, "other than 0 and 1"),
        ({"same": [1, 1, 1, 1]}, "impostor pair"),
        ({"same": [0, 0, 0, 0]}, "genuine pair"),
        ({"folds": 1}, "between 2 and 4"),
        ({"folds": 5}, "between 2 and 4"),
        ({"folds": [0, 0, 0, 0]}, "at least 2"),
        ({"folds": [0, 1]}, "one integer for each"),
        ({"folds": [0.5, 1, 1, 1]}, "one integer for each"),
        ({"folds": [0, 1, 0, 1]}, "all pairs are of one kind"),
        ({"rule": "nearest"}, "allowed: exact, grid"),
        ({"rule": "grid", "scores": [5.0, 0.1, 0.2, 0.3]}, "for cosines"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, message):
    given = {"scores": [0.9, 0.1, 0.8, 0.2], "same": [1, 0, 1, 0], "folds": 2} | change
    with pytest.raises(UserError, match=message):
        verification_accuracy(
            given["scores"], given["same"], given["folds"], rule=given.get("rule", "exact")
        )
