from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from frcore.backbones import build_backbone
from frcore.errors import UserError
from frcore.files import sha256_of_file
from frcore.preflight.load import load_study, study_to_yaml
from frcore.study import expansion
from frcore.study.section import compact_json
from tests.tiny_study import TINY, write_study

CONFIGS = ("quick", "backends", "gpu")


def refusal(path: Path, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_study(path, overrides)
    return str(caught.value)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_studies_load_and_survive_a_round_trip(repository, tmp_path, name):
    study = load_study(repository / f"config/{name}.yaml")
    assert study.name == name
    copy = tmp_path / "copy.yaml"
    copy.write_text(study_to_yaml(study), encoding="utf-8")
    assert load_study(copy) == study


def test_lfw_asks_for_its_folder_by_the_exact_option(repository, monkeypatch):
    monkeypatch.delenv("FRCORE_LFW", raising=False)
    message = refusal(repository / "config/lfw.yaml")
    assert "--config lfw=FOLDER" in message
    assert "train.root" in message


def test_lfw_loads_with_a_folder_from_option_or_environment(repository, shared_data, monkeypatch):
    folder = str(shared_data / "lfw")
    by_option = load_study(repository / "config/lfw.yaml", {"lfw": folder})
    assert by_option.train.root == folder
    assert {benchmark.root for benchmark in by_option.benchmarks.values()} == {folder}
    monkeypatch.setenv("FRCORE_LFW", folder)
    assert load_study(repository / "config/lfw.yaml") == by_option


def test_lfw_without_its_lists_is_refused_before_anything_runs(repository, tmp_path):
    (tmp_path / "aligned-112").mkdir()
    message = refusal(repository / "config/lfw.yaml", {"lfw": str(tmp_path)})
    assert "train.root" in message
    assert "peopleDevTrain.txt" in message


def test_a_missing_folder_is_named_with_its_key(tmp_path):
    path = write_study(tmp_path, train={"kind": "folder", "root": "no/such/folder"})
    assert "train.root: 'no/such/folder' does not exist" in refusal(path)


def test_a_list_of_pairs_is_found_below_its_root(tmp_path):
    (tmp_path / "faces").mkdir()
    data = {"kind": "folder_pairs", "root": str(tmp_path / "faces"), "pairs": "list.txt"}
    path = write_study(tmp_path, benchmarks={"mine": data})
    assert "benchmarks.mine.pairs: 'list.txt' does not exist" in refusal(path)
    (tmp_path / "faces/list.txt").touch()
    assert load_study(path).benchmarks["mine"].pairs == "list.txt"


# What is wrong, and what the message must say about it: the key, and the way out.
ONNX = {"label": "m", "kind": "onnx", "file": "m.onnx", "colour": "RGB", "mean": 127.5, "std": 128}
NO_TRAINING = dict.fromkeys(("train", "backbones", "heads", "samplers", "training", "measurement"))

MISTAKES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown key": ({"hads": ["arcface"]}, ("hads", "did you mean 'heads'", "Allowed")),
    "unknown key in a section": (
        {"training": {**TINY["training"], "epochz": 3}},
        ("training.epochz", "did you mean 'epochs'"),
    ),
    "unknown key in a kind of data": (
        {"train": {**TINY["train"], "identitys": 3}},
        ("train.identitys", "did you mean 'identities'", "long_tail"),
    ),
    "unknown key in a benchmark": (
        {"benchmarks": {"pairs": {**TINY["benchmarks"]["pairs"], "fold": 3}}},
        ("benchmarks.pairs.fold", "did you mean 'folds'"),
    ),
    "unknown kind": ({"train": {"kind": "synthtic"}}, ("train.kind", "'synthetic'", "lfw")),
    "no kind": ({"train": {"identities": 3}}, ("train.kind", "synthetic", "folder")),
    "missing key": (
        {"training": {"epochs": 1, "batch_size": 4}},
        ("training.learning_rate", "missing"),
    ),
    "missing section": ({"evaluation": None}, ("evaluation", "missing")),
    "out of range": (
        {"training": {**TINY["training"], "epochs": 0}},
        ("training.epochs", "0 given", "greater than or equal to 1"),
    ),
    "wrong type": (
        {"training": {**TINY["training"], "epochs": "many"}},
        ("training.epochs", "'many' given", "integer"),
    ),
    "a number of seeds": ({"seeds": 3}, ("seeds", "for 3 seeds write [0, 1, 2]")),
    "a list without brackets": ({"heads": "arcface"}, ("heads", "write [arcface]")),
    "no space after a colon": ({"image": "size:40"}, ("image", "a space follows the colon")),
    "wrong choice": (
        {"training": {**TINY["training"], "device": "gpu"}},
        ("training.device", "'cpu' or 'cuda'"),
    ),
    "nothing to do": (NO_TRAINING, ("train, backbones, heads, samplers, training", "`models:`")),
    "half a training": ({"samplers": None}, ("samplers: missing", "only evaluates `models`")),
    "no heads": ({"heads": []}, ("heads: missing",)),
    "a measurement of models": (
        {**NO_TRAINING, "models": [ONNX], "measurement": TINY["measurement"]},
        ("measurement", "without heads and samplers"),
    ),
    "unknown kind of model": (
        {"models": [{**ONNX, "kind": "onxn"}]},
        ("models[0].kind", "did you mean 'onnx'", "torchscript"),
    ),
    "no colour": (
        {"models": [{key: ONNX[key] for key in ONNX if key != "colour"}]},
        ("models[0].colour", "missing"),
    ),
    "deviation in terms of 0 to 1": (
        {"models": [{**ONNX, "mean": 0.5, "std": 0.5}]},
        ("models[0]", "multiplied by 255", "123.675"),
    ),
    "mean in terms of 0 to 1": (
        {"models": [{**ONNX, "mean": [0.485, 0.456, 0.406], "std": 1}]},
        ("models[0]", "multiplied by 255"),
    ),
    "no hash": ({"models": [{**ONNX, "sha256": "b7120c"}]}, ("models[0].sha256", "'b7120c'")),
    "a label of two": ({"models": [ONNX, ONNX]}, ("models", "duplicate label 'm'")),
    "a head's label": ({"models": [{**ONNX, "label": "adacos"}]}, ("models", "is also a head's")),
    "embeddings of no benchmark": (
        {"models": [{"label": "e", "kind": "embeddings", "files": {"par": "e.npy"}}]},
        ("models[0].files", "'par' is not a benchmark", "pairs"),
    ),
    "names of no embeddings": (
        {
            "models": [
                {
                    "label": "e",
                    "kind": "embeddings",
                    "files": {"pairs": "e.npy"},
                    "names": {"par": "n.txt"},
                }
            ]
        },
        ("models[0].names", "'par' is not under files"),
    ),
    "published figure of no benchmark": (
        {"models": [{**ONNX, "published": {"par": 99.0}}]},
        ("models[0].published", "'par' is not a benchmark"),
    ),
    "not a list": ({"heads": "arcface"}, ("heads", "'arcface' given", "list")),
    "no name": ({"heads": [{"nme": "arcface"}]}, ("heads[0].name", "missing")),
    "contradiction": (
        {"training": {**TINY["training"], "precision": "bf16"}},
        ("training", "'bf16' needs device 'cuda'"),
    ),
    "split centres, whole matrix": (
        {"training": {**TINY["training"], "center_format": "split", "backend": "dense"}},
        ("training", "center_format 'split' with backend 'dense'", "'streamed'"),
    ),
    "split centres, whole matrix, measured": (
        {"measurement": {**TINY["measurement"], "center_format": "split", "backend": "dense"}},
        ("measurement", "center_format 'split' with backend 'dense'", "'streamed'"),
    ),
    "same label": ({"heads": ["adacos", "adacos"]}, ("heads", "duplicate label 'adacos'")),
    "short sha256": (
        {"models": [{**ONNX, "sha256": "b7120c095d60"}]},
        ("models[0].sha256", "'b7120c095d60' given", "64 digits", "`sha256sum FILE` prints"),
    ),
    "bad label": ({"name": "a-b"}, ("name", "'a-b' given", "'-'")),
    "bad benchmark name": (
        {"benchmarks": {"a b": TINY["benchmarks"]["pairs"]}},
        ("benchmarks.a b", "letters, digits"),
    ),
    "reserved benchmark name": (
        {"benchmarks": {"train": TINY["benchmarks"]["pairs"]}},
        ("benchmarks", "'train'"),
    ),
    "unknown head": ({"heads": ["arcfase"]}, ("heads[0]", "did you mean 'arcface'")),
    "unknown parameter": (
        {"heads": ["adacos", {"name": "arcface", "marginn": 0.1}]},
        ("heads[1]", "marginn", "did you mean 'margin'"),
    ),
    "parameter out of range": (
        {"heads": [{"name": "arcface", "margin": 7}]},
        ("heads[0]", "margin = 7", "less than 3.14"),
    ),
    "missing parameter": ({"samplers": ["partial_fc"]}, ("samplers[0]", "rate is required")),
    "unknown inner sampler": (
        {"samplers": [{"name": "broadface", "size": 8, "over": "partial_fx"}]},
        ("samplers[0].over", "did you mean 'partial_fc'"),
    ),
    "inner parameter": (
        {"samplers": [{"name": "broadface", "size": 8, "over": {"name": "partial_fc", "rate": 2}}]},
        ("samplers[0].over", "rate = 2"),
    ),
    "inner sampler without a name": (
        {"samplers": [{"name": "broadface", "size": 8, "over": {"rate": 0.2}}]},
        ("samplers[0].over", "name"),
    ),
    "unknown backbone": ({"backbones": ["iresnet51"]}, ("backbones[0]", "iresnet50")),
    "unknown module": ({"heads": ["no_such_module:Head"]}, ("no_such_module", "PYTHONPATH")),
    "unknown class": ({"heads": ["frcore.heads.arcface:Arc"]}, ("frcore.heads.arcface", "'Arc'")),
    "unknown input": (
        {"train": {"kind": "folder", "root": "${faces}/train"}, "inputs": {"face": "x"}},
        ("train.root", "'faces'", "did you mean 'face'"),
    ),
}


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_reported_with_its_key_and_the_way_out(tmp_path, mistake):
    changes, expected = MISTAKES[mistake]
    path = write_study(tmp_path, **changes)
    message = refusal(path)
    assert str(path) in message
    for part in expected:
        assert part in message


