"""Weights that are drawn only where they are asked for, against all weights in one array."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from frcore.evaluation.intervals import bootstrap, draws, weighted
from frcore.evaluation.intervals.bootstrap import replicates_of
from frcore.evaluation.intervals.draws import ALL, NotDrawn, PairSet, draw_couples, draw_people
from frcore.evaluation.intervals.resampling import people_of_pairs
from frcore.evaluation.intervals.weighted import TarAt
from tests.evaluation.intervals.slow_bootstrap import ArrayWeights, all_weights

PEOPLE = 60


@pytest.fixture
def protocol(rng):
    """Couples of one to many pairs, in no order, and four genuine pairs of each person."""
    a, b = rng.integers(0, PEOPLE, (2, 6000))
    a[:240] = b[:240] = np.repeat(np.arange(PEOPLE), 4)
    keep = (a != b) | (np.arange(a.size) < 240)
    order = rng.permutation(np.flatnonzero(keep))
    a, b = a[order], b[order]
    person = rng.normal(0, 0.5, PEOPLE)
    scores = rng.normal(1.5 * (a == b) + person[a] * person[b], 0.7).round(2)
    return scores, a == b, a, b


def theory(people, sets):
    """Mean and covariance of Σ pairs · count over sets: C draws among C couples."""
    values = np.stack([one.of_couples(people) for one in sets]).astype(float)
    return values.sum(axis=1), np.cov(values, ddof=0) * people.couples


def test_sums_and_single_couples_have_the_joint_distribution_of_a_multinomial(
    protocol, rng, monkeypatch
):
    monkeypatch.setattr(draws, "FEW_COUPLES", 0)
    scores, same, a, b = protocol
    people = people_of_pairs(same, a, b)
    ranked = np.flatnonzero(~same)[np.argsort(-scores[~same], kind="stable")]
    above, alone = PairSet(ranked[:300]), ranked[300:340]
    found = list(draw_couples(people, 6000, rng, alone, [above]))
    assert found[0].drawn_SR.shape[0] == np.unique(people.couple[alone]).size < people.couples / 2
    weights = np.concatenate([one.impostor(alone) for one in found], axis=1)
    sums = [np.concatenate([one.impostor_sum(s) for one in found]) for s in (ALL, above)]
    sets = [ALL, above, *(PairSet(np.array([pair])) for pair in alone)]
    mean, covariance = theory(people, sets)
    measured = np.vstack([*sums, weights])
    errors = np.sqrt(np.diag(covariance) / 6000)
    assert (np.abs(measured.mean(axis=1) - mean) < 4.5 * errors).all()
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    # The error of a covariance of 6,000 draws is about 1.5 % of the spreads' product.
    assert np.abs((np.cov(measured) - covariance) / spread).max() < 0.09


def test_what_was_not_drawn_is_not_made_up(protocol, rng, monkeypatch):
    monkeypatch.setattr(draws, "FEW_COUPLES", 0)
    _, same, a, b = protocol
    people = people_of_pairs(same, a, b)
    impostor = np.flatnonzero(~same)
    weights = next(draw_couples(people, 100, rng, impostor[:5]))
    with pytest.raises(NotDrawn):
        weights.impostor(impostor)
    with pytest.raises(NotDrawn):
        weights.impostor_sum(PairSet(impostor[5:9]))
    with pytest.raises(NotDrawn):
        weights.impostor_sums(np.ones((1, same.size)))


def test_sums_over_sets_are_the_sums_of_their_weights(protocol, rng):
    _, same, a, b = protocol
    people = people_of_pairs(same, a, b)
    some = PairSet(np.flatnonzero(~same)[5:700:3])
    values = rng.random((2, same.size))
    drawn_couples = next(draw_couples(people, 40, rng, None, [some]))
    for one in (next(draw_people(people, 40, rng)), drawn_couples):
        slow = ArrayWeights(all_weights(people, [one]), same)
        for pairs in (ALL, some):
            np.testing.assert_array_equal(one.impostor_sum(pairs), slow.impostor_sum(pairs))
        np.testing.assert_allclose(one.genuine_sums(values), slow.genuine_sums(values))
        np.testing.assert_allclose(one.impostor_sums(values), slow.impostor_sums(values))


@pytest.mark.parametrize("far", [0.002, 0.01, 0.1, 0.5])
def test_a_window_gives_the_values_of_all_weights(protocol, rng, far):
    scores, same, a, b = protocol
    people = people_of_pairs(same, a, b)
    bound = TarAt(far).bind(scores, same)
    of_people, of_couples = bound.windows(people)
    assert of_couples.last - of_couples.first < of_people.last
    for window, drawn in (
        (of_people, list(draw_people(people, 300, rng))),
        (of_couples, list(draw_couples(people, 300, rng, None, [of_couples.above]))),
    ):
        slow = bound(ArrayWeights(all_weights(people, drawn), same))
        np.testing.assert_array_equal(np.concatenate([bound(w, window) for w in drawn]), slow)


def test_a_window_that_misses_the_threshold_changes_nothing(protocol, monkeypatch):
    """The search starts anew from the highest score, with all couples drawn if need be."""
    scores, same, a, b = protocol
    people = people_of_pairs(same, a, b)
    bound = {"run": TarAt(0.05).bind(scores, same)}
    right = replicates_of(bound, people, 200, 3)
    monkeypatch.setattr(weighted, "REACH", 0.0)
    monkeypatch.setattr(weighted, "MARGIN", 1)
    monkeypatch.setattr(draws, "FEW_COUPLES", 0)
    for one, other in zip(right, replicates_of(bound, people, 200, 3), strict=True):
        np.testing.assert_array_equal(one["run"], other["run"])


@pytest.mark.parametrize("far", [0.01, 0.1])
def test_replicates_are_distributed_as_those_of_all_couples(protocol, monkeypatch, far):
    scores, same, a, b = protocol
    people = people_of_pairs(same, a, b)
    bound = {"run": TarAt(far).bind(scores, same)}
    people_all, couples_all = replicates_of(bound, people, 4000, 0)
    monkeypatch.setattr(draws, "FEW_COUPLES", 0)
    monkeypatch.setattr(bootstrap, "_rng", lambda seed: np.random.default_rng([seed.entropy, 1]))
    people_some, couples_some = replicates_of(bound, people, 4000, 9)
    for one, other in ((people_all, people_some), (couples_all, couples_some)):
        assert stats.ks_2samp(one["run"], other["run"]).pvalue > 1e-3
        ratio = one["run"].std() / other["run"].std()
        assert ratio == pytest.approx(1, abs=0.07)
