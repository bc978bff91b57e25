"""The studies of the papers at every scale, on small stand-ins of the formats that they read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frcore.preflight.load import PLACEHOLDER, load_study
from frcore.study.file import read_yaml
from frcore.workflow import Workflow
from tests.data import sources
from tests.data.ijb.folder import as_ijbb

ROOT = Path(__file__).parents[2]
PAPERS = sorted((ROOT / "config/papers").glob("*.yaml"))
SCALES = [(path.stem, scale) for path in PAPERS for scale in read_yaml(path).get("scales", {})]


def sections(node: Any) -> Iterator[dict[str, Any]]:
    """Every data section of a study's file."""
    for value in node.values() if isinstance(node, dict) else ():
        if isinstance(value, dict) and "kind" in value:
            yield value
        yield from sections(value)


def stand_ins(content: dict[str, Any], folder: Path) -> list[str]:
    """Data for every section that reads files; the settings that say where they are."""
    found = set()
    for section in sections(content):
        texts = [text for text in section.values() if isinstance(text, str) and "${" in text]
        for text in texts:
            found |= set(PLACEHOLDER.findall(text))
            place = Path(PLACEHOLDER.sub(lambda name: str(folder / name[1]), text))
            if section["kind"] == "insightface_bin":
                place.parent.mkdir(parents=True, exist_ok=True)
                made = sources.insightface_bin(folder / f"made {len(list(folder.iterdir()))}")
                place.write_bytes(Path(made.section["path"]).read_bytes())
            elif not place.exists():
                getattr(sources, section["kind"])(place)
                if section.get("name") == "ijbb":  # the stand-in is an IJB-C
                    as_ijbb(place)
    return [f"{name}={folder / name}" for name in sorted(found)]


def settings(paper: str, scale: str, folder: Path) -> tuple[Path, list[str]]:
    path = ROOT / f"config/papers/{paper}.yaml"
    content = read_yaml(path)["scales"][scale]
    return path, [f"scale={scale}", *stand_ins(content, folder)]


@pytest.mark.parametrize(("paper", "scale"), SCALES)
def test_a_scale_can_be_planned(tmp_path, monkeypatch, paper, scale):
    path, given = settings(paper, scale, tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = Workflow.load([path], given)
    plan.check_sources()
    assert plan.name == (paper if scale == "laptop" else f"{paper}_{scale}")
    assert plan.runs
    assert plan.study.claims


def test_each_paper_has_three_scales():
    assert {paper for paper, _ in SCALES} == {path.stem for path in PAPERS}
    for path in PAPERS:
        assert {scale for name, scale in SCALES if name == path.stem} >= {"laptop", "lab", "paper"}


def test_noise_is_all_that_partial_fcs_scales_of_wrong_labels_change():
    path = ROOT / "config/papers/partial_fc.yaml"
    clean = load_study(path)
    noise = {"conflict20": (0.2, 0.0), "conflict40": (0.4, 0.0),
             "flip20": (0.0, 0.2), "flip40": (0.0, 0.4)}  # fmt: skip
    for scale, (conflicts, flips) in noise.items():
        study = load_study(path, {"scale": scale})
        assert (study.train.conflicts, study.train.label_flips) == (conflicts, flips)
        same = study.train.model_copy(update={"conflicts": 0.0, "label_flips": 0.0})
        assert same == clean.train
        assert (study.training, study.benchmarks) == (clean.training, clean.benchmarks)


@pytest.mark.long
@pytest.mark.parametrize(("paper", "scale"), SCALES)
def test_snakemake_plans_a_scale(tmp_path, paper, scale):
    path, given = settings(paper, scale, tmp_path)
    command = [sys.executable, "-m", "snakemake", "-n", "-s", str(ROOT / "Snakefile"),
               "-d", str(tmp_path), "--configfile", str(path), "--config", *given]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "train_backbone" in done.stdout + done.stderr
