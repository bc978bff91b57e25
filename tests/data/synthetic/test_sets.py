import itertools

import numpy as np
import pandas as pd
import pytest

from frcore.data.synthetic.labels import images_per_identity
from frcore.errors import UserError
from tests.data.making import SYNTHETIC, benchmark, train

FACES = {"kind": "synthetic", "identities": 6, "images": 4}
PAIRS = {"kind": "synthetic_pairs", "identities": 20, "images": 3, "pairs": 24, "folds": 4}
TEMPLATES = {"kind": "synthetic_templates", "identities": 20, "images": 3, "templates": 3,
             "impostor_pairs": 150}  # fmt: skip


@pytest.mark.slow
def test_images_do_not_depend_on_how_many_others_exist(tmp_path):
    small = train(tmp_path / "a", **FACES, video=0.5)
    large = train(tmp_path / "b", **{**FACES, "identities": 7, "images": 6}, video=0.5)
    rows = {name: row for row, name in enumerate(large.index["name"])}
    for row, name in enumerate(small.index["name"]):
        np.testing.assert_array_equal(small.images[row], large.images[rows[name]])


@pytest.mark.slow
def test_the_same_spec_gives_the_same_hash_and_another_seed_does_not(tmp_path):
    first = train(tmp_path / "a", **FACES).manifest.content_sha256
    assert train(tmp_path / "b", **FACES).manifest.content_sha256 == first
    assert train(tmp_path / "c", **FACES, seed=1).manifest.content_sha256 != first


@pytest.mark.slow
def test_people_of_train_and_benchmarks_never_meet(tmp_path):
    sets = [train(tmp_path / "t", **FACES), benchmark(tmp_path / "p", **PAIRS),
            benchmark(tmp_path / "m", **TEMPLATES)]  # fmt: skip
    for a, b in itertools.combinations(sets, 2):
        assert not set(a.index["true_identity"]) & set(b.index["true_identity"])
        assert not {x.tobytes() for x in a.images} & {x.tobytes() for x in b.images}


def test_labels_without_disturbance(tmp_path):
    data = train(tmp_path, **FACES)
    assert data.num_classes == 6
    assert data.labels.tolist() == np.repeat(range(6), 4).tolist()
    assert (data.index["identity"] == data.index["true_identity"]).all()
    assert data.index["name"].is_unique
    assert data.manifest.synthetic
    assert data.manifest.identities == 6


@pytest.mark.slow
def test_videos_group_images_into_media(tmp_path):
    data = train(tmp_path, kind="synthetic", identities=12, images=8, video=0.5)
    sizes = data.index.groupby("medium").size()
    assert set(sizes) == {1, 4}
    assert 0.2 < (sizes == 4).sum() / 24 < 0.8
    assert (data.index.groupby("medium")["identity"].nunique() == 1).all()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_long_tail_counts(exponent):
    counts = images_per_identity(200, 7, exponent)
    assert counts.sum() == 1400
    assert counts.min() >= 1
    assert (np.diff(counts) <= 0).all()
    zipf = np.arange(1, 201) ** -exponent
    # Above the one image that everybody has, within rounding of Zipf's law.
    np.testing.assert_allclose(counts - 1, 1200 * zipf / zipf.sum(), atol=1)


def test_long_tail_reaches_the_index(tmp_path):
    data = train(tmp_path, kind="synthetic", identities=6, images=4, long_tail=1.0)
    found = data.index["identity"].value_counts().sort_index().tolist()
    assert found == images_per_identity(6, 4, 1.0).tolist()
    assert found[0] > found[-1]


@pytest.mark.slow
def test_flips_keep_the_truth(tmp_path):
    clean = train(tmp_path / "a", **FACES)
    flipped = train(tmp_path / "b", **FACES, label_flips=0.25)
    wrong = flipped.index["identity"] != flipped.index["true_identity"]
    assert wrong.sum() == 6
    np.testing.assert_array_equal(wrong, flipped.labels != clean.labels)
    np.testing.assert_array_equal(flipped.images, clean.images)
    pd.testing.assert_series_equal(flipped.index["true_identity"], clean.index["identity"],
                                   check_names=False)  # fmt: skip
    # Each label still names one identity, and none is empty.
    assert (flipped.index.groupby("label")["identity"].nunique() == 1).all()
    assert flipped.index["label"].nunique() == 6


