"""Vectors of synthetic identities: the bytes, what can be known of a person, and the labels."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frcore.data import loader
from frcore.data.check.check import check
from frcore.data.prepared.folder import Prepared
from frcore.data.synthetic import samples as module
from frcore.data.synthetic.labels import images_per_identity
from frcore.data.synthetic.samples import CODE, NUISANCE, Samples, _map
from frcore.errors import UserError
from frcore.evaluation.evaluate import evaluate
from frcore.study.data import Image
from frcore.study.expansion import EvaluationSpec, RunSpec
from frcore.study.parts import Evaluation
from frcore.training import train as training
from tests.data.making import benchmark, train

VECTORS = Image(size=6, alignment="none")
TRAIN: dict[str, Any] = {"kind": "synthetic_identities", "identities": 20, "images": 5}
PAIRS: dict[str, Any] = {"kind": "synthetic_identity_pairs", "identities": 40, "images": 3,
                         "pairs": 40, "folds": 4}  # fmt: skip
SAMPLES = Samples(0, "train", 1.0, 0.5, 6)
GOLDEN = "9862a71e2ad98fc02d48cd2f4cf5aa2483a7e0505548e92450f3777acb3ca702"


def people(count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(count), each), np.tile(np.arange(each), count)


# --- the bytes -----------------------------------------------------------------------------------


def test_the_bytes_are_the_same_on_every_machine() -> None:
    drawn = SAMPLES.draw(*people(30, 10))
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == GOLDEN


def word(key: int, counter: int, place: int) -> int:
    """SplitMix64 in Python's own whole numbers."""

    def mixed(state: int) -> int:
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        state = (state ^ state >> 27) * 0x94D049BB133111EB % 2**64
        return state ^ state >> 31

    golden = 0x9E3779B97F4A7C15
    return mixed((mixed((counter * golden + key) % 2**64) + (place + 1) * golden) % 2**64)


def normal(number: int, dropped: int) -> int:
    return (sum(number >> 16 * part & 0xFFFF for part in range(4)) - 2 * 0xFFFF) >> dropped


def slow_sample(identity: int, number: int) -> list[int]:
    """One sample of `SAMPLES`, number by number."""
    code_key, own_key, map_key = (
        int(module._key(*key)) for key in (("code", 0, "train"), ("sample", 0, "train"), ("map",))
    )
    own = [word(own_key, identity * 2**32 + number, at) for at in range(CODE + NUISANCE + 1)]
    lost = (own[-1] >> 48) * 128 >> 16  # of 256: quality_spread 0.5
    values = [
        round((256 - lost) / 256 * normal(word(code_key, identity, at), 10)
              + module.DEVIATION / 256 * normal(own[at], 10))
        for at in range(CODE)
    ]  # fmt: skip
    values += [round(module.NUISANCES / 256 * normal(part, 10)) for part in own[CODE:-1]]
    seen = []
    for output in range(3 * 6**2):
        total = word(map_key, output, CODE + NUISANCE) % (510 * module._SLOPE)
        for at, value in enumerate(values):
            total += value * normal(word(map_key, output, at), 13)
        seen.append(abs(total % (510 * module._SLOPE) - 255 * module._SLOPE) // module._SLOPE)
    return seen


def test_a_sample_is_what_the_formulas_say() -> None:
    drawn = SAMPLES.draw(np.array([0, 3, 700_000]), np.array([0, 9, 2]))
    for found, (identity, number) in zip(drawn, ((0, 0), (3, 9), (700_000, 2)), strict=True):
        assert found.reshape(-1).tolist() == slow_sample(identity, number)


def test_no_sum_leaves_the_range_where_float32_is_exact() -> None:
    weights, shift = _map(3 * 16**2)
    # The largest of 18 bits, without the lowest ten; at difficulty 2.
    factor = 2**17 / 2**10
    largest = np.r_[np.full(CODE, factor * (1 + 2 * module.DEVIATION / 256)),
                    np.full(NUISANCE, factor * 2 * module.NUISANCES / 256)]  # fmt: skip
    assert (largest @ np.abs(weights) + shift).max() < 2**24
    assert np.array_equal(weights, np.rint(weights))


def test_a_sample_does_not_depend_on_the_others() -> None:
    who, number = people(600, 5)  # more than are made at a time
    drawn = SAMPLES.draw(who, number)
    rows = np.array([2999, 0, 2048, 17])
    np.testing.assert_array_equal(SAMPLES.draw(who[rows], number[rows]), drawn[rows])


def test_splits_and_seeds_have_other_people() -> None:
    who = people(50, 1)
    keys = ((0, "train"), (1, "train"), (0, "synthetic_identity_pairs"))
    sets = [Samples(*key, 0.0, 0.0, 6).draw(*who).reshape(50, -1) for key in keys]
    assert len({row.tobytes() for drawn in sets for row in drawn}) == 150


# --- what can be known ---------------------------------------------------------------------------


def rank_1(gallery: np.ndarray, probes: np.ndarray) -> float:
    """How often the probe of a person has the greatest cosine with their own gallery entry."""
    gallery, probes = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (gallery, probes))
    return float(((probes @ gallery.T).argmax(axis=1) == np.arange(len(probes))).mean())