def test_all_mistakes_of_the_form_are_reported_at_once(tmp_path):
    training = {"epochs": 0, "batch_size": 1, "learning_rate": 0.1}
    message = refusal(write_study(tmp_path, training=training, seeds=[]))
    assert "3 mistakes" in message
    for key in ("training.epochs", "training.batch_size", "seeds"):
        assert key in message


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path):
    path = write_study(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "seeds: [1]"]))
    message = refusal(path)
    assert f"line {len(lines) + 1}" in message
    assert "duplicate key 'seeds'" in message


def test_a_key_that_stands_twice_in_a_section_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("training:\n  epochs: 1\n  epochs: 2\n")
    assert "duplicate key 'epochs'" in refusal(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a: [", "not YAML"), ("- a", "mapping"), ("", "mapping"), ("!!python/tuple [1]", "tags")],
)
def test_a_file_that_is_no_study_is_refused(tmp_path, text, expected):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert expected in refusal(path)


def test_a_missing_file_lists_its_neighbours(tmp_path):
    path = write_study(tmp_path)
    assert str(path) in refusal(tmp_path / "stdy.yaml")


def test_floats_without_a_dot_are_numbers(tmp_path):
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("margin: 0.1", "margin: 1e-1"))
    assert load_study(path).heads[0].parameters["margin"] == 0.1


