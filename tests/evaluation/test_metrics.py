from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as sklearn_roc_curve

from frcore.errors import UserError
from frcore.evaluation.metrics import (
    UnresolvableFAR,
    allowed_false_accepts,
    tar_at_far,
    tar_at_fars,
)

# Few different values, so that ties within and between the two kinds are the rule.
tied_scores = st.lists(st.integers(-6, 6).map(lambda value: value / 4), min_size=1, max_size=40)
fars = st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.29, 1 / 3, 0.5, 0.9, 1.0])


def slow_tar(genuine, impostor, far):
    """Best (TAR, FAR) over every threshold that can matter, by counting."""
    best = None
    for threshold in [*genuine, *impostor, np.inf]:
        false_accepts = sum(score >= threshold for score in impostor)
        accepts = sum(score >= threshold for score in genuine)
        if false_accepts / len(impostor) <= far:
            point = (accepts / len(genuine), -false_accepts)
            best = point if best is None else max(best, point)
    return best[0], -best[1]


@settings(max_examples=60, deadline=None)
@given(genuine=tied_scores, impostor=tied_scores, far=fars)
def test_equals_the_best_of_all_thresholds(genuine, impostor, far):
    if far * len(impostor) < 1 and 1 / len(impostor) > far:
        with pytest.raises(UnresolvableFAR):
            tar_at_far(genuine, impostor, far)
        return
    point = tar_at_far(genuine, impostor, far)
    tar, _ = slow_tar(genuine, impostor, far)
    assert point.tar == tar
    assert point.far <= far
    assert point.false_accepts == sum(score >= point.threshold for score in impostor)
    assert point.tar == np.mean([score >= point.threshold for score in genuine])
    assert point.far == point.false_accepts / len(impostor)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(genuine=tied_scores, impostor=tied_scores, far=fars)
def test_a_growing_transform_of_the_scores_changes_nothing_but_the_threshold(
    genuine, impostor, far
):
    assume(allowed_or_none(far, len(impostor)) is not None)
    before = tar_at_far(genuine, impostor, far)
    after = tar_at_far(np.exp(genuine), np.exp(impostor), far)
    assert (before.tar, before.far) == (after.tar, after.far)


def allowed_or_none(far, impostors):
    try:
        return allowed_false_accepts(far, impostors)
    except UnresolvableFAR:
        return None


@settings(max_examples=60, deadline=None)
@given(far=st.floats(1e-9, 1), impostors=st.integers(1, 10**9))
def test_allowed_false_accepts_is_the_largest_count_within_the_far(far, impostors):
    allowed = allowed_or_none(far, impostors)
    if allowed is None:
        assert 1 / impostors > far
    else:
        assert allowed / impostors <= far
        assert allowed == impostors or (allowed + 1) / impostors > far


def test_a_far_that_is_a_share_of_the_impostors_allows_that_many():
    """0.29 × 100 is below 29 in floating point, 0.07 × 100 above 7."""
    for impostors in (7, 100, 193):
        for count in range(1, impostors + 1):
            assert allowed_false_accepts(count / impostors, impostors) == count


def test_ties_at_the_threshold_are_rejected_together():
    point = tar_at_far([0.9, 0.5, 0.5, 0.1], [0.5, 0.5, 0.5, 0.2], 0.5)
    # Accepting 0.5 would be 3 false accepts of 4.
    assert (point.tar, point.far, point.threshold) == (0.25, 0.0, 0.9)


def test_where_nothing_may_be_accepted_the_threshold_is_infinite():
    point = tar_at_far([0.1, 0.2], [0.5] * 4, 0.5)
    assert (point.tar, point.false_accepts, point.threshold) == (0.0, 0, np.inf)


def test_the_threshold_is_exact_in_single_precision(rng):
    genuine = rng.normal(1, 1, 1000).astype(np.float32)
    impostor = rng.normal(0, 1, 1000).astype(np.float32)
    point = tar_at_far(genuine, impostor, 0.01)
    assert (impostor >= np.float32(point.threshold)).sum() == point.false_accepts == 10
    assert (genuine >= np.float32(point.threshold)).mean() == point.tar


def test_agrees_with_scikit_learns_roc(rng):
    genuine, impostor = rng.normal(2, 1, 3000), rng.normal(0, 1, 5000)
    fpr, tpr, _ = sklearn_roc_curve(
        np.repeat([1, 0], [3000, 5000]), np.r_[genuine, impostor], drop_intermediate=False
    )
    for point in tar_at_fars(genuine, impostor, [1e-3, 1e-2, 0.1, 0.5]):
        assert point.tar == tpr[fpr <= point.far_asked].max()


def test_unresolvable_says_how_many_impostors_it_takes():
    with pytest.raises(UnresolvableFAR, match=r"99 impostor pairs.*at least 100 ") as caught:
        tar_at_far([1.0], np.zeros(99), 0.01)
    assert caught.value.needed == 100
    assert isinstance(caught.value, UserError)
    tar_at_far([1.0], np.zeros(100), 0.01)


@pytest.mark.parametrize("far", [1e-6, 3e-7, 0.07, 1 / 3, 0.3])
def test_the_number_of_impostors_it_takes_is_enough_and_not_too_many(far):
    with pytest.raises(UnresolvableFAR) as caught:
        allowed_false_accepts(far, 1)
    assert allowed_false_accepts(far, caught.value.needed) == 1
    with pytest.raises(UnresolvableFAR):
        allowed_false_accepts(far, caught.value.needed - 1)


def peers_tar(genuine, impostor, far):
    """The reading of InsightFace's eval_ijbc.py, in its own words."""
    fpr, tpr, _ = sklearn_roc_curve(
        np.repeat([1, 0], [len(genuine), len(impostor)]), np.r_[genuine, impostor]
    )
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    _, index = min(zip(abs(fpr - far), range(len(fpr)), strict=True))
    return tpr[index], fpr[index]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(genuine=tied_scores, impostor=tied_scores, far=fars)
def test_insightface_rule_is_the_peers_reading(genuine, impostor, far):
    point = tar_at_far(genuine, impostor, far, rule="insightface")
    assert (point.tar, point.far) == peers_tar(genuine, impostor, far)


def test_the_nearest_rule_may_exceed_the_far_where_the_conservative_does_not():
    genuine, impostor = [0.9, 0.45, 0.2], [0.5, 0.4, 0.3, 0.1]
    assert tar_at_far(genuine, impostor, 0.4, rule="nearest").far == 0.5
    assert tar_at_far(genuine, impostor, 0.4).far == 0.25


@pytest.mark.parametrize(
    ("genuine", "impostor", "message"),
    [
        ([], [0.1], "no genuine pairs"),
        ([0.1], [], "no impostor pairs"),
        ([0.1, np.nan], [0.1], "genuine score 1 of 2 is nan"),
        ([0.1], [0.1, 0.2, np.inf], "impostor score 2 of 3 is inf"),
        ([[0.1]], [0.1], "one-dimensional"),
        (["a"], [0.1], "real numbers"),
    ],
)
def test_scores_that_mean_nothing_are_refused(genuine, impostor, message):
    with pytest.raises(UserError, match=message):
        tar_at_far(genuine, impostor, 0.5)


@pytest.mark.parametrize("far", [0, -0.1, 1.1, np.nan])
def test_a_far_outside_its_range_is_refused(far):
    with pytest.raises(UserError, match="above 0 and at most 1"):
        tar_at_far([1.0], [0.0], far)


def test_an_unknown_rule_is_refused():
    with pytest.raises(UserError, match="allowed: conservative, nearest, insightface"):
        tar_at_far([1.0], [0.0], 0.5, rule="best")
