import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcore.data.synthetic.pairing import (
    draw_genuine,
    draw_impostor,
    possible_genuine,
    possible_impostor,
    unrank_pair,
)


@pytest.mark.parametrize("count", [2, 3, 7, 40])
def test_unranking_lists_all_pairs_in_order(count):
    listed = list(itertools.combinations(range(count), 2))
    first, second = unrank_pair(np.arange(len(listed)), count)
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == listed


@given(st.integers(2, 3_000_000), st.data())
def test_unranking_is_exact_for_large_counts(count, data):
    rank = data.draw(st.integers(0, count * (count - 1) // 2 - 1))
    first, second = (int(part) for part in unrank_pair(np.array(rank), count))
    assert 0 <= first < second < count
    # Python integers: the pairs that begin with fewer than `first`, then the place among its own.
    assert first * (2 * count - first - 1) // 2 + (second - first - 1) == rank


@pytest.mark.parametrize(("groups", "members"), [(2, 2), (5, 3), (4, 1)])
def test_drawing_everything_gives_every_pair_once(groups, members):
    items = range(groups * members)
    every = list(itertools.combinations(items, 2))
    for possible, draw, wanted in (
        (possible_genuine, draw_genuine, [p for p in every if p[0] // members == p[1] // members]),
        (
            possible_impostor,
            draw_impostor,
            [p for p in every if p[0] // members != p[1] // members],
        ),
    ):
        assert possible(groups, members) == len(wanted)
        if wanted:
            a, b = draw(np.random.default_rng(0), groups, members, len(wanted))
            assert sorted(zip(a.tolist(), b.tolist(), strict=True)) == wanted
