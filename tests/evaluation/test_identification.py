"""1:N search against double loops, scikit-learn, and InsightFace's reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from frcore.errors import UserError
from frcore.evaluation.identification import (
    Searches,
    cmc,
    rank_share,
    search,
    tpir_at_fpir,
)
from frcore.evaluation.inputs import UnresolvableFAR
from frcore.evaluation.intervals.uncertainty import RankShare, TpirAt, intervals_of_searches
from frcore.evaluation.templates import normalise


@pytest.fixture
def problem(rng):
    """30 people, 20 enrolled (some twice), 200 probes of all; noise, so that many are not first."""
    centre = rng.normal(size=(30, 16))
    enrolled = np.r_[np.arange(20), 3, 3, 7]
    probe = rng.integers(0, 30, 200)
    gallery = normalise(centre[enrolled] + rng.normal(size=(enrolled.size, 16)))
    return gallery, enrolled, normalise(centre[probe] + rng.normal(size=(200, 16))), probe


def slow_search(gallery, enrolled, probes, probe_person):
    """One probe and one candidate at a time, in double precision."""
    found = []
    for vector, person in zip(probes.astype(float), probe_person, strict=True):
        best = {}
        for template, owner in zip(gallery.astype(float), enrolled, strict=True):
            score = np.float32(template @ vector)
            best[owner] = max(score, best.get(owner, -9.0))
        others = [score for owner, score in best.items() if owner != person]
        mate = best.get(person)
        rank = 0 if mate is None else 1 + sum(score >= mate for score in others)
        found.append((mate, max(others), rank))
    return found


def slow_tpir(found, fpir):
    """The best TPIR over every threshold at which the FPIR is not above the one asked for."""
    mated = [(mate, rank) for mate, _, rank in found if mate is not None]
    non_mated = [other for mate, other, _ in found if mate is None]
    best = 0.0
    for threshold in [*(mate for mate, _ in mated), *non_mated]:
        if sum(score >= threshold for score in non_mated) / len(non_mated) <= fpir:
            hits = sum(rank == 1 and mate >= threshold for mate, rank in mated)
            best = max(best, hits / len(mated))
    return best


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_searches_are_those_of_a_double_loop(problem, block):
    found = search(*problem, block=block)
    slow = slow_search(*problem)
    assert found.mated.tolist() == [mate is not None for mate, _, _ in slow]
    assert found.rank.tolist() == [rank for _, _, rank in slow]
    np.testing.assert_array_equal(found.other, [other for _, other, _ in slow])
    np.testing.assert_array_equal(
        found.mate[found.mated], [mate for mate, _, _ in slow if mate is not None]
    )
    curve = cmc(found, 20)
    mated = [rank for _, _, rank in slow if rank]
    assert curve.tolist() == [np.mean([rank <= k for rank in mated]) for k in range(1, 21)]
    assert 0.3 < curve[0] < curve[4] < 1 == curve[-1]
    for fpir in (0.02, 0.1, 0.3):
        point = tpir_at_fpir(found, fpir)
        assert point.tar == slow_tpir(slow, fpir)
        assert point.far <= fpir


def test_rank_is_scikit_learns_top_k_accuracy(problem):
    gallery, enrolled = problem[0][:20], problem[1][:20]
    mated = problem[3] < 20
    probes, person = problem[2][mated], problem[3][mated]
    found = search(gallery, enrolled, probes, person)
    for k in (1, 2, 5):
        expected = top_k_accuracy_score(person, probes @ gallery.T, k=k, labels=np.arange(20))
        assert rank_share(found, k) == pytest.approx(expected)


def insightface_reading(gallery, enrolled, probes, person, fpir):
    """The rule of `ijb_evals.evaluation_1N`, in other words: rank one, strictly above a non-mated
    score."""
    scores = probes @ gallery.T
    mated = np.isin(person, enrolled)
    own = person[:, None] == enrolled
    mate = np.where(own, scores, -9).max(axis=1)
    rival = np.where(own, -9, scores).max(axis=1)
    non_mated = np.sort(scores[~mated].max(axis=1))[::-1]
    threshold = non_mated[max(int(non_mated.size * fpir) - 1, 0)]
    return np.mean((mate > rival)[mated] & (mate > threshold)[mated])


def test_insightface_reads_it_one_search_lower(problem):
    """Its threshold is the k-th non-mated score and strictly exceeded, so k − 1 of k are used."""
    gallery, enrolled = problem[0][:20], problem[1][:20]
    given = gallery, enrolled, *problem[2:]
    found = search(*given)
    count = int((~found.mated).sum())
    for k in (2, 5, 12):
        theirs = insightface_reading(*given, (k + 0.5) / count)
        assert tpir_at_fpir(found, (k - 1 + 0.5) / count).tar == theirs


few = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.booleans()), min_size=1,
               max_size=25)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(few, st.sampled_from([0.05, 0.2, 1 / 3, 0.5, 0.9]))
def test_ties_are_judged_as_by_every_threshold(cells, fpir):
    mate, other, mated = (np.array(column) for column in zip(*cells, strict=True))
    mate, other = (mate / 4).astype(np.float32), (other / 4).astype(np.float32)
    rank = np.where(mated, 1 + (other >= mate), 0)
    found = Searches(np.arange(mated.size), mated, mate, other, rank)
    if mated.all() or not mated.any() or fpir * (~mated).sum() < 1:
        with pytest.raises(UserError):
            tpir_at_fpir(found, fpir)
        return
    slow = [(m if is_mated else None, o, r)
            for m, o, is_mated, r in zip(mate, other, mated, rank, strict=True)]  # fmt: skip
    assert tpir_at_fpir(found, fpir).tar == slow_tpir(slow, fpir)


def test_a_tie_counts_against_the_mate():
    gallery = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = search(gallery, [1, 2, 3], np.array([[1.0, 0.0]]), [1])
    assert found.rank.tolist() == [2]
    assert rank_share(found, 1) == 0


def test_what_cannot_be_searched_is_refused(problem):
    gallery, enrolled, probes, person = problem
    with pytest.raises(UserError, match="at least two"):
        search(gallery[:1], enrolled[:1], probes, person)
    with pytest.raises(UserError, match="one person each"):
        search(gallery, enrolled[1:], probes, person)
    found = search(*problem)
    with pytest.raises(UserError, match="no search is mated"):
        rank_share(found.take(~found.mated), 1)
    with pytest.raises(UserError, match="non-mated"):
        tpir_at_fpir(found.take(found.mated), 0.1)
    with pytest.raises(UserError, match="the first candidate has rank 1"):
        rank_share(found, 0)
    with pytest.raises(UserError, match="between 0 and 1"):
        tpir_at_fpir(found, 1.0)
    with pytest.raises(UnresolvableFAR, match="at least 1,000 non-mated searches: choose"):
        tpir_at_fpir(found, 1e-3)


def two_galleries(rng, people, spread=0.6):
    """Half of the people in each gallery, four probes of each person; as scores, not vectors."""
    probe = np.repeat(np.arange(people), 4)
    ease = rng.normal(0, spread, people)
    galleries = []
    for side in (0, 1):
        mated = probe % 2 == side
        mate = (1.5 + ease[probe] + rng.normal(0, 1, probe.size)).astype(np.float32)
        other = (0.3 * ease[probe] + rng.normal(0, 0.5, probe.size)).astype(np.float32)
        rank = np.where(mated, np.where(mate > other, 1, 2), 0)
        galleries.append(Searches(probe, mated, mate, other, rank))
    return galleries


def test_an_interval_holds_its_value_and_differences_share_people(rng):
    one, other = two_galleries(rng, 60), two_galleries(rng, 60)
    runs = {"a": one, "b": one, "c": other}
    shared = intervals_of_searches(runs, metrics=dict.fromkeys(runs, TpirAt(0.1)))
    for run in runs:
        estimate = shared.mean([run])
        assert estimate.low < estimate.value < estimate.high
        assert estimate.value == np.mean([tpir_at_fpir(g, 0.1).tar for g in runs[run]])
        assert (estimate.people, estimate.pairs) == (60, 480)
    assert shared.difference(["a"], ["b"]).se_test == 0
    assert shared.difference(["a"], ["c"]).se_test > 0
    with pytest.raises(UserError, match="different searches"):
        intervals_of_searches({"a": one, "b": one[:1]}, metrics=dict.fromkeys("ab", RankShare(1)))
    few = [g.take(g.person < 9) for g in one]
    with pytest.raises(UserError, match="too few"):
        intervals_of_searches({"a": few}, metrics={"a": RankShare(1)})


@pytest.mark.slow
@pytest.mark.parametrize("metric", [RankShare(1), TpirAt(0.2)])
def test_coverage_is_near_nominal_and_searches_as_if_independent_are_too_sure(metric, rng):
    truth = np.mean([metric.value(g) for g in two_galleries(rng, 200_000)])
    held, ratios = 0, []
    for simulation in range(250):
        galleries = two_galleries(rng, 60)
        runs = {"run": galleries}
        estimate = intervals_of_searches(runs, metrics={"run": metric}).mean(["run"])
        held += not estimate.excludes(truth)
        if simulation < 60:
            values = []
            for _ in range(200):
                rows = rng.integers(0, 240, 240)
                values.append(np.mean([metric.value(g.take(rows)) for g in galleries]))
            ratios.append(np.std(values) / estimate.se_test)
    # Three standard errors of the count are 0.041.
    assert 0.905 <= held / 250 <= 0.99
    # Drawn one by one, searches of one person count as independent: 0.93 ± 0.012 here.
    assert np.mean(ratios) < 0.98
