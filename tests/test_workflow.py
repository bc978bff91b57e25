"""What changes for which job, without starting Snakemake; tests/workflow/ starts it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frcore.commands import arguments
from frcore.data.signatures import sign
from frcore.errors import UserError
from frcore.provenance.stages import component_places
from frcore.study.config import Study
from frcore.study.data import Folder
from frcore.study.expansion import RunSpec, model_benchmarks
from frcore.study.resources import Resources
from frcore.workflow import Workflow
from tests.data.sources import SOURCES, Source, moved
from tests.tiny_study import TINY, write_study

ARCFACE, ADACOS = TINY["heads"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # what is remembered goes to the working directory


def load(folder: Path, **changes: Any) -> Workflow:
    return Workflow.load([write_study(folder, **changes)], None)


def compared(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    """What Snakemake compares of every job but code and versions, by the job's name."""
    data = [*(["train"] if workflow.study.trains else []), *workflow.benchmarks]
    return {
        "report": (workflow.key("study"),),
        "evaluation": (workflow.key("evaluation"),),
        **{f"data {n}": (workflow.key("data", n), workflow.data_signature(n)) for n in data},
        **{f"run {run}": (workflow.key("run", run),) for run in workflow.runs},
        **{f"measure {n}": (workflow.key("measurement", n),) for n in workflow.measurements},
        **{
            f"model {model} {name}": (
                workflow.key("model", model), workflow.model_signature(model, name),
            )
            for model, name in model_benchmarks(workflow.study)
        },
    }  # fmt: skip


def changed(before: Workflow, after: Workflow) -> set[str]:
    """Jobs that are new or of which something that Snakemake compares differs."""
    return differ(compared(before), after)


def differ(before: dict[str, tuple[str, ...]], after: Workflow) -> set[str]:
    return {name for name, parts in compared(after).items() if before.get(name) != parts}


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


def test_specs_are_complete_files_and_what_is_compared_is_one_line(tmp_path):
    workflow = load(tmp_path)
    for run, expected in workflow.runs.items():
        assert "\n" not in workflow.key("run", run)
        text = workflow.spec_file("run", run).read_text(encoding="utf-8")
        assert RunSpec.model_validate_json(text) == expected
    given = workflow.spec_file("study").read_text(encoding="utf-8")
    assert Study.model_validate(json.loads(given)) == workflow.study
    assert arguments.parse(Study, str(workflow.spec_file("study"))) == workflow.study
    with pytest.raises(UserError, match="neither JSON nor a file"):
        arguments.parse(Study, "nothing.json")


# --- data and models -----------------------------------------------------------------------------

TRAINING = ("folder", "image_list", "parquet", "tar", "recordio", "lfw")
MODELS = ("onnx_with_tensors", "torchscript", "embeddings")


def with_source(folder: Path, kind: str) -> tuple[Source, Callable[[Path], Workflow], set[str]]:
    """A source in `folder`, the study of it wherever it is moved, and the job that reads it."""
    found = SOURCES[kind](folder / "data")
    job = "model m lfw" if kind in MODELS else "data own"
    job = "data train" if kind in TRAINING else job

    def study(place: Path) -> Workflow:
        section = moved(found.section, folder / "data", place)
        if kind in TRAINING:
            return load(folder, train=section)
        if kind in MODELS:
            names = ("lfw", "cfp") if kind == "embeddings" else ("lfw",)
            benchmarks = dict.fromkeys(names, TINY["benchmarks"]["pairs"])
            return load(folder, benchmarks=benchmarks, models=[section])
        return load(folder, benchmarks={"own": section, **TINY["benchmarks"]})

    return found, study, {job}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_read_repeats_the_job_that_reads_it(tmp_path, kind):
    found, study, job = with_source(tmp_path, kind)
    place, before = tmp_path / "data", compared(study(tmp_path / "data"))
    path = place / found.read[-1]
    content = path.read_bytes()
    assert differ(before, study(place)) == set()

    # Of embeddings, those of another benchmark: see below.
    for name in found.unread if kind != "embeddings" else ():
        (place / name).write_bytes(b"something else")
    for name in found.read:
        (place / name).touch()
    place = place.rename(tmp_path / "elsewhere")
    assert differ(before, study(place)) == set(), "nothing but places and times differ"

    path = place / found.read[-1]
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert differ(before, study(place)) == job


