"""Scores of lists of pairs and of all pairs, against one dot product at a time."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from frcore.errors import UserError
from frcore.evaluation.metrics import UnresolvableFAR, tar_at_fars
from frcore.evaluation.scoring import all_pairs_tar, score_rows
from frcore.evaluation.templates import normalise


def dense_list(rng):
    """Gallery × probes, as in IJB: one product per tile pays."""
    a, b = np.divmod(np.arange(12 * 40), 40)
    kept = rng.random(a.size) < 0.4
    return a[kept], 12 + b[kept]


def sparse_list(rng):
    return rng.integers(0, 60, (2, 45))


@pytest.mark.parametrize("kind", [dense_list, sparse_list])
def test_scores_are_dot_products_whatever_the_tiles_and_the_order(kind, rng):
    vectors = normalise(rng.normal(size=(60, 37)))
    a, b = kind(rng)
    order = rng.permutation(a.size)
    expected = [
        float(np.dot(vectors[i].astype(float), vectors[j])) for i, j in zip(a, b, strict=True)
    ]
    expected = np.array(expected, np.float32)
    for tile, chunk in itertools.product([(1, 1), (5, 7), (64, 64), (512, 8192)], [1, 1000]):
        for dtype in (np.int32, np.int64):
            sides = a.astype(dtype), b.astype(dtype)
            # Equal to the last bit, since it is summed in float64 and then rounded to float32:
            # another order of the sum would have to fall on the other side of a rounding limit.
            scores = score_rows(vectors, *sides, tile=tile, chunk=chunk)
            np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(score_rows(vectors, a[order], b[order]), expected[order])
    np.testing.assert_array_equal(score_rows(vectors, b, a), expected)


def test_a_list_without_pairs_has_no_scores():
    assert score_rows(np.eye(3), [], np.empty(0, np.int32)).shape == (0,)


def test_a_row_that_does_not_exist_is_refused():
    for bad in (3, -1):
        with pytest.raises(UserError, match=f"pair 1 has a = {bad}"):
            score_rows(np.eye(3, dtype=np.float32), [0, bad], [1, 1])
    with pytest.raises(UserError, match="lists of equal length"):
        score_rows(np.eye(3, dtype=np.float32), [0, 1], [1])


@pytest.mark.parametrize("tile", [(1, 1), (7, 3), (16, 64), (1024, 4096)])
def test_all_pairs_are_judged_as_their_list_would_be(tile, rng):
    # Few values, so that scores tie at every threshold.
    vectors = normalise(rng.integers(-1, 2, (70, 4)) + 0.5)
    names = np.array([f"person {code}" for code in rng.integers(0, 20, 70)])
    a, b = np.array(list(itertools.combinations(range(70), 2))).T
    scores, same = score_rows(vectors, a, b), names[a] == names[b]
    fars = [1e-3, 1e-2, 0.1, 0.5, 1.0]
    expected = tar_at_fars(scores[same], scores[~same], fars)
    assert all_pairs_tar(vectors, names, fars, tile=tile) == expected


def test_only_the_highest_are_kept_and_nothing_is_lost(rng, monkeypatch):
    """Many times as many impostors as are held: the bar rises and the points stay exact."""
    from frcore.evaluation import scoring

    monkeypatch.setattr(scoring, "SPARE", 0)
    vectors = normalise(rng.normal(size=(200, 8)))
    person = rng.integers(0, 50, 200)
    a, b = np.triu_indices(200, 1)
    scores, same = score_rows(vectors, a, b), person[a] == person[b]
    expected = tar_at_fars(scores[same], scores[~same], [1e-3, 1e-2])
    assert all_pairs_tar(vectors, person, [1e-3, 1e-2], tile=(16, 16)) == expected


def test_what_has_no_tar_is_refused():
    eye = np.eye(3)
    with pytest.raises(UserError, match="no genuine pair"):
        all_pairs_tar(eye, [0, 1, 2], [0.5])
    with pytest.raises(UserError, match="no impostor pair"):
        all_pairs_tar(eye, [0, 0, 0], [0.5])
    with pytest.raises(UserError, match="one identity each"):
        all_pairs_tar(eye, [0, 0], [0.5])
    with pytest.raises(UnresolvableFAR):
        all_pairs_tar(eye, [0, 0, 1], [0.1])
    assert all_pairs_tar(eye, [0, 0, 1], []) == []


IN_A_FRESH_PROCESS = """
import json, sys, time
import numpy as np
from frcore.evaluation.scoring import all_pairs_tar
from frcore.evaluation.templates import normalise
from frcore.measurement.process import peak_rss_bytes
start = time.process_time()
vectors = normalise(np.load(sys.argv[1], mmap_mode="r"))
with open(sys.argv[2]) as file:
    people = [line.partition("/")[0] for line in file]
points = all_pairs_tar(vectors, people, [1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
print(json.dumps({
    "points": [vars(point) for point in points],
    "cpu_s": time.process_time() - start,
    "peak_mib": peak_rss_bytes() / 2**20,
}))
"""


@pytest.mark.slow
def test_published_figures_over_all_pairs_of_lfw(shared_data):
    """87 million impostor pairs of stored embeddings, against the figures that came with them."""
    folder = shared_data / "lfw" / "embeddings"
    files = folder / "mobilefacenet_foamliu_flipsum_f16.npy", folder / "names.txt"
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, *map(str, files)],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    points = found["points"]
    assert {(point["genuine"], point["impostors"]) for point in points} == {(242_257, 87_307_271)}
    assert [round(point["tar"], 4) for point in points] == [0.9982, 0.9968, 0.9917, 0.9752, 0.7945]
    # No scores tie at these thresholds, so exactly as many impostors as are allowed are accepted.
    assert [point["false_accepts"] for point in points] == [873_072, 87_307, 8_730, 873, 87]
    assert found["cpu_s"] < 60
    assert found["peak_mib"] < 600
