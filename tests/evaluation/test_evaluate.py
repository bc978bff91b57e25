"""Whole evaluations of a trained run, checked against the model called by hand."""

from __future__ import annotations

import io
import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow

from frcore.data.contents import Contents
from frcore.data.loader import to_network
from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.writing import write
from frcore.errors import UserError
from frcore.evaluation.evaluate import evaluate
from frcore.evaluation.intervals.uncertainty import Accuracy, interval_of_mean
from frcore.evaluation.metrics import tar_at_far
from frcore.evaluation.verification import threshold_from, verification_accuracy
from frcore.models.own import load_backbone
from frcore.study.data import (
    Image,
    InsightFaceBin,
    SyntheticFaces,
    SyntheticPairs,
    SyntheticTemplates,
)
from frcore.study.expansion import BenchmarkSpec, EvaluationSpec, TrainDataSpec
from frcore.study.parts import Evaluation
from frcore.training.train import train
from tests.training.conftest import run_spec

IMAGE = Image(size=24, alignment="synthetic")
ROW_KEYS = {
    "metric", "far", "rank", "fpir", "gallery", "subset", "value", "low", "high", "level", "method",
    "se_test", "n", "n_unit",
    "threshold", "far_achieved", "false_accepts", "impostors", "note",
}  # fmt: skip


def evaluation_spec(**change) -> EvaluationSpec:
    settings = Evaluation(**({"flip": "sum", "bootstrap": 200} | change))
    return EvaluationSpec(evaluation=settings, device="cpu", threads=1)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory) -> Path:
    """A training set, both kinds of synthetic benchmark, and a run of one epoch."""
    root = tmp_path_factory.mktemp("synthetic")
    faces = SyntheticFaces(kind="synthetic", identities=8, images=4, difficulty=0.3)
    pairs = SyntheticPairs(
        kind="synthetic_pairs", identities=20, images=3, pairs=40, folds=4, difficulty=0.3
    )
    templates = SyntheticTemplates(
        kind="synthetic_templates", identities=20, images=2, impostor_pairs=200, difficulty=0.3
    )
    prepare(TrainDataSpec(image=IMAGE, data=faces), root / "train", workers=1)
    for name, data in (("pairs", pairs), ("templates", templates)):
        prepare(BenchmarkSpec(name=name, image=IMAGE, data=data), root / name, workers=1)
    train(run_spec(epochs=1), root / "train", root / "run")
    return root


def by_hand(run: Path, images, flip: str) -> np.ndarray:
    """Embeddings of images mirrored as pixels, in double precision after the network."""
    backbone = load_backbone(run)
    with torch.no_grad():
        out = backbone(to_network(images)).double()
        if flip == "sum":
            out += backbone(to_network(images[:, :, ::-1])).double()
    return out.numpy()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("flip", ["none", "sum"])
def test_pairs_are_scored_and_judged_as_by_hand(synthetic, tmp_path, flip):
    out = tmp_path / "pairs.json"
    spec = evaluation_spec(flip=flip)
    result = evaluate(spec, synthetic / "run", synthetic / "pairs", synthetic / "train", out)
    assert json.loads(out.read_text()) == result
    data, stored = Prepared.open(synthetic / "pairs"), np.load(tmp_path / "pairs.npz")
    vectors = unit(by_hand(synthetic / "run", data.images, flip))
    scores = np.sum(vectors[data.pairs["a"]] * vectors[data.pairs["b"]], axis=1)
    np.testing.assert_allclose(stored["scores"], scores, atol=1e-5)
    np.testing.assert_array_equal(stored["same"], data.pairs["same"])
    np.testing.assert_array_equal(stored["fold"], data.pairs["fold"])
    assert stored["subset_unseen"].all()
    assert ((stored["identity_a"] == stored["identity_b"]) == stored["same"]).all()

    accuracy, tar = result["rows"]
    assert all(set(row) == ROW_KEYS for row in result["rows"])
    judged = verification_accuracy(stored["scores"], stored["same"], stored["fold"])
    assert accuracy["value"] == judged.accuracy
    assert (accuracy["n"], accuracy["n_unit"], accuracy["subset"]) == (80, "pairs", "all")
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    # 40 impostors cannot resolve 1e-2: said, not guessed. 1e-3 is not asked for then.
    assert (tar["far"], tar["value"], tar["low"]) == (1e-2, None, None)
    assert "at least 100 impostor pairs" in tar["note"]