def test_without_nuisances_all_samples_of_a_person_are_their_code() -> None:
    who, number = people(40, 3)
    same = Samples(0, "train", 0.0, 0.0, 6).draw(who, number).reshape(40, 3, -1)
    assert (same == same[:, :1]).all()
    assert len({row.tobytes() for row in same[:, 0]}) == 40


def test_what_a_sample_tells_has_the_variance_of_its_parts() -> None:
    who, number = people(400, 20)
    seen = SAMPLES.latent(who, number).reshape(400, 20, CODE)
    quality = SAMPLES.quality(who, number)
    # Four uniform parts of 16 bits: variance 4 · 2³² / 12, without ten bits.
    unit = 2**32 / 3 / 2**20
    within = unit * (module.DEVIATION / 256) ** 2 + unit * quality.var()
    assert seen.var(axis=1, ddof=1).mean() == pytest.approx(within, rel=0.05)
    assert seen.mean(axis=1).var() == pytest.approx(unit * quality.mean() ** 2, rel=0.05)


def test_quality_is_uniform_over_its_spread() -> None:
    quality = SAMPLES.quality(*people(200, 20))
    assert quality.min() == pytest.approx(0.5, abs=0.01)
    assert quality.max() == 1
    assert np.histogram(quality, 4, (0.5, 1))[0] == pytest.approx(np.full(4, 1000), rel=0.15)


def test_an_oracle_does_better_than_a_linear_probe_and_that_than_the_bytes() -> None:
    learnt = SAMPLES.draw(*people(1000, 8)).reshape(1000, 8, -1).astype(float) - 127.5
    test = Samples(0, "test", 1.0, 0.5, 6)
    gallery, probe = (test.draw(np.arange(1000), np.full(1000, at)).reshape(1000, -1) - 127.5
                      for at in (0, 1))  # fmt: skip
    # Fisher's: whiten by the covariance within people.
    within = (learnt - learnt.mean(axis=1, keepdims=True)).reshape(8000, -1)
    white = np.linalg.inv(np.linalg.cholesky(within.T @ within / 7000)).T
    centre = learnt.mean(axis=(0, 1))
    raw = rank_1(gallery, probe)
    linear = rank_1((gallery - centre) @ white, (probe - centre) @ white)
    oracle = rank_1(*(test.latent(np.arange(1000), np.full(1000, at)) for at in (0, 1)))
    assert 1 / 1000 < raw < linear - 0.1
    assert linear < oracle - 0.05
    assert oracle < 1


# --- data sets -----------------------------------------------------------------------------------


def disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_prepared_set_holds_no_pixels_and_reads_as_images(tmp_path: Path) -> None:
    data = train(tmp_path / "a", VECTORS, **{**TRAIN, "identities": 500})
    assert data.images.shape == (2500, 6, 6, 3)
    assert disk(tmp_path / "a") < 2500 * 108 / 3
    np.testing.assert_array_equal(
        data.images[[7, 2]], SAMPLES.draw(np.array([1, 0]), np.array([2, 2]))
    )
    assert data.index["name"].is_unique
    assert (data.index["identity"] == data.index["true_identity"]).all()
    (report,) = check(tmp_path / "a")
    assert not report.problems
    assert report.sha256 == data.manifest.content_sha256


