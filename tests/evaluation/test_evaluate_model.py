"""Models trained elsewhere on a prepared benchmark, checked against numbers made by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from frcore.data.prepare import prepare
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from frcore.evaluation.evaluate import evaluate
from frcore.evaluation.evaluate_model import evaluate_model
from frcore.evaluation.verification import verification_accuracy
from frcore.study import expansion
from frcore.study.data import Image, SyntheticFaces, SyntheticPairs, SyntheticTemplates
from frcore.study.expansion import BenchmarkSpec, ModelSpec, TrainDataSpec
from frcore.training.train import train
from tests.evaluation.test_evaluate import evaluation_spec
from tests.models.making import expected, onnx_section, tiny_onnx, tiny_torchscript
from tests.training.conftest import run_spec

SIZE = 24
IMAGE = Image(size=SIZE, alignment="synthetic")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Both kinds of synthetic benchmark, and a linear model as ONNX."""
    root = tmp_path_factory.mktemp("benchmarks")
    pairs = SyntheticPairs(
        kind="synthetic_pairs", identities=20, images=3, pairs=40, folds=4, difficulty=0.3
    )
    templates = SyntheticTemplates(
        kind="synthetic_templates", identities=20, images=2, impostor_pairs=200, difficulty=0.3
    )
    for name, data in (("pairs", pairs), ("templates", templates)):
        prepare(BenchmarkSpec(name=name, image=IMAGE, data=data), root / name, workers=1)
    tiny_onnx(root / "m.onnx", size=SIZE, batch=1)
    return root


def onnx_model(root: Path, **changes) -> ModelSpec:
    return ModelSpec(model=onnx_section(root / "m.onnx", **changes))


def embeddings_model(**settings) -> ModelSpec:
    return ModelSpec.model_validate({"model": {"label": "e", "kind": "embeddings", **settings}})


@pytest.mark.slow
@pytest.mark.parametrize("flip", ["none", "sum"])
def test_a_network_is_judged_as_by_hand(root, tmp_path, flip):
    out = tmp_path / "pairs.json"
    spec = evaluation_spec(flip=flip, batch_size=7)
    model = onnx_model(root, trained_on="nobody", source="a test", licence="none")
    result = evaluate_model(spec, model, root / "pairs", out)
    assert json.loads(out.read_text()) == result
    assert (result["run"], result["run_spec_hash"]) == ("m", model.hash)

    data, stored = Prepared.open(root / "pairs"), np.load(out.with_suffix(".npz"))
    images = np.asarray(data.images[np.arange(len(data.index))])
    vectors = expected(images)
    if flip == "sum":
        vectors = vectors + expected(images[:, :, ::-1])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.sum(vectors[data.pairs["a"]] * vectors[data.pairs["b"]], axis=1)
    np.testing.assert_allclose(stored["scores"], scores, atol=1e-4)
    judged = verification_accuracy(stored["scores"], stored["same"], stored["fold"])
    assert result["rows"][0]["value"] == judged.accuracy


@pytest.mark.slow
def test_what_is_known_of_a_model_is_told_and_what_is_not_is_null(root, tmp_path):
    model = onnx_model(root, trained_on="nobody", source="a test", licence="none")
    result = evaluate_model(evaluation_spec(), model, root / "templates", tmp_path / "t.json")
    digest = hashlib.sha256((root / "m.onnx").read_bytes()).hexdigest()
    assert result["model"]["files"] == {"m.onnx": digest}
    assert result["model"]["trained_on"] == "nobody"
    assert {row["subset"] for row in result["rows"]} == {"all"}
    assert result["data"]["seen_people"] is None
    assert result["data"]["train_content_sha256"] is None
    assert "onnxruntime" in result["environment"]["versions"]
    assert not np.load(tmp_path / "t.npz")["subset_unseen"].any(), "unseen is not known"
    text = " ".join(result["notes"])
    for part in (digest[:12], "Trained on: nobody", "Source: a test", "Licence: none",
                 "in its training data are not known", "mean 120, 110, 100"):  # fmt: skip
        assert part in text
    assert "Checkpoint" not in text
    assert "is in the training set" not in text