def test_conflicts_split_an_identity_over_two_labels(tmp_path):
    data = train(tmp_path, **FACES, conflicts=0.5)
    labels = data.index.groupby("true_identity")["label"].nunique()
    assert sorted(labels) == [1, 1, 1, 2, 2, 2]
    assert data.num_classes == 9
    assert data.manifest.identities == 9
    second = data.index[data.labels >= 6]
    assert (second["identity"] == second["true_identity"] + "+conflict").all()
    assert (data.index.groupby("label").size()[6:] == 2).all()


def test_flips_on_top_of_conflicts_never_stay_with_the_person(tmp_path):
    data = train(tmp_path, **FACES, conflicts=0.5, label_flips=0.5)
    named = data.index["identity"].str.removesuffix("+conflict")
    assert (named != data.index["true_identity"]).sum() == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [({"label_flips": 0.9}, "at most 0.75"), ({"images": 1, "conflicts": 0.5}, "at most 0")],
)
def test_impossible_disturbances_are_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        train(tmp_path / "out", **{**FACES, **change})
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_verification_pairs(tmp_path):
    data = benchmark(tmp_path, **PAIRS)
    pairs, who = data.pairs, data.index["identity"].to_numpy()
    assert len(pairs) == 48
    np.testing.assert_array_equal(pairs["same"], who[pairs["a"]] == who[pairs["b"]])
    assert pairs.groupby("fold")["same"].agg(["sum", "size"]).to_numpy().tolist() == [[6, 12]] * 4
    assert set(pairs["split"]) == {"test"}
    assert (pairs["a"] != pairs["b"]).all()
    assert len({frozenset(pair) for pair in zip(pairs["a"], pairs["b"], strict=True)}) == 48
    folds = [set(who[part["a"]]) | set(who[part["b"]]) for _, part in pairs.groupby("fold")]
    assert all(not a & b for a, b in itertools.combinations(folds, 2))


@pytest.mark.slow
def test_too_many_pairs_are_refused_with_the_largest_number(tmp_path):
    with pytest.raises(UserError, match="at most pairs = 60 is possible"):
        benchmark(tmp_path / "a", **{**PAIRS, "pairs": 61})
    assert len(benchmark(tmp_path / "b", **{**PAIRS, "pairs": 60}).pairs) == 120


@pytest.mark.slow
def test_templates(tmp_path):
    data = benchmark(tmp_path, **TEMPLATES)
    rows, pairs = data.templates, data.template_pairs
    who = rows.groupby("template")["identity"].first()
    assert len(who) == 60
    assert (rows.groupby("template")["identity"].nunique() == 1).all()
    assert (rows.groupby("medium")["template"].nunique() == 1).all()
    assert rows["image"].tolist() == list(range(data.manifest.images))
    assert 2.2 < rows.groupby("template").size().mean() < 3.8
    # Videos with several frames and single stills both occur.
    frames = rows.groupby("medium").size()
    assert (frames == 1).any()
    assert (frames > 1).any()

    same = who.to_numpy()[pairs["a"]] == who.to_numpy()[pairs["b"]]
    np.testing.assert_array_equal(pairs["same"], same)
    assert pairs["same"].sum() == 20 * 3
    assert (~pairs["same"]).sum() == 150
    assert len({frozenset(pair) for pair in zip(pairs["a"], pairs["b"], strict=True)}) == 210


def test_too_many_impostor_template_pairs_are_refused(tmp_path):
    with pytest.raises(UserError, match="at most 1710"):
        benchmark(tmp_path, **{**TEMPLATES, "impostor_pairs": 1711})


def test_a_crop_is_not_applied_and_said_so(tmp_path):
    image = SYNTHETIC.model_copy(update={"crop": 12})
    data = train(tmp_path, image=image, **FACES)
    assert data.manifest.image_size == 16
    assert "crop" in data.manifest.warnings[0]
