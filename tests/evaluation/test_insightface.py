"""InsightFace's rules against a slow restatement of its `evaluate`, and against known figures."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy.interpolate import interp1d
from sklearn.model_selection import KFold

import frcore.evaluation.insightface
from frcore.data.verification.lfw_lists import read_pairs
from frcore.errors import UserError
from frcore.evaluation.insightface import (
    insightface_accuracy,
    insightface_rows,
    insightface_val,
)
from frcore.evaluation.judge import accuracy_rows
from frcore.evaluation.protocol import ScoredPairs


def embeddings(rng, people=60, noise=0.8, pairs=300):
    """Unit embeddings of both sides of `pairs` pairs, half of them genuine."""
    centres = rng.normal(size=(people, 16))
    same = rng.permutation(np.arange(pairs) % 2 == 0)
    who = rng.integers(people, size=pairs)
    other = np.where(same, who, (who + rng.integers(1, people, size=pairs)) % people)
    sides = [centres[w] + noise * rng.normal(size=(pairs, 16)) for w in (who, other)]
    return [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides], same


def slow_accuracy(one, two, same, folds=10):
    """calculate_roc, pair by pair and threshold by threshold."""
    distance = [sum((one[i] - two[i]) ** 2) for i in range(len(same))]
    accuracies = []
    for train, test in KFold(n_splits=folds, shuffle=False).split(np.arange(len(same))):
        best, best_threshold = -1.0, None
        for threshold in np.arange(0, 4, 0.01):
            right = sum((distance[i] < threshold) == same[i] for i in train) / len(train)
            if right > best:
                best, best_threshold = right, threshold
        right = sum((distance[i] < best_threshold) == same[i] for i in test)
        accuracies.append(right / len(test))
    return np.mean(accuracies), np.std(accuracies), accuracies


def slow_val(one, two, same, target, folds=10):
    """calculate_val, with the interpolation by hand."""
    distance = np.sum(np.square(one - two), axis=1)
    grid = np.arange(0, 4, 0.001)
    vals, fars, thresholds = [], [], []
    for train, test in KFold(n_splits=folds, shuffle=False).split(np.arange(len(same))):
        impostors = distance[train][~same[train]]
        rates = [np.sum(impostors < threshold) / len(impostors) for threshold in grid]
        if max(rates) >= target:
            below = max(i for i, rate in enumerate(rates) if rate <= target)
            share = (target - rates[below]) / (rates[below + 1] - rates[below])
            threshold = grid[below] + share * (grid[below + 1] - grid[below])
        else:
            threshold = 0.0
        accepted = distance[test] < threshold
        vals.append(np.sum(accepted & same[test]) / np.sum(same[test]))
        fars.append(np.sum(accepted & ~same[test]) / np.sum(~same[test]))
        thresholds.append(threshold)
    return np.mean(vals), np.std(vals), np.mean(fars), thresholds


def test_docstrings():
    assert doctest.testmod(frcore.evaluation.insightface).failed == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_theirs(seed):
    (one, two), same = embeddings(np.random.default_rng(seed), pairs=120)
    mean, std, folds = slow_accuracy(one, two, same)
    found = insightface_accuracy((one * two).sum(1), same)
    assert found.folds.tolist() == pytest.approx(folds)
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(std))
    assert 0.6 < mean < 1


@pytest.mark.slow
@pytest.mark.parametrize("target", [1e-3, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_val_is_theirs(seed, target):
    (one, two), same = embeddings(np.random.default_rng(seed), pairs=2000)
    mean, std, far, thresholds = slow_val(one, two, same, target)
    found = insightface_val((one * two).sum(1), same, far=target)
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(std))
    assert found.far == pytest.approx(far)
    np.testing.assert_allclose(2 - 2 * found.thresholds, thresholds, atol=1e-9)
    assert mean > 0


def test_their_interpolation_does_not_run():
    """On any set with fewer impostor pairs than thresholds FARs repeat; scipy refuses that."""
    (one, two), same = embeddings(np.random.default_rng(0), pairs=2000)
    impostors = np.sum(np.square(one - two), axis=1)[~same]
    grid = np.arange(0, 4, 0.001)
    rates = np.searchsorted(np.sort(impostors), grid, side="left") / impostors.size
    with pytest.raises(ValueError, match="duplicates"):
        interp1d(rates, grid, kind="slinear")
    # Its plain linear kind has the same meaning between two different rates, and runs.
    ours = frcore.evaluation.insightface._crossing(impostors, 0.0123)
    assert ours == pytest.approx(float(interp1d(rates, grid, kind="linear")(0.0123)))


def test_a_far_that_is_never_reached_accepts_nobody():
    scores = np.where(np.arange(40) % 2 == 0, 0.9, -1.0)
    found = insightface_val(scores, np.arange(40) % 2 == 0, far=1e-3)
    # The impostors' distance is 4, which no threshold of the grid is above.
    assert (found.mean, found.far) == (0.0, 0.0)


def test_folds_of_one_kind_are_refused():
    same = np.arange(20) < 10
    with pytest.raises(UserError, match="in fold 0 all pairs are of one kind"):
        insightface_val(np.linspace(1, -1, 20), same, folds=2)


@pytest.mark.parametrize("metric", [insightface_accuracy, insightface_val])
def test_ids_of_folds_are_as_good_as_blocks(metric):
    (one, two), same = embeddings(np.random.default_rng(1), pairs=200)
    scores = (one * two).sum(1)
    order = np.random.default_rng(2).permutation(200)
    fold = np.repeat(np.arange(10), 20)
    assert metric(scores[order], same[order], fold[order]).mean == pytest.approx(
        metric(scores, same).mean
    )


def lfw_sides(shared_data):
    folder = shared_data / "lfw"
    names = (folder / "embeddings" / "names.txt").read_text().split()
    row = {name.rsplit("/", 1)[-1].removesuffix(".jpg"): i for i, name in enumerate(names)}
    stored = np.load(folder / "embeddings" / "mobilefacenet_foamliu_flipsum_f16.npy")
    unit = stored.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    pairs = read_pairs(folder / "protocol" / "pairs.txt")
    a = [row[f"{pair.a.identity}_{pair.a.number:04d}"] for pair in pairs]
    b = [row[f"{pair.b.identity}_{pair.b.number:04d}"] for pair in pairs]
    return unit[a], unit[b], np.array([pair.same for pair in pairs])


def test_lfw_as_measured_elsewhere(shared_data):
    """The fold accuracies and mean ± std in the README of the stored embeddings."""
    one, two, same = lfw_sides(shared_data)
    found = insightface_accuracy((one * two).sum(1), same)
    assert found.folds.round(4).tolist() == [
        0.9950, 0.9967, 0.9950, 0.9950, 0.9933, 0.9950, 0.9917, 0.9967, 1.0, 0.9967,
    ]  # fmt: skip
    assert (round(found.mean, 4), round(found.std, 4)) == (0.9955, 0.0021)


@pytest.mark.slow
def test_lfw_val(shared_data):
    one, two, same = lfw_sides(shared_data)
    found = insightface_val((one * two).sum(1), same)
    mean, std, far, _ = slow_val(one, two, same, 1e-3)
    assert (found.mean, found.std, found.far) == pytest.approx((mean, std, far))
    assert 0.98 < mean < 1


def scored(scores, same, fold, tested=None):
    codes = np.arange(2 * len(scores))
    return ScoredPairs(
        scores=np.asarray(scores, np.float32), same=same, fold=fold,
        tested=np.ones(len(scores), bool) if tested is None else tested,
        identity_a=codes[::2], identity_b=np.where(same, codes[::2], codes[1::2]),
        seen_a=np.zeros(len(scores), bool), seen_b=np.zeros(len(scores), bool),
    )  # fmt: skip


def test_rows():
    (one, two), same = embeddings(np.random.default_rng(0), pairs=400)
    scores, fold = (one * two).sum(1), np.repeat(np.arange(10), 40)
    accuracy, val = insightface_rows(scored(scores, same, fold))
    assert (accuracy["metric"], val["metric"]) == ("accuracy_insightface", "val_insightface")
    assert accuracy["value"] == pytest.approx(insightface_accuracy(scores, same).mean, abs=1e-6)
    assert val["far"] == 1e-3
    assert val["far_achieved"] is not None
    assert "±" in accuracy["note"]
    assert accuracy["low"] is None
    assert set(accuracy) == set(accuracy_rows(scored(scores, same, fold), "all").rows[0])


def test_no_rows_without_folds():
    (one, two), same = embeddings(np.random.default_rng(0), pairs=40)
    scores = (one * two).sum(1)
    assert insightface_rows(scored(scores, same, np.zeros(40, int))) == []
    half = np.arange(40) < 20
    assert insightface_rows(scored(scores, same, np.arange(40) % 4, half)) == []


def test_rows_that_cannot_be_had_say_why():
    same = np.arange(40) < 20
    rows = insightface_rows(scored(np.linspace(0.9, 0, 40), same, np.repeat([0, 1], 20)))
    assert [row["value"] for row in rows] == [None, None]
    assert all("of one kind" in row["note"] for row in rows)
