"""BroadFace's study at the scales that need data and GPUs, planned on small stand-ins."""

from __future__ import annotations

import shutil

import pytest

from frcore.preflight.load import load_study
from tests.data import sources
from tests.data.ijb.folder import as_ijbb
from tests.workflow.snake import REPOSITORY, snakemake

BROADFACE = REPOSITORY / "config/papers/broadface.yaml"
"""Sizes of the queue, and the batch that they belong to, as in the paper's Table 3a."""
PAPER = (512, (2048, 8192, 32768))


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("scale", "benchmarks"), [pytest.param("lab", 3, marks=pytest.mark.long), ("paper", 2)]
)
def test_it_is_planned_on_stand_ins(tmp_path, scale, benchmarks):
    (tmp_path / "rec").mkdir()
    sources.recordio(tmp_path / "rec")
    sources.insightface_bin(tmp_path / "bins")
    for name in ("lfw", "cfp_fp", "agedb_30"):
        shutil.copy(tmp_path / "bins/set.bin", tmp_path / f"bins/{name}.bin")
    sources.ijb(tmp_path / "ijbc")
    shutil.copytree(tmp_path / "ijbc", tmp_path / "ijbb")
    as_ijbb(tmp_path / "ijbb")
    inputs = {"lab": ["bins=bins"], "paper": ["ijbb=ijbb", "ijbc=ijbc"]}
    done = snakemake(tmp_path, "--dry-run", "--cores", "8", "--configfile", BROADFACE, "--config",
                     f"scale={scale}", "recordio=rec", *inputs[scale])  # fmt: skip
    assert done.code == 0, done.text
    rules = [job.split()[0] for job in done.jobs]
    assert rules.count("train_backbone") == rules.count("evaluate_run") == 7
    assert rules.count("measure_step") == 7
    assert rules.count("prepare_data") == benchmarks + 1, set(rules)


def test_a_queue_is_as_old_here_as_in_the_paper():
    """In steps: what compensation has to make up for. Each length with and without it."""
    study = load_study(BROADFACE)
    batch, sizes = PAPER
    queues = [sampler for sampler in study.samplers if sampler.name == "broadface"]
    for compensate in (True, False):
        own = [one.parameters["size"] for one in queues
               if one.parameters.get("compensate", True) is compensate]  # fmt: skip
        steps = [size / study.training.batch_size for size in own]
        assert steps[:3] == [size / batch for size in sizes]
        assert steps[3:] == [128]  # twice as old as any of the paper's
    assert max(study.training.drift.ages) == sizes[-1] / batch


def test_every_head_has_every_sampler_of_the_same_lengths():
    clean, heads = load_study(BROADFACE), load_study(BROADFACE, {"scale": "heads"})
    assert len(heads.heads) >= 4
    assert (heads.training, heads.train, heads.seeds) == (clean.training, clean.train, clean.seeds)
    over = [sampler for sampler in heads.samplers if "over" in sampler.parameters]
    assert [sampler.parameters["over"]["name"] for sampler in over] == ["partial_fc"]
