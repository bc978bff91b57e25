"""One real study through Snakemake; then, in dry runs, what each kind of change repeats."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from frcore.reporting.outputs import paths
from tests.tiny_study import TINY, write_study
from tests.workflow.snake import REPOSITORY, snakemake

pytestmark = pytest.mark.workflow

ARCFACE, ADACOS = TINY["heads"]
RUNS = [
    f"tiny-{head}-{sampler}-s0"
    for head in ("arcface", "adacos")
    for sampler in ("full", "partial_fc")
]
BROKEN = '''\
from frcore.heads.base import Head


class Broken(Head):
    """A head that does not work."""

    def target(self, cosine_N, batch):
        raise RuntimeError("this head is broken on purpose")
'''


def dry_run(folder: Path, *arguments: str | Path, path: Path | None = None) -> set[str]:
    """Jobs that Snakemake would run."""
    done = snakemake(folder, "--dry-run", "--configfile", "study.yaml", *arguments, path=path)
    assert done.code == 0, done.text
    return done.jobs


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny study has run."""
    folder = tmp_path_factory.mktemp("finished")
    write_study(folder)
    done = snakemake(folder, "--cores", "2", "--configfile", "study.yaml")
    assert done.code == 0, done.text
    return folder


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished study, to be changed; copying keeps times, so nothing is stale."""
    return Path(shutil.copytree(finished, tmp_path / "study", symlinks=True))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package to import from, to be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(REPOSITORY / "frcore", tmp_path / "source/frcore", ignore=ignored))


def test_everything_the_report_promises_is_there(finished):
    root = finished / "results/tiny"
    for name, path in paths(root).items():
        assert path.stat().st_size > 0, name
    assert (root / "complete").is_file()
    for run in RUNS:
        assert json.loads((root / f"runs/{run}/result.json").read_text())["status"] == "ok"
        numbers = json.loads((root / f"evaluation/{run}/pairs.json").read_text())
        assert numbers["run"] == run
        assert numbers["rows"]
    page = (root / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("arcface", "adacos", "partial_fc"))


def test_each_job_leaves_a_log_and_a_benchmark(finished):
    logs = finished / "logs/tiny"
    for job in ("prepare/train", "prepare/pairs", f"train/{RUNS[0]}", f"evaluate/{RUNS[0]}",
                "measure/arcface-full", "report"):  # fmt: skip
        assert (logs / f"{job}.log").is_file()
        assert (logs / f"{job}.tsv").read_text().startswith("s\t")


def test_a_second_call_does_nothing(finished):
    done = snakemake(finished, "--cores", "2", "--configfile", "study.yaml")
    assert done.code == 0
    assert done.jobs == set()
    assert "Nothing to be done" in done.text


def test_a_touched_study_repeats_nothing(study):
    path = study / "study.yaml"
    path.write_text("# a comment\n" + path.read_text().replace("scale: 16", "scale: 16.0"))
    assert dry_run(study) == set()


def test_another_margin_repeats_that_head_alone(study):
    write_study(study, heads=[{**ARCFACE, "margin": 0.2}, ADACOS])
    assert dry_run(study) == {
        "train_backbone tiny-arcface-full-s0", "train_backbone tiny-arcface-partial_fc-s0",
        "evaluate_run tiny-arcface-full-s0", "evaluate_run tiny-arcface-partial_fc-s0",
        "measure_step arcface-full", "measure_step arcface-partial_fc", "report_study",
    }  # fmt: skip


def test_another_seed_trains_the_new_runs_only(study):
    jobs = dry_run(study, "--config", "seeds=[0, 1]")
    new = [run.replace("s0", "s1") for run in RUNS]
    trained, evaluated = (
        {f"{rule} {run}" for run in new} for rule in ("train_backbone", "evaluate_run")
    )
    assert jobs == {"report_study", *trained, *evaluated}


def test_a_copied_package_repeats_nothing(study, package):
    assert dry_run(study, path=package.parent) == set()


def test_a_docstring_repeats_nothing(study, package):
    head = package / "heads/arcface.py"
    head.write_text(
        "# another comment\n" + head.read_text().replace('"""ArcFace', '"""The ArcFace')
    )
    assert dry_run(study, path=package.parent) == set()


def test_a_formula_repeats_its_head_alone(study, package):
    head = package / "heads/adacos.py"
    changed = head.read_text().replace("quantile(0.5)", "quantile(0.6)")
    assert changed != head.read_text()
    head.write_text(changed)
    assert dry_run(study, path=package.parent) == {
        "train_backbone tiny-adacos-full-s0", "train_backbone tiny-adacos-partial_fc-s0",
        "evaluate_run tiny-adacos-full-s0", "evaluate_run tiny-adacos-partial_fc-s0",
        "measure_step adacos-full", "measure_step adacos-partial_fc", "report_study",
    }  # fmt: skip


def test_the_reports_code_repeats_the_report_alone(study, package):
    run = package / "reporting/run.py"
    run.write_text(run.read_text() + "\nANOTHER = 1\n")
    assert dry_run(study, path=package.parent) == {"report_study"}


def test_another_bootstrap_evaluates_again_without_training(study):
    write_study(study, evaluation={"flip": "none", "bootstrap": 200})
    assert dry_run(study) == {"report_study", *(f"evaluate_run {run}" for run in RUNS)}


def test_snakemakes_own_report_holds_page_figures_and_tables(finished):
    done = snakemake(finished, "--configfile", "study.yaml", "--report", "report.zip")
    assert done.code == 0, done.text
    with zipfile.ZipFile(finished / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
    assert {"report.html", "accuracy_cost.svg", "accuracy.csv"} <= names


def test_one_broken_head_leaves_the_others_and_a_report(study):
    (study / "broken_head.py").write_text(BROKEN)
    heads = [ARCFACE, ADACOS, {"name": "broken_head:Broken", "label": "broken"}]
    write_study(study, heads=heads, samplers=["full"])
    done = snakemake(study, "--cores", "2", "--configfile", "study.yaml")
    assert done.code != 0
    assert "this head is broken on purpose" in done.text, "the failed job's log is shown"

    root = study / "results/tiny"
    assert not (root / "runs/tiny-broken-full-s0/result.json").exists()
    failure = json.loads((root / "runs/tiny-broken-full-s0/failure.json").read_text())
    assert "broken on purpose" in failure["error"]
    assert not (root / "complete").exists()
    page = (root / "report.html").read_text(encoding="utf-8")
    assert "broken on purpose" in page
    accuracy = (root / "tables/accuracy.csv").read_text()
    assert "arcface" in accuracy
    assert "adacos" in accuracy

    # Taken out again, everything is complete without training anything; only the report is made.
    write_study(study, samplers=["full"])
    again = snakemake(study, "--cores", "2", "--configfile", "study.yaml")
    assert again.code == 0, again.text
    assert again.jobs == {"report_study"}
    assert "broken on purpose" not in (root / "report.html").read_text(encoding="utf-8")