def packed_without_names(pairs: Path, into: Path) -> InsightFaceBin:
    """A prepared list of pairs as a file of InsightFace's."""
    data = Prepared.open(pairs)
    content = []
    for row in data.pairs[["a", "b"]].to_numpy().ravel():
        stream = io.BytesIO()
        Pillow.fromarray(np.asarray(data.images[row])).save(stream, "png")
        content.append(stream.getvalue())
    path = into / "pairs.bin"
    path.write_bytes(pickle.dumps((content, data.pairs["same"].tolist())))
    return InsightFaceBin(kind="insightface_bin", path=str(path))


@pytest.mark.slow
def test_the_same_pairs_packed_without_names(synthetic, tmp_path):
    packed = packed_without_names(synthetic / "pairs", tmp_path)
    prepare(BenchmarkSpec(name="packed", image=IMAGE, data=packed), tmp_path / "packed")
    results = {}
    for name, folder in (("pairs", synthetic / "pairs"), ("packed", tmp_path / "packed")):
        spec, out = evaluation_spec(insightface=True), tmp_path / f"{name}.json"
        results[name] = evaluate(spec, synthetic / "run", folder, synthetic / "train", out)
    np.testing.assert_array_equal(
        np.load(tmp_path / "pairs.npz")["scores"], np.load(tmp_path / "packed.npz")["scores"]
    )
    metrics = ["accuracy", "tar", "accuracy_insightface", "val_insightface"]
    for result in results.values():
        assert [row["metric"] for row in result["rows"]] == metrics
        assert all(set(row) == ROW_KEYS for row in result["rows"])
        assert any("accuracy_insightface and val_insightface" in note for note in result["notes"])
    assert results["pairs"]["data"]["seen_people"] == 0
    assert "too narrow" not in results["pairs"]["rows"][0]["method"]
    packed = results["packed"]
    assert packed["data"]["seen_people"] is packed["data"]["seen_pairs"] is None
    assert "people known only from shared images: too narrow" in packed["rows"][0]["method"]
    notes = " ".join(packed["notes"])
    assert "is unknown: the benchmark names nobody" in notes
    assert "None of the" not in notes