@pytest.mark.slow
def test_torchscript_and_onnx_of_one_model_agree(root, tmp_path):
    from tests.models.making import Linear, torchscript_section

    path = tiny_torchscript(root / "m.pt", Linear(SIZE))
    script = ModelSpec(model=torchscript_section(path))
    for name, model in (("a", script), ("b", onnx_model(root))):
        evaluate_model(evaluation_spec(), model, root / "pairs", tmp_path / f"{name}.json")
    a, b = (np.load(tmp_path / f"{name}.npz")["scores"] for name in "ab")
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_a_checkpoint_and_its_embeddings_have_the_numbers_of_its_run(root, tmp_path):
    faces = SyntheticFaces(kind="synthetic", identities=8, images=4, difficulty=0.3)
    prepare(TrainDataSpec(image=IMAGE, data=faces), tmp_path / "train", workers=1)
    train(run_spec(epochs=1), tmp_path / "train", tmp_path / "run")
    spec = evaluation_spec()
    known = evaluate(spec, tmp_path / "run", root / "templates", tmp_path / "train",
                     tmp_path / "run.json")  # fmt: skip
    section = {"label": "c", "kind": "checkpoint", "file": str(tmp_path / "run/model.pt")}
    model = ModelSpec.model_validate({"model": section})
    result = evaluate_model(spec, model, root / "templates", tmp_path / "c.json")
    assert result["rows"] == [row for row in known["rows"] if row["subset"] == "all"]
    assert run_spec(epochs=1).id in " ".join(result["notes"])

    from frcore.evaluation.embed import embed
    from frcore.models.own import load_backbone

    data = Prepared.open(root / "templates")
    vectors = embed(load_backbone(tmp_path / "run"), data.images, flip="sum")
    np.save(tmp_path / "e.npy", vectors)
    stored = embeddings_model(files={"templates": str(tmp_path / "e.npy")})
    again = evaluate_model(spec, stored, root / "templates", tmp_path / "e.json")
    assert again["rows"] == result["rows"]
    assert "Image embeddings: as stored" in " ".join(again["notes"])


def test_a_checkpoint_that_names_a_class_of_its_own_imports_nothing(tmp_path, monkeypatch, root):
    import torch

    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    spec = run_spec(epochs=1).model_dump(mode="json")
    spec["backbone"] = {"name": "trap:Backbone", "label": "x"}
    torch.save({"spec": json.dumps(spec), "backbone": {}}, tmp_path / "model.pt")
    section = {"label": "c", "kind": "checkpoint", "file": str(tmp_path / "model.pt")}
    with pytest.raises(UserError, match="would have to be imported"):
        evaluate_model(
            evaluation_spec(), ModelSpec.model_validate({"model": section}), root / "pairs",
            tmp_path / "c.json",
        )  # fmt: skip


def refusal(model: ModelSpec, benchmark: Path, out: Path) -> str:
    with pytest.raises(UserError) as caught:
        evaluate_model(evaluation_spec(), model, benchmark, out)
    assert not out.exists()
    assert not out.with_suffix(".npz").exists()
    return str(caught.value)


def test_another_file_than_the_study_says_is_refused(root, tmp_path):
    message = refusal(onnx_model(root, sha256="0" * 64), root / "pairs", tmp_path / "x.json")
    assert "has the sha256" in message
    digest = hashlib.sha256((root / "m.onnx").read_bytes()).hexdigest()
    evaluate_model(
        evaluation_spec(), onnx_model(root, sha256=digest), root / "pairs", tmp_path / "y.json"
    )


