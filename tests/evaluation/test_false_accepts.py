"""Numbers that rest on few false accepts, on one kind of pair, or on next to no failures."""

from __future__ import annotations

import re

import numpy as np
import pytest

from frcore.errors import UserError
from frcore.evaluation.false_accepts import (
    MIN_FALSE_ACCEPTS,
    fars_of_pairs,
    lowest_far,
    why_no_interval,
)
from frcore.evaluation.identification import FoundProbes, Searches
from frcore.evaluation.insightface import insightface_rows
from frcore.evaluation.intervals.uncertainty import (
    Accuracy,
    TarAt,
    interval_of_mean,
    paired_difference,
)
from frcore.evaluation.judge import accuracy_rows, all_search_rows, tar_rows
from frcore.evaluation.metrics import allowed_false_accepts, tar_at_far
from frcore.evaluation.protocol import ScoredPairs

FARS = [1e-1, 1e-2, 1e-3]


def scored(rng, people=120, genuine=5, impostors=1200, *, split=False, tested=True):
    own = np.repeat(np.arange(people), genuine)
    one = rng.integers(0, people, impostors)
    other = (one + rng.integers(1, people, impostors)) % people
    a, b = np.r_[own, one], np.r_[own, other]
    order = rng.permutation(a.size)
    a, b = a[order], b[order]
    nobody = np.zeros(a.size, bool)
    return ScoredPairs(
        scores=rng.normal(2.0 * (a == b)).astype(np.float32), same=a == b,
        fold=np.arange(a.size) % 10, tested=np.full(a.size, tested), identity_a=a, identity_b=b,
        seen_a=nobody, seen_b=nobody,
    )  # fmt: skip


@pytest.mark.parametrize("impostors", [40, 999, 1000, 1200, 9_999, 10_000, 123_456])
@pytest.mark.parametrize("far", [*FARS, 0.29])
def test_ten_false_accepts_is_where_intervals_begin(far, impostors):
    try:
        enough = allowed_false_accepts(far, impostors) >= MIN_FALSE_ACCEPTS
    except UserError:
        enough = False
    assert (why_no_interval(far, impostors) == "") == enough
    assert (lowest_far(impostors, [far]) == far) == enough


@pytest.mark.parametrize(
    ("impostors", "fars"),
    [
        (0, [1e-2]), (40, [1e-2]), (100, [1e-1, 1e-2]), (1000, [1e-2, 1e-3]), (3000, [1e-2, 1e-3]),
        (99_999, [1e-2, 1e-3]), (100_000, [1e-2, 1e-3, 1e-4]),
    ],
)  # fmt: skip
def test_the_fars_of_a_pair_benchmark_follow_from_its_impostors(impostors, fars):
    assert fars_of_pairs(impostors, (1e-2, 1e-3)) == fars


def test_a_row_of_few_false_accepts_has_a_value_and_no_interval(rng):
    pairs = scored(rng)
    few, enough = tar_rows(pairs, "all", [1e-3, 1e-2])
    expected = tar_at_far(pairs.scores[pairs.same], pairs.scores[~pairs.same], 1e-3)
    assert (few["value"], few["false_accepts"]) == (expected.tar, 1)
    assert [few[name] for name in ("low", "high", "level", "method", "se_test")] == [None] * 5
    assert few["note"] == (
        "no interval: FAR 0.001 allows 1 false accept of 1,200 impostor pairs, too few for an "
        "interval (at least 10)"
    )
    assert enough["low"] < enough["value"] < enough["high"]
    assert enough["note"] is None


def test_no_function_gives_an_interval_on_few_false_accepts(rng):
    pairs = scored(rng)
    given = (pairs.same, pairs.identity_a, pairs.identity_b)
    for far, refused in ((9 / 1200, True), (10 / 1200, False)):
        for ask in (interval_of_mean, paired_difference):
            scores = [pairs.scores] * (1 + (ask is paired_difference))
            if refused:
                with pytest.raises(UserError, match="allows 9 false accepts"):
                    ask(*scores, *given, metric=TarAt(far))
            else:
                ask(*scores, *given, metric=TarAt(far))


def no_pairs(rng):
    return scored(rng, genuine=0, impostors=0)