@pytest.mark.slow
def test_the_report_gets_the_same_accuracy_from_scores_and_thresholds(synthetic, tmp_path):
    out = tmp_path / "pairs.json"
    paths = (synthetic / "run", synthetic / "pairs", synthetic / "train")
    row = evaluate(evaluation_spec(), *paths, out)["rows"][0]
    stored = np.load(out.with_suffix(".npz"))
    estimate = interval_of_mean(
        stored["scores"] - stored["threshold"],
        stored["same"],
        stored["identity_a"],
        stored["identity_b"],
        metric=Accuracy(stored["fold"], 0.0),
    )
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(
        (row["value"], row["low"], row["high"])
    )


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["media_mean", "image_mean"])
def test_templates_are_pooled_and_judged_as_by_hand(synthetic, tmp_path, pooling):
    out = tmp_path / "templates.json"
    spec = evaluation_spec(pooling=pooling)
    result = evaluate(spec, synthetic / "run", synthetic / "templates", synthetic / "train", out)
    data, stored = Prepared.open(synthetic / "templates"), np.load(tmp_path / "templates.npz")
    vectors = by_hand(synthetic / "run", data.images, "sum")
    pooled = {}
    for template, images in data.templates.groupby("template"):
        if pooling == "image_mean":
            mean = vectors[images["image"]].mean(axis=0)
        else:
            media = [vectors[group["image"]].mean(axis=0) for _, group in images.groupby("medium")]
            mean = np.mean(media, axis=0)
        pooled[template] = unit(mean)
    pairs = data.template_pairs
    scores = np.array([pooled[a] @ pooled[b] for a, b in zip(pairs["a"], pairs["b"], strict=True)])
    np.testing.assert_allclose(stored["scores"], scores, atol=1e-5)
    assert not {"threshold", "fold"} & set(stored)

    same = stored["same"]
    assert [row["far"] for row in result["rows"]] == [1e-1, 1e-2, 1e-3]
    for row in result["rows"][:2]:
        point = tar_at_far(stored["scores"][same], stored["scores"][~same], row["far"])
        assert (row["value"], row["far_achieved"]) == (point.tar, point.far)
        assert (row["false_accepts"], row["threshold"]) == (point.false_accepts, point.threshold)
        assert row["impostors"] == 200
        assert row["far_achieved"] <= row["far"]
    enough, few, none = result["rows"]
    assert enough["low"] <= enough["value"] <= enough["high"]
    # Two false accepts of 200 impostor pairs are too few for an interval.
    assert few["low"] is few["high"] is few["method"] is None
    assert "allows 2 false accepts" in few["note"]
    assert none["value"] is None


def test_repeating_an_evaluation_changes_nothing(synthetic, tmp_path):
    paths = (synthetic / "run", synthetic / "pairs", synthetic / "train")
    results = [evaluate(evaluation_spec(), *paths, tmp_path / f"{n}.json") for n in (1, 2)]
    assert results[0] == results[1]
    first, second = (np.load(tmp_path / f"{n}.npz") for n in (1, 2))
    assert all(np.array_equal(first[name], second[name]) for name in first.files)


def test_every_choice_is_told(synthetic, tmp_path):
    paths = (synthetic / "run", synthetic / "templates", synthetic / "train")
    told = " ".join(evaluate(evaluation_spec(), *paths, tmp_path / "x.json")["notes"])
    for word in ("alignment synthetic", "RGB", "mirror", "medium", "Checkpoint: the last",
                 "TAR at FAR", "clustered by the people", "None of the 20 people"):  # fmt: skip
        assert word in told


# --- people that are in both sets -----------------------------------------------------------------


def write_people(
    out: Path,
    people: range,
    protocol: str,
    *,
    synthetic: bool = False,
    split: bool = False,
    names: dict[int, str] | None = None,
) -> None:
    """Three noisy images each of people who are a colour; pairs of neighbours, in five folds."""
    who = np.repeat(np.array(people), 3)
    label = who - who.min()
    given = [(names or {}).get(person, f"p{person:02d}") for person in who]
    index = pd.DataFrame(
        {
            "name": [f"p{person:02d}/{n}.png" for n, person in enumerate(who)],
            "identity": given,
            "label": label,
            "medium": np.arange(who.size),
            "true_identity": [f"p{person:02d}" for person in who],
        }
    )
    rng = np.random.default_rng(5)
    about = {"kind": "test", "spec": {}, "spec_hash": "0", "alignment": "none"}

    def draw(path: Path, _workers: int | None) -> None:
        images = np.load(path, mmap_mode="r+")
        for row, person in enumerate(who):
            colour = np.random.default_rng(person).integers(0, 256, 3)
            noisy = colour + rng.normal(0, 60, (24, 24, 3))
            images[row] = np.clip(noisy, 0, 255).astype(np.uint8)

    tables = {"pairs": neighbours(who.size, split)} if protocol == "pairs" else {}
    contents = Contents(protocol, None, index, tables, draw=draw)
    write(out, contents, Image(size=24, alignment="none"), synthetic=synthetic, **about)