def test_embeddings_of_another_benchmark_repeat_nothing(tmp_path):
    _, study, _ = with_source(tmp_path, "embeddings")
    before = compared(study(tmp_path / "data"))
    (tmp_path / "data/cfp.npy").write_bytes(b"other")
    assert differ(before, study(tmp_path / "data")) == {"model m cfp"}


@pytest.mark.slow
def test_no_path_of_this_machine_is_compared(tmp_path):
    for kind in SOURCES:
        (tmp_path / kind).mkdir()
        _, study, _ = with_source(tmp_path / kind, kind)
        texts = [text for parts in compared(study(tmp_path / kind / "data")).values()
                 for text in parts]  # fmt: skip
        assert not [text for text in texts if str(tmp_path) in text], kind


def test_sources_that_make_the_study_impossible_are_told_before_any_job(tmp_path):
    found, study, _ = with_source(tmp_path, "lfw_view_2")
    workflow = study(tmp_path / "data")
    workflow.check_sources()
    (tmp_path / "data" / found.read[-1]).unlink()
    with pytest.raises(UserError, match=r"(?s)benchmarks.own: images of the list are missing"):
        study(tmp_path / "data").check_sources()


def test_sections_of_the_same_files_share_one_look(tmp_path, monkeypatch):
    section = SOURCES["ijb"](tmp_path / "data").section
    other = {**section, "fars": [0.25]}
    workflow = load(tmp_path, benchmarks={"one": section, "two": other})
    looks = []
    monkeypatch.setattr("frcore.workflow.sign", lambda *a, **b: looks.append(a) or sign(*a, **b))
    workflow.check_sources()
    assert len(looks) == 2, "the training set, which is drawn, and both benchmarks together"
    assert workflow.data_signature("one") == workflow.data_signature("two")


def test_the_study_says_by_what_changes_are_noticed(tmp_path):
    section = SOURCES["folder"](tmp_path / "data").section
    for by, found in (("auto", "content"), ("content", "content"), ("stat", "stat")):
        workflow = load(tmp_path, train=section, signature=by)
        assert workflow.data_signature("train").startswith(f"{found}:")


@pytest.mark.slow
def test_the_command_is_that_of_this_interpreter(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "frcore").mkdir()
    done = subprocess.run(
        [*load(tmp_path).frcore, "heads", "--json"], env={**os.environ, "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "arcface" in done.stdout


@pytest.mark.slow
def test_code_is_the_heads_own(tmp_path):
    workflow = load(tmp_path)
    assert workflow.run_code("tiny-arcface-full-s0") != workflow.run_code("tiny-adacos-full-s0")
    assert workflow.evaluation_code("tiny-arcface-full-s0") == workflow.evaluation_code(
        "tiny-adacos-full-s0"
    )


def test_places_of_a_sampler_over_a_sampler(tmp_path):
    over = {"name": "broadface", "size": 4, "over": {"name": "partial_fc", "rate": 0.5}}
    study = load(tmp_path, samplers=[over]).study
    assert component_places(sampler=study.samplers[0]) == [
        "frcore.samplers.broadface:BroadFace", "frcore.samplers.partial_fc:PartialFC"
    ]  # fmt: skip


def test_without_a_measurement_there_is_none(tmp_path):
    workflow = load(tmp_path, measurement=None)
    assert workflow.measurements == {}
    assert workflow.gpus("measurement") == 0
    assert workflow.measurement_mib() > 0


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1)])
def test_gpus_follow_the_device(tmp_path, device, gpus):
    training = {**TINY["training"], "device": device}
    measurement = {**TINY["measurement"], "device": device}
    workflow = load(tmp_path, training=training, measurement=measurement)
    assert (workflow.gpus("training"), workflow.gpus("measurement")) == (gpus, gpus)


