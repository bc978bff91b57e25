"""One real study through Snakemake; then, in dry runs, what each kind of change repeats."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from frcore.machine.lifetime import signed
from frcore.reporting.outputs import paths
from tests.tiny_study import TINY, write_study
from tests.workflow.snake import REPOSITORY, Snake, copy_source, snakemake

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


@dataclass(frozen=True)
class Place:
    """A folder in which the study runs, and the copy of the source that runs it."""

    folder: Path
    source: Path

    def call(self, *arguments: str | Path) -> Snake:
        """Run Snakemake here."""
        given = ("--configfile", "study.yaml", *arguments)
        return snakemake(self.folder, *given, source=self.source)

    @contextlib.contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Snakemake in a process group of its own, as in a terminal; `&` would ignore Ctrl-C."""
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "snakemake"), "--snakefile",
             str(self.source / "Snakefile"), "--configfile", "study.yaml", *arguments],
            cwd=self.folder, env=os.environ | {"PYTHONPATH": str(self.source)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def planned(self, *arguments: str | Path) -> set[str]:
        """Jobs that Snakemake would run."""
        done = self.call("--dry-run", *arguments)
        assert done.code == 0, done.text
        return done.jobs

    def edit(self, module: str, old: str, new: str) -> None:
        """Replace `old` in a file of the package."""
        path = self.source / "frcore" / module
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place in which the tiny study has run."""
    folder = tmp_path_factory.mktemp("finished")
    copy_source(REPOSITORY, folder / "source")
    place = Place(folder / "study", folder / "source")
    place.folder.mkdir()
    write_study(place.folder)
    done = place.call("--cores", "2")
    assert done.code == 0, done.text
    return place


@pytest.fixture
def place(finished: Place, tmp_path: Path) -> Place:
    """A copy of the finished place, to be changed; copying keeps times, so nothing is stale."""
    place = Place(tmp_path / "study", tmp_path / "source")
    shutil.copytree(finished.folder, place.folder, symlinks=True)
    copy_source(finished.source, place.source)
    return place


def test_everything_the_report_promises_is_there(finished):
    root = finished.folder / "results/tiny"
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
    logs = finished.folder / "logs/tiny"
    for job in ("prepare/train", "prepare/pairs", f"train/{RUNS[0]}", f"evaluate/{RUNS[0]}",
                "measure/arcface-full", "report"):  # fmt: skip
        assert (logs / f"{job}.log").is_file()
        assert (logs / f"{job}.tsv").read_text().startswith("s\t")


def test_a_second_call_does_nothing(finished):
    done = finished.call("--cores", "2")
    assert done.code == 0
    assert done.jobs == set()
    assert "Nothing to be done" in done.text


def test_a_touched_study_and_a_docstring_repeat_nothing(place):
    path = place.folder / "study.yaml"
    path.write_text("# a comment\n" + path.read_text().replace("scale: 16", "scale: 16.0"))
    place.edit("heads/arcface.py", '"""ArcFace', '"""The ArcFace')
    place.edit("heads/arcface.py", "\nclass ", "\n# another comment\nclass ")
    assert place.planned() == set()


def test_another_margin_repeats_that_head_alone(place):
    write_study(place.folder, heads=[{**ARCFACE, "margin": 0.2}, ADACOS])
    assert place.planned() == {
        "train_backbone tiny-arcface-full-s0", "train_backbone tiny-arcface-partial_fc-s0",
        "evaluate_run tiny-arcface-full-s0", "evaluate_run tiny-arcface-partial_fc-s0",
        "measure_step arcface-full", "measure_step arcface-partial_fc", "report_study",
    }  # fmt: skip


@pytest.mark.grid
@pytest.mark.long
def test_another_seed_trains_the_new_runs_only(place):
    new = [run.replace("s0", "s1") for run in RUNS]
    trained = {f"train_backbone {run}" for run in new}
    evaluated = {f"evaluate_run {run}" for run in new}
    assert place.planned("--config", "seeds=[0, 1]") == {"report_study", *trained, *evaluated}


@pytest.mark.grid
def test_a_formula_repeats_its_head_alone(place):
    place.edit("heads/adacos.py", "quantile(0.5)", "quantile(0.6)")
    assert place.planned() == {
        "train_backbone tiny-adacos-full-s0", "train_backbone tiny-adacos-partial_fc-s0",
        "evaluate_run tiny-adacos-full-s0", "evaluate_run tiny-adacos-partial_fc-s0",
        "measure_step adacos-full", "measure_step adacos-partial_fc", "report_study",
    }  # fmt: skip


def test_the_reports_code_repeats_the_report_alone(place):
    place.edit("reporting/figures/planned.py", "POINTS = 60", "POINTS = 61")
    assert place.planned() == {"report_study"}


@pytest.mark.grid
def test_another_bootstrap_evaluates_again_without_training(place):
    write_study(place.folder, evaluation={"flip": "none", "bootstrap": 200})
    assert place.planned() == {"report_study", *(f"evaluate_run {run}" for run in RUNS)}


HOSTILE_RST = (
    "`x <javascript:alert(1)>`_\\n\n.. raw:: html\n\n   </script><script>alert(2)</script>\n"
)


def test_snakemakes_own_report_holds_page_figures_and_tables(place):
    write_study(place.folder, question=HOSTILE_RST)
    done = place.call("--report", "report.zip")
    assert done.code == 0, done.text
    with zipfile.ZipFile(place.folder / "report.zip") as archive:
        names = {Path(name).name for name in archive.namelist()}
        [own] = [name for name in archive.namelist() if Path(name).match("*/report.html")
                 and "data" not in Path(name).parts]  # fmt: skip
        page = archive.read(own).decode()
    assert {"report.html", "accuracy_cost.svg", "accuracy.csv"} <= names
    assert "Accuracy against cost" in page
    assert "System Message" not in page, "the texts are proper reStructuredText"
    assert "javascript:alert(1)" in page, "the question is shown as it stands"
    assert "<script>alert" not in page, "nor do the rules' parameters end a script"
    assert 'href="javascript' not in page


@pytest.mark.grid
def test_one_broken_head_leaves_the_others_and_a_report(place):
    (place.folder / "broken_head.py").write_text(BROKEN)
    heads = [ARCFACE, ADACOS, {"name": "broken_head:Broken", "label": "broken"}]
    write_study(place.folder, heads=heads, samplers=["full"])
    done = place.call("--cores", "2")
    assert done.code != 0
    assert "this head is broken on purpose" in done.text, "the failed job's log is shown"

    root = place.folder / "results/tiny"
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
    write_study(place.folder, samplers=["full"])
    again = place.call("--cores", "2")
    assert again.code == 0, again.text
    assert again.jobs == {"report_study"}
    assert "broken on purpose" not in (root / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("number", "whom"),
    [pytest.param(signal.SIGINT, "all", id="Ctrl-C"),
     pytest.param(signal.SIGTERM, "job", id="scancel", marks=pytest.mark.grid),
     pytest.param(signal.SIGKILL, "job", id="kill -9",
                  marks=[pytest.mark.grid, pytest.mark.long])],
)  # fmt: skip
def test_what_is_stopped_is_not_called_a_failure(tmp_path, number, whom):
    copy_source(REPOSITORY, tmp_path / "source")
    place = Place(tmp_path / "study", tmp_path / "source")
    place.folder.mkdir()
    training = TINY["training"] | {"epochs": 100_000}
    write_study(place.folder, heads=[ARCFACE], samplers=["full"], training=training,
                measurement=None)  # fmt: skip
    log = place.folder / f"logs/tiny/train/{RUNS[0]}.log"
    checkpoint = place.folder / f"results/tiny/runs/{RUNS[0]}/checkpoint.pt"
    with place.started("--cores", "2") as process:
        while not checkpoint.exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        owner = signed(log.read_text().splitlines()[0])
        assert owner is not None
        os.killpg(process.pid, number) if whom == "all" else os.kill(owner.pid, number)
        text, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert not owner.lives
    assert "Something failed" not in text
    told = {
        signal.SIGINT: "Stopped on request; finished results are kept.",
        signal.SIGTERM: f"Nothing failed, but 1 job was stopped, first train {RUNS[0]}: by a "
        "scheduler or `kill` (SIGTERM); step ",
        signal.SIGKILL: f"first train {RUNS[0]}: killed: its process ended",
    }
    assert told[number] in text
    assert not list((place.folder / "results").rglob("failure.json"))
    assert "Traceback" not in log.read_text()
    assert checkpoint.exists()
    assert not (place.folder / "results/tiny/complete").exists()


# --- comparisons ---------------------------------------------------------------------------------

MINE = """\
from frcore.heads.arcface import ArcFace


class Mine(ArcFace):
    \"\"\"Not another formula.\"\"\"
"""
AGAINST_ARCFACE = ("compare", "--config", "baseline=arcface")


@pytest.mark.grid
@pytest.mark.long
def test_a_comparison_trains_the_candidate_alone(place):
    (place.folder / "my_heads.py").write_text(MINE)
    mine = "candidate={name: my_heads:Mine, scale: 16, margin: 0.1}"
    new = {
        "train_backbone tiny-Mine-full-s0", "train_backbone tiny-Mine-partial_fc-s0",
        "evaluate_run tiny-Mine-full-s0", "evaluate_run tiny-Mine-partial_fc-s0",
        "measure_step Mine-full", "measure_step Mine-partial_fc",
    }  # fmt: skip
    ours = {"compare_heads", "judge_comparison"}
    assert place.planned(*AGAINST_ARCFACE, mine) == new | ours
    # A head that the study has costs no training at all.
    assert place.planned(*AGAINST_ARCFACE, "candidate=adacos") == ours


@pytest.mark.grid
def test_a_comparison_that_fails_is_written_and_fails_again_until_it_passes(place):
    root = place.folder / "results/tiny"
    page = (root / "report.html").read_bytes()
    given = (*AGAINST_ARCFACE, "candidate=adacos")
    strict = ("strict=true", "tolerance=0.1")  # so few pairs rule out no such loss
    done = place.call("--cores", "2", *given, *strict)
    assert done.code != 0
    assert done.jobs == {"compare_heads", "judge_comparison"}
    assert "adacos against arcface: failed" in done.text, "the verdict is shown"
    folder = root / "comparison"
    assert json.loads((folder / "adacos-vs-arcface.json").read_text())["exit_code"] == 3
    assert "Why it failed" in (folder / "adacos-vs-arcface.html").read_text()
    assert not (folder / "adacos-vs-arcface.passed").exists()
    assert place.planned(*given, *strict) == {"judge_comparison"}

    # The study is as it was: its page, its completeness, and nothing of it is stale.
    assert (root / "report.html").read_bytes() == page
    assert (root / "complete").is_file()
    assert place.planned() == set()

    done = place.call("--cores", "2", *given, "tolerance=99")
    assert done.code == 0, done.text
    assert (folder / "adacos-vs-arcface.passed").is_file()
    assert place.planned(*given, "tolerance=99") == set()


@pytest.mark.grid
@pytest.mark.long
def test_a_changed_candidate_is_trained_again(place):
    (place.folder / "my_heads.py").write_text(MINE)
    given = (*AGAINST_ARCFACE, "candidate=my_heads:Mine", "samplers=[full]", "measurement=")
    done = place.call("--until", "train_backbone", "--cores", "1", *given)
    assert done.code == 0, done.text
    assert "train_backbone tiny-Mine-full-s0" not in place.planned(*given)
    (place.folder / "my_heads.py").write_text(MINE + "\n    first = 1\n")
    assert "train_backbone tiny-Mine-full-s0" in place.planned(*given)
