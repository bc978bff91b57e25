"""Nearest centres, and the sampler that prefers them as negatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from frcore.samplers import build_sampler, neighbours
from frcore.samplers.neighbours import nearest_centers
from tests.samplers.tables import table


def centers(count=60, dim=5, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("tile_entries", [1, 130, 1 << 20])
def test_agrees_with_scikit_learn(tile_entries, monkeypatch):
    monkeypatch.setattr(neighbours, "TILE_ENTRIES", tile_entries)
    table_CD = centers()
    index, cosine = nearest_centers(table_CD, 4)
    search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(table_CD.numpy())
    distance, expected = search.kneighbors(table_CD.numpy())
    assert np.array_equal(index.numpy(), expected[:, 1:])  # [0] is the centre itself
    assert np.allclose(cosine.numpy(), 1 - distance[:, 1:], atol=1e-5)


def test_two_centres_in_one_place_are_each_others_neighbour():
    table_CD = centers(5)
    table_CD[3] = table_CD[1]
    index, _ = nearest_centers(table_CD, 1)
    assert (index[1].item(), index[3].item()) == (3, 1)


def attached(**parameters):
    sampler = build_sampler("partial_fc", rate=0.2, negatives="hard", **parameters)
    sampler.attach(60, 5, seed=0)
    return sampler


def test_neighbours_come_before_chance():
    """12 columns: 2 positives, their 3 neighbours each, and what is left is drawn."""
    table_CD = centers()
    index, _ = nearest_centers(table_CD, 3)
    sampler = attached(neighbours=3)
    labels = torch.tensor([7, 31, 7])
    near = set(index[[7, 31]].flatten().tolist())
    draws = [set(sampler.columns(labels, table(table_CD)).tolist()) for _ in range(20)]
    assert all({7, 31} | near <= draw and len(draw) == 12 for draw in draws)
    assert len(set().union(*draws)) > 40


def test_too_many_neighbours_are_taken_nearest_first():
    table_CD = centers()
    sampler = attached(neighbours=40)
    found = set(sampler.columns(torch.tensor([7]), table(table_CD)).tolist())
    index, _ = nearest_centers(table_CD, 11)
    assert found == {7} | set(index[7].tolist())


def test_the_search_is_repeated_every_refresh_steps():
    sampler = attached(neighbours=11, refresh=3)
    first, second = centers(seed=0), centers(seed=1)
    label = torch.tensor([7])
    found = [
        set(sampler.columns(label, table(now)).tolist())
        for now in (first, second, second, second, first)
    ]
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4] == {7} | set(nearest_centers(second, 11)[0][7].tolist())