def test_the_hash_is_of_the_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train(tmp_path / "a", VECTORS, **TRAIN)
    hashes = {train(tmp_path / str(at), VECTORS, **{**TRAIN, **change}).manifest.content_sha256
              for at, change in enumerate(({}, {"seed": 1}, {"difficulty": 0.5},
                                           {"quality_spread": 0.0}))}  # fmt: skip
    assert first.manifest.content_sha256 in hashes
    assert len(hashes) == 4
    first.verify()
    monkeypatch.setattr(module, "DEVIATION", 1)
    with pytest.raises(UserError, match="sha256"):
        first.verify()


def test_long_tail_flips_and_conflicts_are_as_asked_and_the_truth_is_kept(tmp_path: Path) -> None:
    data = train(tmp_path / "a", VECTORS, **TRAIN, long_tail=1.0, label_flips=0.1, conflicts=0.5)
    index = data.index
    true = index.groupby("true_identity").size()
    assert true.tolist() == images_per_identity(20, 5, 1.0).tolist()
    person = index["identity"].str.removesuffix("+conflict")
    assert (person != index["true_identity"]).sum() == 10
    assert data.num_classes == 30
    # Labels are wrong, vectors are not.
    rows = np.arange(100)
    clean = train(tmp_path / "b", VECTORS, **TRAIN, long_tail=1.0)
    np.testing.assert_array_equal(data.images[rows], clean.images[rows])


def test_a_benchmark_has_pairs_of_new_people(tmp_path: Path) -> None:
    data: Prepared = benchmark(tmp_path / "b", VECTORS, **PAIRS)
    who = data.index["true_identity"].to_numpy()
    same = who[data.pairs["a"]] == who[data.pairs["b"]]
    assert (same == data.pairs["same"]).all()
    assert same.sum() == 40
    known = train(tmp_path / "a", VECTORS, **TRAIN).index["true_identity"]
    assert not set(who) & set(known)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"label_flips": 0.9}, "at most 0.8"), ({"images": 1, "conflicts": 0.5}, "at most 0")],
)
def test_impossible_labels_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(tmp_path / "out", VECTORS, **{**TRAIN, **change})
    assert not (tmp_path / "out").exists()


# --- the stages ----------------------------------------------------------------------------------


def run_spec() -> RunSpec:
    settings = {"epochs": 4, "batch_size": 64, "learning_rate": 0.1, "flip": False}
    return RunSpec.model_validate(
        {"image": VECTORS.model_dump(), "backbone": {"name": "mlp", "dim": 32, "width": 64},
         "head": {"name": "cosface", "scale": 16, "margin": 0.1}, "sampler": "full", "seed": 0,
         "training": settings}
    )  # fmt: skip


@pytest.mark.slow
def test_a_network_learns_people_it_has_not_seen(tmp_path: Path) -> None:
    easy = {"difficulty": 0.3, "quality_spread": 0.2}
    train(tmp_path / "data", VECTORS, **{**TRAIN, "identities": 200}, **easy)
    test = {**PAIRS, "identities": 200, "pairs": 400, "folds": 10, **easy}
    benchmark(tmp_path / "pairs", VECTORS, **test)
    training.train(run_spec(), tmp_path / "data", tmp_path / "run")
    spec = EvaluationSpec(evaluation=Evaluation(flip="none"), device="cpu", threads=1)
    found = evaluate(spec, tmp_path / "run", tmp_path / "pairs", tmp_path / "data",
                     tmp_path / "pairs.json")  # fmt: skip
    accuracy = next(row["value"] for row in found["rows"] if row["metric"] == "accuracy")
    assert accuracy > 0.8  # 0.5 is chance


@pytest.mark.slow
def test_vectors_made_ahead_train_the_same_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = train(tmp_path / "data", VECTORS, **{**TRAIN, "identities": 60})
    read = {}
    for held in (2**30, 0):
        monkeypatch.setattr(loader, "HELD_IN_MEMORY", held)
        batches = loader.Batches(data, 32, seed=0, flip=False, threads=2)
        read[held] = [(images.numpy(), labels.tolist()) for images, labels in batches.epoch(1)]
    for (a, labels_a), (b, labels_b) in zip(*read.values(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert labels_a == labels_b