def test_parameters_have_their_declared_types_so_that_equal_values_have_equal_specs(tmp_path):
    written = [{"name": "arcface", "scale": scale} for scale in (16, 16.0, 1.6e1)]
    loaded = [load_study(write_study(tmp_path, heads=[head])) for head in written]
    texts = {study.model_dump_json() for study in loaded}
    assert len(texts) == 1
    assert '"scale":16.0' in texts.pop()


# --- overrides -----------------------------------------------------------------------------------


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("overrides", "field", "expected"),
    [
        ({"seeds": "[0, 1, 2]"}, "seeds", (0, 1, 2)),
        ({"seeds": [3]}, "seeds", (3,)),
        ({"seeds": "[1e3]"}, "seeds", (1000,)),
        ({"name": "010"}, "name", "010"),  # a text is a text
        ({"name": "'a_b'"}, "name", "a_b"),
        ({"title": "on: the effect of 'yes'"}, "title", "on: the effect of 'yes'"),
    ],
)
def test_overrides_replace_a_key(tmp_path, overrides, field, expected):
    assert getattr(load_study(write_study(tmp_path), overrides), field) == expected


def test_a_mapping_is_merged_and_its_numbers_are_numbers(tmp_path):
    study = load_study(write_study(tmp_path), {"training": "{epochs: 3}"})
    assert study.training.epochs == 3
    assert study.training.batch_size == TINY["training"]["batch_size"]


def test_numbers_inside_components_are_numbers(tmp_path):
    given = "[{name: broadface, size: 8, compensate: false, over: {name: partial_fc, rate: 0.5}}]"
    sampler = load_study(write_study(tmp_path), {"samplers": given}).samplers[0]
    assert sampler.parameters == {
        "size": 8,
        "compensate": False,
        "over": {"name": "partial_fc", "rate": 0.5},
    }


def test_an_unknown_override_is_refused(tmp_path):
    assert "did you mean 'seeds'" in refusal(write_study(tmp_path), {"seed": 1})


