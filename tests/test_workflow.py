"""What changes for which job, without starting Snakemake; tests/workflow/ starts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from frcore.component_code import component_modules
from frcore.config import Study
from frcore.errors import UserError
from frcore.plan import RunSpec
from frcore.workflow import Workflow
from tests.tiny_study import TINY, write_study

ARCFACE, ADACOS = TINY["heads"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what is remembered goes to the working directory


def load(folder: Path, **changes: Any) -> Workflow:
    return Workflow.load([write_study(folder, **changes)], None)


def specs(workflow: Workflow) -> dict[str, str]:
    """Every job's spec by the job's name."""
    return {
        "report": workflow.study_spec(),
        "evaluation": workflow.evaluation_spec(),
        **{f"data {name}": workflow.data_spec(name) for name in ["train", *workflow.benchmarks]},
        **{f"run {run}": workflow.run_spec(run) for run in workflow.runs},
        **{f"measure {name}": workflow.measurement_spec(name) for name in workflow.measurements},
    }


def changed(before: Workflow, after: Workflow) -> set[str]:
    """Jobs that are new or whose spec differs."""
    old, new = specs(before), specs(after)
    return {name for name, spec in new.items() if old.get(name) != spec}


def test_the_grid_is_complete(tmp_path):
    workflow = load(tmp_path, seeds=[0, 1])
    assert len(workflow.runs) == 2 * 2 * 2
    assert set(workflow.measurements) == {
        "arcface-full", "arcface-partial_fc", "adacos-full", "adacos-partial_fc"
    }  # fmt: skip


def test_another_margin_is_that_heads_alone(tmp_path):
    after = load(tmp_path, heads=[{**ARCFACE, "margin": 0.2}, ADACOS])
    assert changed(load(tmp_path), after) == {
        "report",
        "run tiny-arcface-full-s0", "run tiny-arcface-partial_fc-s0",
        "measure arcface-full", "measure arcface-partial_fc",
    }  # fmt: skip


def test_another_seed_is_new_runs_only(tmp_path):
    assert changed(load(tmp_path), load(tmp_path, seeds=[0, 7])) == {
        "report",
        "run tiny-arcface-full-s7", "run tiny-arcface-partial_fc-s7",
        "run tiny-adacos-full-s7", "run tiny-adacos-partial_fc-s7",
    }  # fmt: skip


def test_the_order_of_heads_changes_the_report_only(tmp_path):
    assert changed(load(tmp_path), load(tmp_path, heads=[ADACOS, ARCFACE])) == {"report"}


def test_the_same_study_written_otherwise_changes_nothing(tmp_path):
    before = load(tmp_path)
    path = tmp_path / "study.yaml"
    path.write_text("# a comment\n" + path.read_text().replace("scale: 16", "scale: 16.0"))
    assert changed(before, Workflow.load([path], None)) == set()


def test_the_bootstrap_changes_evaluation_but_no_run(tmp_path):
    after = load(tmp_path, evaluation={"flip": "none", "bootstrap": 200})
    assert changed(load(tmp_path), after) == {"report", "evaluation"}


def test_specs_are_complete_and_on_one_line(tmp_path):
    workflow = load(tmp_path)
    for run, expected in workflow.runs.items():
        text = workflow.run_spec(run)
        assert "\n" not in text
        assert RunSpec.model_validate_json(text) == expected
    assert Study.model_validate(json.loads(workflow.study_spec())) == workflow.study


def test_code_is_the_heads_own(tmp_path):
    workflow = load(tmp_path)
    assert workflow.run_code("tiny-arcface-full-s0") != workflow.run_code("tiny-adacos-full-s0")
    assert workflow.evaluation_code("tiny-arcface-full-s0") == workflow.evaluation_code(
        "tiny-adacos-full-s0"
    )


def test_modules_of_a_sampler_over_a_sampler(tmp_path):
    over = {"name": "broadface", "size": 4, "over": {"name": "partial_fc", "rate": 0.5}}
    study = load(tmp_path, samplers=[over]).study
    assert component_modules(sampler=study.samplers[0]) == [
        "frcore.samplers.broadface", "frcore.samplers.partial_fc"
    ]  # fmt: skip


def test_without_a_measurement_there_is_none(tmp_path):
    workflow = load(tmp_path, measurement=None)
    assert workflow.measurements == {}
    assert workflow.measurement_gpus == 0
    assert workflow.measurement_mib() > 0


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1)])
def test_gpus_follow_the_device(tmp_path, device, gpus):
    training = {**TINY["training"], "device": device}
    measurement = {**TINY["measurement"], "device": device}
    workflow = load(tmp_path, training=training, measurement=measurement)
    assert (workflow.training_gpus, workflow.measurement_gpus) == (gpus, gpus)


def test_memory_grows_with_the_logits(tmp_path):
    small = load(tmp_path).measurement_mib()
    measurement = {**TINY["measurement"], "identities": [10**6], "batch_size": 512}
    # 10⁶ classes × 512 rows of float32 logits are 1953 MiB; the step holds several such matrices.
    assert load(tmp_path, measurement=measurement).measurement_mib() > small + 3 * 1953


def test_a_checked_study_is_remembered_until_something_changes(tmp_path):
    first = load(tmp_path)
    assert first.study.heads[0].parameters["scale"] == 16.0
    remembered = list(tmp_path.glob(".snakemake/frcore/*.json"))
    assert len(remembered) == 1
    assert load(tmp_path) == first
    assert list(tmp_path.glob(".snakemake/frcore/*.json")) == remembered
    with pytest.raises(UserError, match="margin = 7"):
        load(tmp_path, heads=[{**ARCFACE, "margin": 7}])
    with pytest.raises(UserError, match="margin = 7"):
        load(tmp_path, heads=[{**ARCFACE, "margin": 7}])
    assert list(tmp_path.glob(".snakemake/frcore/*.json")) == remembered


def test_the_last_file_is_the_study(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    files = [write_study(tmp_path), write_study(other, name="other")]
    assert Workflow.load(files, ["seeds=[3]"]).name == "other"