def test_useless_embeddings_are_refused_by_image(root, tmp_path):
    data = Prepared.open(root / "pairs")
    vectors = np.ones((len(data.index), 4), np.float32)
    row = int(data.pairs["a"].iloc[0])
    vectors[row, 2] = np.nan
    np.save(tmp_path / "e.npy", vectors)
    model = embeddings_model(files={"pairs": str(tmp_path / "e.npy")})
    assert data.index["name"][row] in refusal(model, root / "pairs", tmp_path / "x.json")


def test_a_folder_drawn_in_ijbs_layout_is_judged_and_known_to_be_synthetic(tmp_path):
    from frcore.data.ijb.simulate import write_synthetic
    from frcore.study.data import IJB

    write_synthetic(tmp_path / "sim", scale=0.002, dim=16, workers=1)
    data = IJB(kind="ijb", root=str(tmp_path / "sim"), name="ijbc", images=False, fars=(0.1,))
    spec = BenchmarkSpec(name="ijbc", image=IMAGE, data=data)
    assert prepare(spec, tmp_path / "ijbc", workers=1).synthetic
    model = embeddings_model(files={"ijbc": str(tmp_path / "sim/embeddings.npy")})
    result = evaluate_model(evaluation_spec(), model, tmp_path / "ijbc", tmp_path / "e.json")
    (row,) = [row for row in result["rows"] if row["metric"] == "tar"]
    assert row["value"] > 0.5  # rows in another order would be at 0.1


def test_a_benchmark_without_stored_embeddings_is_refused(root, tmp_path):
    np.save(tmp_path / "e.npy", np.ones((3, 4), np.float32))
    model = embeddings_model(files={"pairs": str(tmp_path / "e.npy")})
    message = refusal(model, root / "templates", tmp_path / "x.json")
    assert "no embeddings for 'templates'" in message
    assert [model.model.judges(name) for name in ("pairs", "templates")] == [True, False]


def test_the_spec_survives_the_command_line(root):
    model = onnx_model(root)
    assert ModelSpec.model_validate_json(model.model_dump_json()) == model
    assert expansion.ModelSpec.model_validate_json(model.model_dump_json()).hash == model.hash


@pytest.mark.slow
def test_published_mobilefacenet_on_real_faces(shared_data, tmp_path):
    """A part of config/lfw_models.yaml: 75 pairs, against embeddings of another program."""
    from frcore.data.pixels.images import read_image
    from frcore.evaluation.embed import embed_with
    from frcore.evaluation.evaluate_model import open_network
    from frcore.preflight.load import load_study

    lfw = shared_data / "lfw"
    file = shared_data / "models" / "mobilefacenet_foamliu.onnx"
    if not file.is_file():
        pytest.skip(f"no model at {file}")
    study = load_study("config/lfw_models.yaml", {"lfw": str(lfw), "model": str(file)})
    names = (lfw / "embeddings/names.txt").read_text().split()
    rows = {name: row for row, name in enumerate(names)}
    stored = np.load(lfw / "embeddings/mobilefacenet_foamliu_flipsum_f16.npy").astype(np.float64)
    wanted = {}
    for line in (lfw / "protocol/pairs.txt").read_text().splitlines()[1:601:8]:
        pair = line.split("\t")
        other = pair[0] if len(pair) == 3 else pair[2]
        for person, number in ((pair[0], pair[1]), (other, pair[-1])):
            name = f"{person}/{person}_{int(number):04d}.jpg"
            wanted[name] = read_image(lfw / "aligned-112" / name)
    model = study.models[0]
    out = embed_with(open_network(model), np.stack(list(wanted.values())), flip="sum")
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    known = stored[[rows[name] for name in wanted]]
    cosines = (out * known).sum(axis=1) / np.linalg.norm(known, axis=1)
    # Theirs are of crops that were not compressed as JPEG; nothing else differs.
    assert np.median(cosines) > 0.995
    assert cosines.min() > 0.95
