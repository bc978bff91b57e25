"""Models trained elsewhere through Snakemake: alone, beside a training, and what repeats."""

from __future__ import annotations

import json

import pytest

from frcore.reporting.outputs import paths
from tests.models.making import MEAN, STD, tiny_onnx
from tests.tiny_study import write_study
from tests.workflow.snake import REPOSITORY, Snake, copy_source, snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.grid]

NOTHING = dict.fromkeys(("train", "backbones", "heads", "samplers", "training", "measurement"))


def test_models_are_judged_and_reported(tmp_path):
    copy_source(REPOSITORY, tmp_path / "source")

    def call(*options: str) -> Snake:
        given = ("--configfile", "study.yaml", *options, "--config", f"model={tmp_path / 'm.onnx'}")
        return snakemake(tmp_path, *given, source=tmp_path / "source")

    tiny_onnx(tmp_path / "m.onnx", batch=1)
    model = {"label": "m", "kind": "onnx", "file": "${model}", "colour": "RGB", "mean": list(MEAN),
             "std": list(STD)}  # fmt: skip
    given = {"inputs": {"model": None}, "models": [model]}
    write_study(tmp_path, **NOTHING, **given)
    done = call("--cores", "2")
    assert done.code == 0, done.text
    assert done.jobs == {"prepare_data pairs", "evaluate_model", "report_study"}
    root = tmp_path / "results/tiny"
    numbers = json.loads((root / "evaluation/m/pairs.json").read_text())
    assert numbers["model"]["kind"] == "onnx"
    for name, path in paths(root).items():
        assert path.stat().st_size > 0, name
    assert (root / "complete").is_file()
    assert (tmp_path / "logs/tiny/evaluate/m/pairs.log").is_file()

    again = call("--dry-run")
    assert again.jobs == set()
    # Another mean judges again; a training beside it judges the model no second time.
    write_study(tmp_path, **NOTHING, **{**given, "models": [{**model, "mean": 0}]})
    assert call("--dry-run").jobs == {"evaluate_model", "report_study"}
    write_study(tmp_path, **given, heads=["adacos"], samplers=["full"], measurement=None)
    assert call("--dry-run").jobs == {
        "prepare_data train", "train_backbone tiny-adacos-full-s0",
        "evaluate_run tiny-adacos-full-s0", "report_study",
    }  # fmt: skip