def neighbours(images: int, split: bool) -> pd.DataFrame:
    first = np.arange(0, images, 3)
    genuine = pd.DataFrame({"a": first, "b": first + 1, "same": True})
    impostor = pd.DataFrame({"a": first, "b": (first + 3) % images, "same": False})
    pairs = pd.concat([genuine, impostor]).sort_values("a", ignore_index=True)
    pairs["fold"] = 0 if split else np.arange(len(pairs)) * 5 // len(pairs)
    # The people of the first third choose the threshold.
    chooses = split & (np.arange(len(pairs)) < len(pairs) // 3)
    pairs["split"] = np.where(chooses, "threshold", "test")
    return pairs


@pytest.fixture(scope="module")
def crossed(tmp_path_factory) -> Path:
    """A run on people 0 to 19, and benchmarks of people 10 to 69."""
    root = tmp_path_factory.mktemp("crossed")
    write_people(root / "train", range(20), "train", names={3: "p03", 4: "somebody else"})
    write_people(root / "pairs", range(10, 70), "pairs")
    write_people(root / "split", range(10, 70), "pairs", split=True)
    write_people(root / "relabelled", range(4, 64), "pairs")
    write_people(root / "leak", range(10, 70), "pairs", synthetic=True)
    write_people(root / "apart", range(30, 90), "pairs", synthetic=True)
    train(run_spec(epochs=1), root / "train", root / "run")
    return root


def judge(root: Path, benchmark: str, out: Path) -> dict:
    return evaluate(evaluation_spec(), root / "run", root / benchmark, root / "train", out)


@pytest.mark.slow
def test_people_of_the_training_set_are_counted_and_left_out_beside_all(crossed, tmp_path):
    result = judge(crossed, "pairs", tmp_path / "x.json")
    stored, data = np.load(tmp_path / "x.npz"), Prepared.open(crossed / "pairs")
    trained = {f"p{person:02d}" for person in range(20)}
    identity = data.index["identity"].to_numpy()
    slow = [
        identity[a] not in trained and identity[b] not in trained
        for a, b in zip(data.pairs["a"], data.pairs["b"], strict=True)
    ]
    np.testing.assert_array_equal(stored["subset_unseen"], slow)
    assert result["data"]["seen_people"] == 10
    # Ten genuine, ten impostor pairs from them, and the one that closes the circle.
    assert result["data"]["seen_pairs"] == 21
    assert any("10 of the 60 people tested" in note for note in result["notes"])
    rows = {(row["metric"], row["subset"]): row for row in result["rows"]}
    assert rows["accuracy", "all"]["n"] == 120
    unseen = rows["accuracy", "unseen"]
    assert unseen["n"] == 99
    keep = stored["subset_unseen"]
    judged = verification_accuracy(
        stored["scores"][keep], stored["same"][keep], stored["fold"][keep]
    )
    assert unseen["value"] == judged.accuracy


@pytest.mark.slow
def test_a_wrong_label_in_training_does_not_hide_a_person(crossed, tmp_path):
    """Person 4 was trained on under another name; `true_identity` tells."""
    result = judge(crossed, "relabelled", tmp_path / "x.json")
    assert result["data"]["seen_people"] == 16


@pytest.mark.slow
def test_a_threshold_split_chooses_and_is_not_judged(crossed, tmp_path):
    result = judge(crossed, "split", tmp_path / "x.json")
    stored, data = np.load(tmp_path / "x.npz"), Prepared.open(crossed / "split")
    vectors = unit(by_hand(crossed / "run", data.images, "sum"))
    scores = np.sum(vectors[data.pairs["a"]] * vectors[data.pairs["b"]], axis=1)
    chooses = (data.pairs["split"] == "threshold").to_numpy()
    same = data.pairs["same"].to_numpy()
    threshold = threshold_from(scores[chooses], same[chooses])
    accuracy = result["rows"][0]
    assert accuracy["threshold"] == pytest.approx(threshold, abs=1e-5)
    right = (scores[~chooses] >= threshold) == same[~chooses]
    assert accuracy["value"] == pytest.approx(right.mean())
    assert accuracy["n"] == stored["scores"].size == 80
    assert np.unique(stored["threshold"]).size == 1
    assert any("chosen on 40 other pairs" in note for note in result["notes"])


@pytest.mark.slow
def test_a_synthetic_benchmark_with_people_of_the_training_set_is_an_error(crossed, tmp_path):
    with pytest.raises(UserError, match=r"10 of 60 people of the synthetic benchmark.*leak"):
        judge(crossed, "leak", tmp_path / "x.json")
    assert list(tmp_path.iterdir()) == []
    result = judge(crossed, "apart", tmp_path / "x.json")
    assert {row["subset"] for row in result["rows"]} == {"all"}


def test_what_does_not_belong_together_is_refused(synthetic, crossed, tmp_path):
    spec, out = evaluation_spec(), tmp_path / "x.json"
    run, pairs, data = crossed / "run", crossed / "pairs", crossed / "train"
    with pytest.raises(UserError, match="give the data it was trained on"):
        evaluate(spec, run, pairs, synthetic / "train", out)
    with pytest.raises(UserError, match="needs the protocol 'pairs' or 'templates'"):
        evaluate(spec, run, data, data, out)
    with pytest.raises(UserError, match="train the run to its end first"):
        evaluate(spec, tmp_path / "none", pairs, data, out)
    with pytest.raises(UserError, match=r"must end in \.json"):
        evaluate(spec, run, pairs, data, tmp_path / "x")
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "failure.json").write_text('{"error": "the loss is NaN"}')
    with pytest.raises(UserError, match=r"failed: the loss is NaN"):
        evaluate(spec, failed, pairs, data, out)
    assert not out.exists()