def test_a_training_in_several_processes_takes_as_many_cores_and_gpus(tmp_path):
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 0.1}
    one = load(tmp_path, training={**training, "threads": 2})
    three = load(tmp_path, training={**training, "threads": 2, "processes": 3})
    assert (one.training_threads, three.training_threads) == (2, 6)
    assert three.training_mib("nowhere") > 2 * one.training_mib("nowhere")
    on_gpus = load(tmp_path, training={**training, "processes": 3, "device": "cuda"})
    assert (three.gpus("training"), on_gpus.gpus("training")) == (0, 3)


def test_a_measurement_has_a_gpu_for_each_of_its_processes(tmp_path):
    given = {**TINY["measurement"], "device": "cuda", "identities": [10**6], "dim": 512}
    strong = load(tmp_path, measurement={**given, "processes": [1, 2, 4]})
    weak = load(tmp_path, measurement={**given, "processes": [1, 2, 4], "scaling": "weak"})
    assert (strong.gpus("training"), strong.gpus("measurement")) == (0, 4)
    # Four times 10⁶ × 512 float32 of 1,953 MiB, which are made on the host.
    assert weak.measurement_mib() - strong.measurement_mib() == pytest.approx(3 * 1953, abs=5)


def test_memory_grows_with_the_logits(tmp_path):
    small = load(tmp_path).measurement_mib()
    measurement = {**TINY["measurement"], "identities": [10**6], "batch_size": 512}
    # 10⁶ classes × 512 rows of float32 logits are 1953 MiB; the step holds several such matrices.
    assert load(tmp_path, measurement=measurement).measurement_mib() > small + 3 * 1953


@pytest.mark.slow
def test_memory_of_a_training_counts_its_centres(tmp_path):
    faces = {**TINY["train"], "identities": 10**7, "images": 1}
    backbone = {**TINY["backbones"][0], "dim": 512}
    images = load(tmp_path, train=faces).data_mib("train")
    found = load(tmp_path, train=faces, backbones=[backbone]).training_mib("nowhere")
    # 10⁷ × 512 float32 are 19,531 MiB: centres, momentum, and gradient or checkpoint.
    assert found - images == pytest.approx(3 * 19531 + 2000, abs=10)


def test_processes_of_a_training_are_counted(tmp_path):
    one = load(tmp_path)
    given = {**TINY["training"], "threads": 2, "loader_threads": 2, "processes": 4}
    four = load(tmp_path, training=given)
    assert (four.gpus("training"), four.training_threads) == (0, 4 * 3)
    assert four.training_mib("nowhere") == 4 * one.training_mib("nowhere")
    gpu = load(tmp_path, training={**given, "device": "cuda"})
    assert (gpu.gpus("training"), gpu.gpus("evaluation")) == (4, 1)


def test_the_manifest_counts_the_identities_that_a_study_does_not_name(tmp_path):
    folder = {"kind": "folder", "root": str(tmp_path)}
    resources = Resources(load(tmp_path).study.model_copy(update={"train": Folder(**folder)}))
    manifest = tmp_path / "manifest.json"
    # What Snakemake takes as "not known yet" has the name of the input in it.
    with pytest.raises(FileNotFoundError) as caught:
        resources.training_mib(str(manifest))
    assert caught.value.filename == str(manifest)
    found = []
    for identities in (10, 10 + 2**20):
        manifest.write_text(json.dumps({"identities": identities}))
        found.append(resources.training_mib(str(manifest)))
    assert found[1] - found[0] == 3 * 4 * TINY["backbones"][0]["dim"]


def test_centres_measured_on_a_gpu_are_made_on_the_host(tmp_path):
    given = {**TINY["measurement"], "device": "cuda", "dim": 512}
    many = load(tmp_path, measurement={**given, "identities": [10**7]}).measurement_mib()
    few = load(tmp_path, measurement={**given, "identities": [1000]}).measurement_mib()
    assert many - few == pytest.approx(19530, abs=5)


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
