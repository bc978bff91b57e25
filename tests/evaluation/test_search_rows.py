"""A benchmark with galleries and probes, from its tables to the rows and to the report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from frcore.data.contents import Contents
from frcore.data.prepared import writing
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.identification import (
    score_and_search,
    search,
    searches_of,
    stored_arrays,
    tpir_at_fpir,
)
from frcore.evaluation.intervals.uncertainty import RankShare, intervals_of_searches
from frcore.evaluation.judge import all_search_rows
from frcore.evaluation.protocol import rows_needed
from frcore.evaluation.templates import normalise
from frcore.study.data import Image
from frcore.study.parts import Evaluation

PEOPLE, DIM = 24, 16


def write(folder, rng, *, enrol_probe=False):
    """Person i is enrolled in gallery 1 + i % 2 and has five probes, each of two images."""
    person = np.r_[np.arange(PEOPLE), np.repeat(np.arange(PEOPLE), 5)]
    ids = 100 + 3 * rng.permutation(person.size)
    names = np.array([f"person {code:02d}" for code in range(PEOPLE)])
    images = np.repeat(np.arange(person.size), 2)
    embeddings = rng.normal(size=(PEOPLE, DIM))[person[images]]
    embeddings += 1.5 * rng.normal(size=embeddings.shape)
    about = {"kind": "test", "spec": {}, "spec_hash": "0" * 64, "alignment": "none"}
    shown = names[person[images]]
    tables = {}
    index = pd.DataFrame(
        {"name": [f"{row}.jpg" for row in range(images.size)], "identity": shown,
         "label": person[images], "medium": 0, "true_identity": shown}
    )  # fmt: skip
    tables["templates"] = pd.DataFrame(
        {"template": ids[images], "image": np.arange(images.size), "medium": 0,
         "identity": shown, "weight": rng.uniform(0.5, 1, images.size)}
    )  # fmt: skip
    probes = np.arange(PEOPLE, person.size)
    tables["template_pairs"] = pd.DataFrame(
        {"a": ids[person[probes]], "b": ids[probes], "same": True}
    )
    enrolled = np.arange(PEOPLE)
    tables["galleries"] = pd.DataFrame(
        {"gallery": 1 + enrolled % 2, "template": ids[enrolled], "identity": names}
    )
    searched = np.r_[0, probes] if enrol_probe else probes
    tables["probes"] = pd.DataFrame(
        {"template": ids[searched], "identity": names[person[searched]]}
    )
    contents = Contents("templates", None, index, tables)
    writing.write(folder, contents, Image(size=112, alignment="none"), synthetic=True, **about)
    return Prepared.open(folder), embeddings.astype(np.float32), person


@pytest.fixture
def found(tmp_path, rng):
    benchmark, embeddings, person = write(tmp_path / "made", rng)
    rows, seen = rows_needed(benchmark), np.zeros(len(embeddings), bool)
    seen[embeddings.shape[0] - 20 :] = True
    _, result = score_and_search(benchmark, embeddings, rows, seen, Evaluation(flip="none"))
    return result, embeddings, person


def by_hand(embeddings, person, number):
    pooled = normalise(embeddings.reshape(-1, 2, DIM).mean(axis=1))
    mine = np.arange(PEOPLE) % 2 == number - 1
    return search(pooled[:PEOPLE][mine], person[:PEOPLE][mine], pooled[PEOPLE:], person[PEOPLE:])


def test_each_gallery_is_searched_and_the_mean_comes_first(found):
    result, embeddings, person = found
    rows = all_search_rows(result)
    expected = {number: by_hand(embeddings, person, number) for number in (1, 2)}
    assert [row["gallery"] for row in rows[:12]] == [None] * 4 + [1] * 4 + [2] * 4
    for row in rows[:12]:
        galleries = [row["gallery"]] if row["gallery"] else [1, 2]
        chosen = [expected[number] for number in galleries]
        if row["metric"] == "rank":
            values = [np.mean(one.rank[one.mated] <= row["rank"]) for one in chosen]
        elif row["fpir"] * 60 < 1:
            assert (row["value"], row["low"]) == (None, None)
            assert "at least 100 non-mated searches: choose a larger FPIR" in row["note"]
            continue
        else:
            points = [tpir_at_fpir(one, row["fpir"]) for one in chosen]
            values = [point.tar for point in points]
            assert row["far_achieved"] == np.mean([point.far for point in points]) <= row["fpir"]
            assert (row["threshold"] is None) == (len(galleries) == 2)
            assert row["impostors"] == 60 * len(galleries)
        assert row["value"] == pytest.approx(np.mean(values))
        assert row["n"] == 60 * len(galleries)
        if row["metric"] == "tpir":  # six false positives are allowed
            assert (row["low"], row["se_test"]) == (None, None)
            assert "too few for an interval" in row["note"]
        else:
            assert row["low"] < row["value"] < row["high"]
            assert row["se_test"] > 0


def test_probes_of_people_that_were_trained_on_are_left_out_beside_all(found):
    rows = all_search_rows(found[0])
    unseen = [row for row in rows if row["subset"] == "unseen"]
    assert len(unseen) == len(rows) / 2
    # The last twenty images are ten probes of the last two people.
    assert unseen[0]["n"] == 110


def test_what_is_stored_gives_the_same_intervals(found):
    result = found[0]
    for subset, which in (("all", result), ("unseen", result.unseen())):
        searches = searches_of(stored_arrays(result), subset)
        for one, other in zip(searches, which.galleries.values(), strict=True):
            for name, column in vars(other).items():
                np.testing.assert_array_equal(vars(one)[name], column)
        row = next(r for r in all_search_rows(result) if r["subset"] == subset)
        again = intervals_of_searches({"a": searches}, metrics={"a": RankShare(1)})
        estimate = again.mean(["a"])
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
            (row["value"], row["low"], row["high"])
        )


def test_a_template_that_would_find_itself_is_refused(tmp_path, rng):
    benchmark, embeddings, _ = write(tmp_path / "made", rng, enrol_probe=True)
    seen = np.zeros(len(embeddings), bool)
    with pytest.raises(UserError, match="match themselves"):
        score_and_search(
            benchmark, embeddings, rows_needed(benchmark), seen, Evaluation(flip="none")
        )


def test_detector_scores_weigh_images(tmp_path, rng):
    benchmark, embeddings, _ = write(tmp_path / "made", rng)
    rows, seen = rows_needed(benchmark), np.zeros(len(embeddings), bool)
    plain, weighted = (
        score_and_search(benchmark, embeddings, rows, seen, Evaluation(flip="none", **change))[0]
        for change in ({}, {"detector_score": True})
    )
    scaled = embeddings * benchmark.templates["weight"].to_numpy()[:, None]
    by_hand, _ = score_and_search(benchmark, scaled, rows, seen, Evaluation(flip="none"))
    np.testing.assert_allclose(weighted.scores, by_hand.scores, atol=1e-6)
    assert np.abs(weighted.scores - plain.scores).max() > 0.01


def test_an_embedding_without_direction_is_named_by_its_image(tmp_path, rng):
    benchmark, embeddings, _ = write(tmp_path / "made", rng)
    embeddings[7] = np.nan
    seen = np.zeros(len(embeddings), bool)
    with pytest.raises(UserError, match=r"embedding 7 \(7.jpg\) is not finite"):
        score_and_search(
            benchmark, embeddings, rows_needed(benchmark), seen, Evaluation(flip="none")
        )


def test_a_file_of_embeddings_gives_the_scores_of_the_array(tmp_path, rng):
    benchmark, embeddings, _ = write(tmp_path / "made", rng)
    np.save(tmp_path / "e.npy", embeddings)
    rows, seen = rows_needed(benchmark), np.zeros(len(embeddings), bool)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    both = [
        score_and_search(benchmark, given, rows, seen, Evaluation(flip="none"))[0].scores
        for given in (embeddings, mapped)
    ]
    np.testing.assert_array_equal(*both)
    np.testing.assert_array_equal(mapped, embeddings)
