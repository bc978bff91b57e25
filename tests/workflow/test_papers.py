"""The studies of papers at the scales that need data and GPUs, planned on small stand-ins."""

from __future__ import annotations

import shutil

import pytest

from frcore.preflight.load import load_study
from tests.data import sources
from tests.workflow.snake import REPOSITORY, snakemake

PARTIAL_FC = REPOSITORY / "config/papers/partial_fc.yaml"


@pytest.mark.workflow
@pytest.mark.parametrize(("scale", "trainings", "benchmarks"), [("lab", 10, 3), ("paper", 6, 1)])
def test_partial_fc_is_planned_on_stand_ins(tmp_path, scale, trainings, benchmarks):
    (tmp_path / "rec").mkdir()
    sources.recordio(tmp_path / "rec")
    sources.insightface_bin(tmp_path / "bins")
    for name in ("lfw", "cfp_fp", "agedb_30"):
        shutil.copy(tmp_path / "bins/set.bin", tmp_path / f"bins/{name}.bin")
    sources.ijb(tmp_path / "ijbc")
    inputs = {"lab": "bins=bins", "paper": "ijbc=ijbc"}
    done = snakemake(tmp_path, "--dry-run", "--cores", "8", "--configfile", PARTIAL_FC, "--config",
                     f"scale={scale}", "recordio=rec", inputs[scale])  # fmt: skip
    assert done.code == 0, done.text
    rules = [job.split()[0] for job in done.jobs]
    assert rules.count("train_backbone") == rules.count("evaluate_run") == trainings
    assert rules.count("prepare_data") == benchmarks + 1, set(rules)


def test_noise_is_the_only_difference_between_its_scales_and_the_clean_one():
    clean = load_study(PARTIAL_FC)
    noise = {"conflict20": (0.2, 0.0), "conflict40": (0.4, 0.0),
             "flip20": (0.0, 0.2), "flip40": (0.0, 0.4)}  # fmt: skip
    for scale, (conflicts, flips) in noise.items():
        study = load_study(PARTIAL_FC, {"scale": scale})
        assert study.name == f"partial_fc_{scale}"
        assert (study.train.conflicts, study.train.label_flips) == (conflicts, flips)
        same = study.train.model_copy(update={"conflicts": 0.0, "label_flips": 0.0})
        assert same == clean.train
        assert (study.training, study.benchmarks) == (clean.training, clean.benchmarks)