def test_an_attempt_that_failed_does_not_hide_the_older_result(crossed, tmp_path):
    run = shutil.copytree(crossed / "run", tmp_path / "run")
    (run / "failure.json").write_text('{"error": "no GPU"}')
    evaluate(evaluation_spec(), run, crossed / "pairs", crossed / "train", tmp_path / "x.json")
    assert (tmp_path / "x.npz").exists()


def keep_pairs(folder: Path, out: Path, kept) -> None:
    """`folder` with the pairs alone for which `kept` of the table is True."""
    shutil.copytree(folder, out)
    table = pd.read_parquet(out / "pairs.parquet")
    table[kept(table)].to_parquet(out / "pairs.parquet")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("name", "kept", "subset", "reason"),
    [
        ("genuine", lambda pairs: pairs["same"], "all", "no impostor pairs"),
        ("impostor", lambda pairs: ~pairs["same"], "all", "no genuine pairs"),
        # Of the people from image 30 on none was trained on; a person has three images.
        ("unseen genuine", lambda p: p["same"] | (p["a"] < 30), "unseen", "no impostor pairs"),
        ("unseen impostor", lambda p: ~p["same"] | (p["a"] < 30), "unseen", "no genuine pairs"),
        ("all seen", lambda pairs: pairs["b"] < 30, "unseen", "no (impostor )?pairs"),
    ],
)
def test_pairs_of_one_kind_are_rows_that_say_why(crossed, tmp_path, name, kept, subset, reason):
    keep_pairs(crossed / "pairs", tmp_path / name, kept)
    out = tmp_path / "x.json"
    run, train_data = crossed / "run", crossed / "train"
    result = evaluate(evaluation_spec(insightface=True), run, tmp_path / name, train_data, out)
    rows = [row for row in result["rows"] if row["subset"] == subset]
    assert {"accuracy", "tar"} <= {row["metric"] for row in rows}
    for row in rows:
        assert (row["value"], row["low"], row["high"]) == (None, None, None)
        assert re.match(reason, row["note"]), row["note"]
    assert "scores" in np.load(out.with_suffix(".npz"))
