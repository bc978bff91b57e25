from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frcore.errors import UserError
from frcore.evaluation.shared_people import People, Shared, names_list, shared_people

DIM = 32


def images(people: np.ndarray, count: int, noise: float, seed: int) -> np.ndarray:
    """Embeddings (P · count, D) around the directions of people, of any length."""
    rng = np.random.default_rng(seed)
    vectors = np.repeat(people, count, 0) + noise * rng.normal(size=(len(people) * count, DIM))
    return (vectors * rng.uniform(1, 9, (len(vectors), 1))).astype(np.float32)


def set_of(people: np.ndarray, names: list[str], count: int, noise=0.5, seed=0) -> People:
    return People.of(images(people, count, noise, seed), np.repeat(names, count))


def named(count: int, prefix: str) -> list[str]:
    return [f"{prefix}{number:04d}" for number in range(count)]


@pytest.fixture(scope="module")
def directions() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1400, DIM))


def test_people_are_means_of_unit_vectors():
    vectors = np.array([[3.0, 0], [0, 5], [0, 1], [2, 0]])
    found = People.of(vectors, ["b", "b", "a", "b"])
    assert found.names.tolist() == ["a", "b"]
    np.testing.assert_allclose(found.vectors, [[0, 1], [2 / 5**0.5, 1 / 5**0.5]], atol=1e-6)
    # Of b the first and third image are one half, the second is the other.
    np.testing.assert_allclose(found.halves, [0], atol=1e-6)


def test_shared_people_are_found_and_strangers_are_not(directions):
    train = set_of(directions[:800], named(800, "t"), 4)
    test = set_of(directions[750:1200], named(450, "x"), 4, seed=2)
    found = shared_people(train, test)
    pairs = dict(zip(found.candidates["other"], found.candidates["person"], strict=True))
    truth = {f"x{number:04d}": f"t{750 + number:04d}" for number in range(50)}
    assert truth.items() <= pairs.items()
    assert len(pairs) <= len(truth) + 5
    assert found.same_person > 0.9
    assert found.candidates["cosine"].is_monotonic_decreasing


def test_one_false_candidate_is_expected_in_many_sets(directions):
    counts = []
    for seed in range(12):
        fresh = np.random.default_rng(100 + seed).normal(size=(700, DIM))
        train = set_of(fresh[:400], named(400, "t"), 2, seed=seed)
        test = set_of(fresh[400:], named(300, "x"), 2, seed=50 + seed)
        counts.append(len(shared_people(train, test).candidates))
    # The tail falls faster than exponentially, so that fewer than one a set are found.
    assert np.mean(counts) <= 1.5


def test_people_under_two_names_do_not_move_the_threshold(directions):
    clean = set_of(directions[:800], named(800, "t"), 4)
    twice = set_of(np.concatenate([directions[:796], directions[:4]]), named(800, "t"), 4)
    test = set_of(directions[900:1200], named(300, "x"), 4, seed=2)
    one, two = (shared_people(train, test).threshold for train in (clean, twice))
    assert abs(one - two) < 0.02


def test_too_few_people(directions):
    few = set_of(directions[:20], named(20, "t"), 2)
    with pytest.raises(UserError, match="of 64 people: give a larger training set"):
        shared_people(few, few)


def test_a_list_of_names_has_each_name_once_and_a_line_for_each_number():
    rows = [("Ada", "cfp/003", 0.9), ("Bea", "cfp/001", 0.8), ("Ada", "cfp/002", 0.7)]
    frame = pd.DataFrame(rows, columns=["person", "other", "cosine"])
    found = Shared(0.5, frame, 1000, 1.0)
    people = ["cfp/001", "cfp/002", "cfp/003", "cfp/004"]
    assert names_list(found, people) == ["Bea", "person_002", "Ada", "person_004"]
    with pytest.raises(UserError, match="'Eve' has no number"):
        names_list(found, ["Eve"])
