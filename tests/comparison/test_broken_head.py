"""The whole way with real trainings: a head that is wrong fails the run, an equal one passes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml

from frcore.cli import main
from frcore.comparison.spec import ComparisonSpec, comparison_of
from frcore.data.prepare import prepare
from frcore.evaluation.evaluate import evaluate
from frcore.preflight.load import load_study, with_checked_components
from frcore.study import expansion
from frcore.training.train import train
from tests.tiny_study import write_study

pytestmark = pytest.mark.slow

HEADS = '''
from frcore.heads.arcface import ArcFace


class Wrong(ArcFace):
    """A sign is wrong: embeddings are pushed away from their own centre."""

    def target(self, cosine_N, batch):
        return -super().target(cosine_N, batch)


class Same(ArcFace):
    """Nothing is changed but the name."""
'''
STUDY = {
    "train": {"kind": "synthetic", "identities": 100, "images": 8},
    "benchmarks": {
        "pairs": {"kind": "synthetic_pairs", "identities": 60, "images": 4, "pairs": 360,
                  "folds": 4},
    },
    "backbones": [{"name": "tiny", "dim": 32, "width": 8}],
    "heads": [{"name": "arcface", "scale": 16, "margin": 0.1}],
    "samplers": ["full"],
    "seeds": [0, 1, 2],
    "training": {"epochs": 6, "batch_size": 32, "learning_rate": 0.1},
    "measurement": None,
}  # fmt: skip


def run(spec: ComparisonSpec, root: Path) -> None:
    """Train and judge what is not there yet, as the rules would."""
    study = spec.study
    data = root / "data/train"
    for name, part in {"train": expansion.train_data(study), **expansion.benchmarks(study)}.items():
        if not (root / "data" / name).exists():
            prepare(part, root / "data" / name)
    for name, one in expansion.runs(study).items():
        folder = root / "runs" / name
        if not folder.exists():
            train(one, data, folder)
            evaluate(expansion.evaluation(study), folder, root / "data/pairs", data,
                     root / "evaluation" / name / "pairs.json")  # fmt: skip


def test_a_wrong_head_fails_and_an_equal_one_passes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "heads_to_compare.py").write_text(HEADS)
    path, root = write_study(tmp_path, **STUDY), tmp_path / "results/tiny"
    study = load_study(path)
    codes, texts = {}, {}
    for name in ("Wrong", "Same"):
        candidate = {"name": f"heads_to_compare:{name}", "scale": 16, "margin": 0.1}
        given = {"candidate": candidate, "baseline": "arcface"}
        run(comparison_of(study, given, check=with_checked_components), root)
        written = yaml.safe_dump(candidate, default_flow_style=True)
        arguments = ["--study", path, "--candidate", written, "--baseline", "arcface",
                     "--metric", "pairs.accuracy"]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["frcore", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        codes[name], texts[name] = stopped.value.code, capsys.readouterr().out
    assert codes == {"Wrong": 3, "Same": 0}, texts
    assert "pairs: accuracy, Wrong + full on tiny: regression" in texts["Wrong"].replace("\n", " ")
    runs = [root / f"runs/tiny-{head}-full-s0/model.pt" for head in ("arcface", "Same")]
    weights = [torch.load(run, weights_only=True)["backbone"] for run in runs]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
