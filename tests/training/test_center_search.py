"""The tiled search against all pairs in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from frcore.training import center_search
from frcore.training.center_search import search_centers

THRESHOLDS = (-0.5, 0.0, 0.3, 0.9)
EDGES = tuple(np.linspace(-1, 1, 21))


def brute_force(center_CD: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angles (C, C) in degrees, pair by pair; NaN on the diagonal."""
    count = len(center_CD)
    angle_CC = np.full((count, count), np.nan)
    for i, j in itertools.permutations(range(count), 2):
        a, b = center_CD[i], center_CD[j]
        cosine = a @ b / np.sqrt((a @ a) * (b @ b))
        angle_CC[i, j] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angle_CC


@pytest.mark.parametrize("tile_rows", [1, 7, 40, 1000])
def test_search_is_the_brute_force(tile_rows: int, monkeypatch: pytest.MonkeyPatch):
    count = 41
    monkeypatch.setattr(center_search, "TILE_ENTRIES", tile_rows * count)
    rng = np.random.default_rng(0)
    center_CD = rng.normal(size=(count, 3)).astype(np.float32) * rng.uniform(0.01, 9, (count, 1))
    person_C = rng.integers(0, 15, count)
    found = search_centers(
        torch.tensor(center_CD, dtype=torch.float32),
        thresholds=THRESHOLDS,
        edges=EDGES,
        person_C=torch.from_numpy(person_C),
    )
    angle_CC = brute_force(center_CD.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(found.nearest_C, np.nanmin(angle_CC, 1), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.mean_angle, np.nanmean(angle_CC), rtol=1e-6)
    for k, threshold in enumerate(THRESHOLDS):
        above = np.triu(np.cos(np.radians(angle_CC)) > threshold, 1)
        same = above & (person_C[:, None] == person_C[None])
        assert found.pairs[k] == above.sum()
        assert found.same_person is not None
        assert found.same_person[k] == same.sum()
    assert found.pairs[1] > found.same_person[1] > 0, "the case must tell the two apart"
    upper = np.triu_indices(count, 1)
    cosines = np.cos(np.radians(angle_CC))[upper]
    of_one = (person_C[:, None] == person_C[None])[upper]
    assert found.histogram == tuple(np.histogram(cosines, EDGES)[0])
    assert found.same_histogram == tuple(np.histogram(cosines[of_one], EDGES)[0])
    assert sum(found.histogram) == count * (count - 1) // 2


def test_small_angles_keep_their_digits():
    # arccos of a float32 cosine makes 0.005° to 0.
    angle = np.radians(0.005)
    center_CD = torch.tensor([[1.0, 0.0], [np.cos(angle), np.sin(angle)], [-1.0, 0.0]])
    found = search_centers(center_CD)
    np.testing.assert_allclose(found.nearest_C[:2], 0.005, rtol=1e-3)
    np.testing.assert_allclose(found.nearest_C[2], 180 - 0.005, rtol=1e-6)


def test_lone_zero_and_no_thresholds():
    lone = search_centers(torch.randn(1, 3))
    assert lone.nearest_C.isnan().all()
    assert np.isnan(lone.mean_angle)
    dead = search_centers(torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(dead.nearest_C, [90, 0, 0], atol=1e-9)
    np.testing.assert_allclose(dead.mean_angle, 60)
    assert (dead.pairs, dead.same_person) == ((), None)


def test_cosines_of_one_and_a_bit_are_in_the_last_bin():
    center_CD = torch.nn.functional.normalize(torch.full((40, 7), 0.3), dim=1)
    center_CD[0] *= -1
    found = search_centers(center_CD, edges=(-1.0, 0.0, 1.0))
    assert found.histogram == (39, 39 * 38 // 2)