def test_an_input_fills_its_placeholder(tmp_path, monkeypatch):
    (tmp_path / "faces/a").mkdir(parents=True)
    path = write_study(
        tmp_path, inputs={"faces": None}, train={"kind": "folder", "root": "${faces}/a"}
    )
    monkeypatch.setenv("FRCORE_FACES", str(tmp_path / "wrong"))
    study = load_study(path, {"faces": str(tmp_path / "faces")})
    assert study.train.root == str(tmp_path / "faces/a")
    assert study.inputs == {"faces": str(tmp_path / "faces")}
    copy = yaml.safe_load(study_to_yaml(study))
    assert copy["train"]["root"] == str(tmp_path / "faces/a")


def test_models_alone_are_a_study_and_files_are_asked_for(tmp_path):
    model = tmp_path / "m.onnx"
    path = write_study(tmp_path, **NO_TRAINING, inputs={"model": None},
                       models=[{**ONNX, "file": "${model}"}])  # fmt: skip
    assert "a file 'model'" in refusal(path)
    assert "--config model=FILE" in refusal(path)
    message = refusal(path, {"model": str(model)})
    assert f"models[0].file: '{model}' does not exist" in message
    model.touch()
    study = load_study(path, {"model": str(model)})
    assert not study.trains
    assert study.models[0].file == str(model)
    assert expansion.runs(study) == {}
    assert expansion.model_benchmarks(study) == [("m", "pairs")]
    assert (expansion.evaluation(study).device, expansion.evaluation(study).threads) == ("cpu", 1)
    with pytest.raises(UserError, match="trains nothing"):
        expansion.train_data(study)
    copy = tmp_path / "copy.yaml"
    copy.write_text(study_to_yaml(study), encoding="utf-8")
    assert load_study(copy) == study


def test_evaluations_run_where_training_does_unless_told(tmp_path):
    training = {**TINY["training"], "threads": 2}
    study = load_study(write_study(tmp_path, training=training))
    assert expansion.evaluation(study).threads == 2
    evaluation = {**TINY["evaluation"], "threads": 3}
    study = load_study(write_study(tmp_path, training=training, evaluation=evaluation))
    assert expansion.evaluation(study).threads == 3


def test_weights_are_hashed_checked_and_named_before_any_job(tmp_path, monkeypatch):
    file = tmp_path / "w.pt"
    torch.save(build_backbone("tiny", image_size=16, dim=16, width=4).state_dict(), file)
    part = {"name": "tiny", "dim": 16, "width": 4, "weights": "${w}", "freeze": ["trunk.0"]}
    path = write_study(tmp_path, inputs={"w": None}, backbones=[part])
    assert "asks for a file 'w'" in refusal(path)
    study = load_study(path, {"w": str(file)})
    (backbone,) = study.backbones
    assert backbone.sha256 == sha256_of_file(file)
    assert (backbone.freeze, backbone.parameters) == (("trunk.0",), {"dim": 16, "width": 4})
    keys = {compact_json(run, places=False) for run in expansion.runs(study).values()}
    assert not any(str(file) in key for key in keys)

    file.write_bytes(file.read_bytes() + b"\0")
    again = {compact_json(run, places=False) for run in
             expansion.runs(load_study(path, {"w": str(file)})).values()}  # fmt: skip
    assert keys.isdisjoint(again), "another file repeats the trainings"
    torch.save({"a": torch.zeros(2)}, file)
    assert "backbones[0].weights: " in refusal(path, {"w": str(file)})
    assert "does not have the weights of backbone 'tiny'" in refusal(path, {"w": str(file)})
    assert "backbones[0].weights: 'nowhere' does not exist" in refusal(path, {"w": "nowhere"})
    for changes, expected in (
        ({"weights": str(file), "sha256": "0" * 64}, "backbones[0].sha256: '"),
        ({"weights": None, "sha256": "0" * 64}, "sha256 given without weights"),
        ({"weights": None, "freeze": ["stem"]}, "backbones[0].freeze: the backbone has no module"),
    ):
        backbones = [{k: v for k, v in {**part, **changes}.items() if v is not None}]
        assert expected in refusal(write_study(tmp_path, backbones=backbones))


def test_a_named_backbone_of_a_model_is_checked(tmp_path):
    (tmp_path / "w.pt").touch()
    model = {"label": "m", "kind": "checkpoint", "file": str(tmp_path / "w.pt")}
    for changes, expected in (
        ({"backbone": "iresnet5"}, "models[0].backbone: unknown backbone 'iresnet5'"),
        ({"backbone": {"name": "iresnet18", "dims": 2}}, "parameter of backbone 'iresnet18'"),
        ({"backbone": "iresnet18"}, "takes images of 112 pixels, but the benchmark has 16"),
        ({"size": 16}, "size given without backbone"),
    ):
        assert expected in refusal(write_study(tmp_path, models=[{**model, **changes}]))
    given = {"backbone": {"name": "iresnet18", "dim": 8}, "size": 16}
    (found,) = load_study(write_study(tmp_path, models=[{**model, **given}])).models
    assert found.side == 16