ONE_SIDED = {
    "genuine": (lambda rng: scored(rng, impostors=0), "no impostor pairs"),
    "impostor": (lambda rng: scored(rng, genuine=0), "no genuine pairs"),
    "none": (no_pairs, "no (impostor )?pairs"),
    "none tested": (lambda rng: scored(rng, tested=False), "no (impostor )?pairs"),
}


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_pairs_of_one_kind_give_rows_without_a_value_that_say_why(kind, rng):
    make, reason = ONE_SIDED[kind]
    pairs = make(rng)
    rows = accuracy_rows(pairs, "all").rows + tar_rows(pairs, "all", FARS)
    rows += insightface_rows(pairs)
    assert [row["metric"] for row in rows][:4] == ["accuracy", "tar", "tar", "tar"]
    for row in rows:
        assert (row["value"], row["low"], row["high"]) == (None, None, None)
        assert re.match(reason, row["note"]), row["note"]


def searches(rng, mated):
    person, other = np.arange(mated.size) // 2, rng.normal(0, 0.1, mated.size)
    mate = np.where(mated, rng.normal(0.5, 0.1, mated.size), -2)
    rank = np.where(mated, 1 + (other > mate), 0)
    return Searches(
        person, mated, mate.astype(np.float32), other.astype(np.float32), rank.astype(np.int32)
    )


@pytest.mark.parametrize(
    ("mated", "reasons"), [(True, (None, "none")), (False, ("no probe", "none"))]
)
def test_searches_of_one_kind_and_people_all_seen(mated, reasons, rng):
    found = FoundProbes({1: searches(rng, np.full(200, mated))}, np.ones(200, bool))
    rows = all_search_rows(found)
    assert [row["subset"] for row in rows] == ["all"] * 4 + ["unseen"] * 4
    for row in rows[:4]:
        reason = reasons[row["metric"] == "tpir"]
        assert (row["value"] is None) == (reason is not None)
        assert reason is None or reason in row["note"]
    assert all(row["value"] is None and row["note"] for row in rows[4:])


def test_tpir_of_few_false_positives_has_no_interval(rng):
    mated = np.arange(1600) % 2 == 0
    rows = all_search_rows(FoundProbes({1: searches(rng, mated)}, np.zeros(1600, bool)))
    low, high = (row for row in rows if row["metric"] == "tpir")
    assert (low["fpir"], high["fpir"]) == (0.01, 0.1)
    assert low["value"] is not None
    assert low["low"] is None
    assert "FPIR 0.01 allows 8 false accepts of 800 non-mated searches" in low["note"]
    assert high["low"] < high["high"]


def test_an_interval_near_100_percent_has_a_width(rng):
    """All genuine pairs are accepted, though other draws of people move the threshold a little."""
    pairs = scored(rng, people=20, genuine=2, impostors=400)
    given = (pairs.same, pairs.identity_a, pairs.identity_b)
    scores = np.where(pairs.same, 8.0, 0.0) + rng.normal(0, 1, pairs.same.size)
    lowest = np.flatnonzero(pairs.same)[np.argmin(scores[pairs.same])]
    barred = np.sort(scores[~pairs.same])[-11]
    scores[lowest] = barred + 1e-3
    estimate = interval_of_mean(scores, *given, metric=TarAt(10 / 400))
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.se_test > 0
    # Twenty people, none of whom failed, do not rule out a rate of failures of 16 % (Wilson).
    assert estimate.low == pytest.approx(1 / (1 + 1.96**2 / 20), abs=1e-3)


def test_a_single_failure_does_not_make_an_interval_narrower_than_none(rng):
    pairs = scored(rng, people=40, genuine=1, impostors=400)
    given = (pairs.same, pairs.identity_a, pairs.identity_b)
    right = np.where(pairs.same, 1.0, -1.0)
    wrong = right.copy()
    wrong[np.flatnonzero(pairs.same)[0]] = -1.0
    lows = [
        interval_of_mean(scores, *given, metric=Accuracy(None, 0.0)).low
        for scores in (right, wrong)
    ]
    assert lows[1] <= lows[0] + 0.08
    assert lows[1] < 1 - 1 / pairs.same.size
