"""Mistakes that a study shows are told before any job, and by the rule of the code that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from frcore.data.prepare import prepare
from frcore.errors import UserError
from frcore.preflight.load import load_study
from frcore.study import expansion
from frcore.training.train import train
from tests.tiny_study import TINY, write_study

ONNX = {"label": "m", "kind": "onnx", "file": "m.pt", "colour": "RGB", "mean": 127.5, "std": 128}
TORCHSCRIPT = {**ONNX, "kind": "torchscript", "size": 112}
VECTORS: dict[str, Any] = {
    "image": {"size": 6, "alignment": "none"},
    "train": {"kind": "synthetic_identities", "identities": 20, "images": 6},
    "benchmarks": {"pairs": {**TINY["benchmarks"]["pairs"], "kind": "synthetic_identity_pairs"}},
    "backbones": ["mlp"],
}
IJB = {"kind": "ijb", "root": "ijbc", "name": "ijbc", "images": False}


def training(**changes: Any) -> dict[str, Any]:
    return {"training": {**TINY["training"], **changes}}


def trained_on(**changes: Any) -> dict[str, Any]:
    return {"train": {**TINY["train"], **changes}}


def judged_on(**changes: Any) -> dict[str, Any]:
    return {"benchmarks": {"pairs": {**TINY["benchmarks"]["pairs"], **changes}}}


def templates(**changes: Any) -> dict[str, Any]:
    given = {"kind": "synthetic_templates", "identities": 20, "images": 2, "impostor_pairs": 100}
    return {"benchmarks": {"t": {**given, **changes}}}


def measured(**changes: Any) -> dict[str, Any]:
    return {"measurement": {**TINY["measurement"], **changes}}


MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    # 20 identities in ten folds are 2 a fold: 2 × 3 genuine pairs of 3 images, and 9 impostors.
    "more pairs than there are": (
        judged_on(pairs=100, folds=10),
        ("benchmarks.pairs: pairs = 100 needs 10 genuine", "have only 6; at most pairs = 60"),
    ),
    "folds of one person": (judged_on(folds=20), ("1 identities with 3 images have only 0",)),
    "more folds than people": (judged_on(folds=30), ("0 identities with 3 images",)),
    "folds without a pair": (
        judged_on(identities=80, pairs=20, folds=25),
        ("pairs = 20 in 25 folds leaves folds without a pair; raise pairs to at least 25",),
    ),
    # 20 · 19 / 2 pairs of people, 2 × 2 templates each.
    "more impostor pairs than there are": (
        templates(impostor_pairs=761),
        ("benchmarks.t: impostor_pairs = 761", "have only 760"),
    ),
    "conflicts of single images": (
        trained_on(images=1, conflicts=0.5) | training(batch_size=4),
        ("train: conflicts = 0.5 would split 10 identities", "only 0 have two images"),
    ),
    "more flips than images": (
        trained_on(images=2, label_flips=0.6),
        ("train: label_flips = 0.6 would move 24 of 40 images", "use at most 0.5"),
    ),
    "batch larger than the training set": (
        training(batch_size=121),
        ("training: batch_size = 121, but the training set has 120 images; give at most 120",),
    ),
    "a milestone after the end": (
        training(epochs=5, schedule={"kind": "step", "milestones": [3, 5]}),
        ("training: schedule.milestones has 5, but the training has 5 epochs",),
    ),
    "a milestone before the start": (
        training(epochs=5, schedule={"kind": "step", "milestones": [0, 3]}),
        ("training: schedule.milestones has 0",),
    ),
    # 7 steps of 16 images in each of 2 epochs.
    "a queue that is never used": (
        training(epochs=2) | {"samplers": [{"name": "broadface", "size": 16, "warmup": 14}]},
        ("samplers[0]: warmup = 14 steps, but the run has 14", "lower warmup"),
    ),
    "a queue that is never full": (
        training(epochs=2) | {"samplers": ["full", {"name": "broadface", "size": 225}]},
        ("samplers[1]: size = 225, but the run sees 224 images in all", "give at most 224"),
    ),
    # Batches of 16 with at most 6 images of one person have 3 people or more.
    "a rate below the batch's own classes": (
        {"samplers": [{"name": "partial_fc", "rate": 0.15}]},
        ("samplers[0]: rate = 0.15 of 20 classes is 3", "no negative would ever be drawn"),
    ),
    "the same inside of another sampler": (
        {"samplers": [{"name": "interclass_filter", "over": {"name": "partial_fc", "rate": 0.1}}]},
        ("samplers[0]: rate = 0.1 of 20 classes is 2",),
    ),
    "a filter over a filter": (
        {"samplers": [{"name": "interclass_filter", "over": "interclass_filter"}]},
        ("samplers[0]: interclass_filter over a sampler that filters", "keep one of the two"),
    ),
    "torch's optimiser with centres that stand still": (
        training(center_optimizer="torch"),
        ("samplers[1]: center_optimizer 'torch'", "set the sampler's update to 'dense'"),
    ),
    "margins that contradict": (
        {"heads": [{"name": "magface", "l_a": 110.0, "u_a": 10.0}]},
        ("heads[0]: magface with l_a = 110", "l_a < u_a"),
    ),
    "a head that needs three classes": (
        trained_on(identities=2, images=8) | {"samplers": ["full"]},
        ("heads[1]: AdaCos needs at least 3 classes, got 2",),
    ),
    "an image size that a backbone cannot take": (
        {"image": {"size": 40, "alignment": "synthetic"}, "backbones": ["tiny", "iresnet18"]},
        ("backbones[1]: backbone 'iresnet18' cannot take images of 40 px", "set image.size to"),
    ),
    "a patch that is larger than half the image": (
        {"image": {"size": 112, "alignment": "synthetic"},
         "backbones": [{"name": "vit", "model": "tiny", "patch_size": 60}]},
        ("backbones[0]: backbone 'vit' cannot take images of 112 px", "at least 120"),
    ),
    "an image size that the measured backbone cannot take": (
        {"image": {"size": 40, "alignment": "synthetic"}} | measured(backbone="mobilefacenet"),
        ("measurement.backbone: backbone 'mobilefacenet' cannot take images of 40 px",),
    ),
    "batch normalisation of one image": (
        measured(batch_size=1, backbone={"name": "tiny", "width": 4}),
        ("measurement.batch_size: 1 given, but the batch normalisation of tiny needs two",),
    ),
    "mirrored vectors": (
        VECTORS | {"evaluation": {"flip": "sum"}},
        ("training.flip: true given", "no mirror image", "set it to false",
         "evaluation.flip: 'sum' given", "set it to none"),
    ),
    "augmented vectors": (
        VECTORS | training(flip=False, augment={"crop": 0.2}),
        ("training.augment: given, but the data are vectors", "leave it out"),
    ),
    "vectors judged on pictures": (
        VECTORS | training(flip=False) | {"benchmarks": TINY["benchmarks"]},
        ("benchmarks.pairs: kind 'synthetic_pairs' has pictures", "or none"),
    ),
    "more pairs of vectors than there are": (
        VECTORS | training(flip=False)
        | {"benchmarks": {"b": {**VECTORS["benchmarks"]["pairs"], "pairs": 100, "folds": 10}}},
        ("benchmarks.b: pairs = 100 needs 10 genuine",),
    ),
    "a precision that dense does not have": (
        training(backend="dense", loss_precision="bf16"),
        ("training: the loss backend 'dense' with precision 'bf16'", "choose 'streamed'"),
    ),
    "triton on a CPU": (
        measured(backend="triton"),
        ("measurement: the loss backend 'triton'", "'streamed'"),
    ),
    "a model of another size": (
        {"models": [TORCHSCRIPT]},
        ("models[0].size: m.pt takes images of 112 pixels, but the benchmark has 16",),
    ),
    "a benchmark without images": (
        {"benchmarks": {"ijbc": IJB}},
        ("benchmarks.ijbc: images: false, but every trained run is to see them", "images: true"),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


@pytest.mark.fast_cases(8)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_that_the_study_shows_is_told_before_any_job(tmp_path, mistake):
    changes, expected = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        load_study(write_study(tmp_path, **changes))
    for part in expected:
        assert part in str(caught.value)


def test_all_of_them_are_told_at_once(tmp_path):
    path = write_study(
        tmp_path,
        **judged_on(pairs=100),
        **trained_on(images=2, label_flips=0.6),
        **training(backend="dense", loss_precision="bf16"),
        heads=["arcface", {"name": "magface", "l_a": 110.0, "u_a": 10.0}],
    )
    with pytest.raises(UserError) as caught:
        load_study(path)
    message = str(caught.value)
    assert f"{path}: 4 mistakes:\n" in message
    for place in ("benchmarks.pairs: pairs", "train: label_flips", "training: ", "heads[1]: "):
        assert f"\n  {place}" in message
    path = write_study(tmp_path, heads=["arcfase", {"name": "arcface", "margn": 1}])
    with pytest.raises(UserError, match=r"(?s)2 mistakes:.*heads\[0\]: .*heads\[1\]: "):
        load_study(path)


JUST_RIGHT = {
    "as many pairs as there are": judged_on(pairs=60, folds=10),
    "as many impostor pairs as there are": templates(impostor_pairs=760),
    "one batch an epoch": training(batch_size=120) | {"samplers": ["full"]},
    "a queue that is full at the end": {"samplers": [{"name": "broadface", "size": 112}]},
    "a warm-up that ends": {"samplers": [{"name": "broadface", "size": 4, "warmup": 6}]},
    "a queue smaller than a batch": {"samplers": [{"name": "broadface", "size": 1}]},
    "one negative": {"samplers": [{"name": "partial_fc", "rate": 0.2}]},
    "positives alone": {"samplers": [{"name": "partial_fc", "rate": 0}]},
    "torch's optimiser": training(center_optimizer="torch")
    | {"samplers": ["full", {"name": "partial_fc", "rate": 0.5, "update": "dense"}]},
    "a batch of one without a backbone": measured(batch_size=1),
    "the last milestone": training(epochs=5, schedule={"kind": "step", "milestones": [4.9]}),
}


@pytest.mark.fast_cases(5)
@pytest.mark.parametrize("case", JUST_RIGHT)
def test_what_is_just_possible_is_a_study(tmp_path, case):
    load_study(write_study(tmp_path, **JUST_RIGHT[case]))


def test_a_component_of_the_users_own_fails_before_any_job(tmp_path, monkeypatch):
    (tmp_path / "own_broken.py").write_text(
        "from frcore.heads.arcface import ArcFace\n\n\nclass Broken(ArcFace):\n"
        "    def __init__(self, num_classes, *, scale: float = 64.0):\n"
        "        super().__init__(num_classes, scale=scale)\n"
        "        raise ZeroDivisionError('by design')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = write_study(tmp_path, heads=["own_broken:Broken"])
    with pytest.raises(UserError, match=r"heads\[0\]: own_broken:Broken cannot be built: ZeroDiv"):
        load_study(path)


@pytest.mark.slow
def test_a_run_is_refused_by_the_same_rules_before_its_first_epoch(tmp_path):
    study = load_study(write_study(tmp_path))
    prepare(expansion.train_data(study), tmp_path / "data")
    spec = expansion.runs(study)["tiny-arcface-full-s0"]
    large = spec.training.model_copy(update={"batch_size": 121})
    with pytest.raises(UserError, match="batch_size = 121, but the training set has 120 images"):
        train(spec.model_copy(update={"training": large}), tmp_path / "data", tmp_path / "run")
    queue = study.samplers[0].model_validate({"name": "broadface", "size": 113})
    with pytest.raises(UserError, match="sampler: size = 113, but the run sees 112 images"):
        train(spec.model_copy(update={"sampler": queue}), tmp_path / "data", tmp_path / "run")
    assert not (tmp_path / "run/metrics.jsonl").exists()
    # As an older version prepared one identity.
    index = pd.read_parquet(tmp_path / "data/index.parquet")
    index.assign(label=0).to_parquet(tmp_path / "data/index.parquet", index=False)
    with pytest.raises(UserError, match="a training set of 1 class; at least 2 identities"):
        train(spec, tmp_path / "data", tmp_path / "run")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", ["reference", "Reference", "README.md", "readme.MD"])
def test_a_study_is_not_called_like_what_lies_beside_the_studies(tmp_path, name):
    with pytest.raises(UserError, match=rf"name: '{name}' given, but results/ has .* another name"):
        load_study(write_study(tmp_path, name=name))


def test_all_that_is_committed_beside_the_studies_is_reserved(repository: Path, tmp_path):
    listed = subprocess.run(
        ["git", "ls-files", "results"], cwd=repository, capture_output=True, text=True, check=False
    ).stdout.split()
    if not listed:
        pytest.skip("no git here")
    for name in {line.split("/")[1] for line in listed}:
        with pytest.raises(UserError, match="results/ has"):
            load_study(write_study(tmp_path, name=name))
