"""The programme that kills studies: what it compares, and a few kills for real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.kills import STUDY, differences, passes

ROOT = Path("results") / STUDY["name"]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The files of a study, in miniature."""
    root = tmp_path / "undisturbed" / ROOT
    for folder in ("runs/a", "evaluation/a", "measurement", "rows", "tables", "figures"):
        (root / folder).mkdir(parents=True)
    (root / "runs/a/result.json").write_text(json.dumps({"final_loss": 1.5, "seconds": 3.0}))
    (root / "runs/a/metrics.jsonl").write_text('{"loss": 2.0, "images_per_second": 9.0}\n')
    torch.save({"w": torch.ones(3), "seconds": 3.0}, root / "runs/a/model.pt")
    np.savez(root / "evaluation/a/pairs.npz", scores=np.zeros(4))
    measured = {"id": "m", "spec_hash": "h", "rows": [{"identities": 50, "step_ms": 1.0}]}
    (root / "measurement/m.json").write_text(json.dumps(measured))
    (root / "tables/accuracy.csv").write_text("head,value\narcface,0.5\n")
    (root / "rows/training.csv").write_text("run,final_loss,seconds\na,1.5,3.0\n")
    (root / "figures/roc.svg").write_text("<svg/>")
    return tmp_path / "undisturbed"


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """The same study, once more."""
    return Path(shutil.copytree(finished, tmp_path / "again"))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_times_may_differ(finished, again):
    root = again / ROOT
    replace(root / "runs/a/result.json", "3.0", "4.0")
    replace(root / "runs/a/metrics.jsonl", "9.0", "7.0")
    replace(root / "measurement/m.json", "1.0", "2.0")
    replace(root / "rows/training.csv", "3.0", "4.0")
    torch.save({"w": torch.ones(3), "seconds": 4.0}, root / "runs/a/model.pt")
    replace(root / "figures/roc.svg", "svg", "svg id='1'")
    assert differences(again, finished) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("runs/a/result.json", "1.5", "1.6"),
        ("runs/a/metrics.jsonl", "2.0", "2.1"),
        ("measurement/m.json", "50", "51"),
        ("tables/accuracy.csv", "0.5", "0.51"),
        ("rows/training.csv", "1.5", "1.6"),
    ],
)
def test_nothing_else_may(finished, again, name, old, new):
    replace(again / ROOT / name, old, new)
    assert differences(again, finished) == [f"another content: {name}"]


def test_nor_weights_scores_and_names(finished, again):
    root = again / ROOT
    torch.save({"w": torch.full((3,), 1.0000001)}, root / "runs/a/model.pt")
    np.savez(root / "evaluation/a/pairs.npz", scores=np.full(4, 1e-9))
    (root / "figures/roc.svg").unlink()
    (root / "runs/.a-half").mkdir()
    (again / "logs").mkdir()
    (again / "logs/train.log").touch()
    assert differences(again, finished) == [
        f"left over: {ROOT}/figures",
        f"left over: {ROOT}/runs/.a-half",
        f"missing: {ROOT}/figures/roc.svg",
        "another content: evaluation/a/pairs.npz",
        "another content: runs/a/model.pt",
    ]


@pytest.mark.workflow
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_study_that_is_killed_has_the_results_of_one_that_is_not(tmp_path):
    for _, killer, wrong in passes(tmp_path, kills=6, seed=0, cores=2):
        assert wrong == [], killer.kills
    assert len(killer.kills) >= 6
