"""What `frcore watch` says of a study that is under way."""

from __future__ import annotations

import io
import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console

from frcore.machine.processes import Owner, this_process
from frcore.reporting.watch.progress import SILENT_SECONDS, Job, jobs, outlook
from frcore.reporting.watch.watch import ending, picture
from frcore.study import expansion
from frcore.training.run_lock import RunLock
from tests.reporting.tree import Tree, make_study

NOW = 1_800_000_000.0
PAGE = Path("report.html")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(make_study(), tmp_path / "results" / "toy")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "toy"


def started(logs: Path, stage: str, name: str, text: str = "", *, ago: float = 5.0) -> Path:
    log = logs / stage / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text, encoding="utf-8")
    os.utime(log, (NOW - ago, NOW - ago))
    return log


def seen(tree: Tree, logs: Path) -> dict[tuple[str, str], Job]:
    return {(job.stage, job.name): job for job in jobs(tree.study, tree.root, logs, now=NOW)}


def shown(tree: Tree, found: list[Job]) -> str:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(picture(tree.study, found, now=datetime(2026, 1, 1, 12, 0)))
    return console.export_text()


def begin_training(tree: Tree, logs: Path, name: str, *, ago: float) -> None:
    tree.run(name)
    (tree.root / f"runs/{name}/result.json").unlink()
    metrics = tree.root / f"runs/{name}/metrics.jsonl"
    metrics.write_text(json.dumps({"event": "step", "step": 15, "epoch": 0.75}) + "\n")
    os.utime(metrics, (NOW - ago, NOW - ago))
    started(logs, "train", name, ago=ago)


def test_nothing_has_run_yet(tree: Tree, logs: Path) -> None:
    found = list(seen(tree, logs).values())
    assert {job.status for job in found} == {"waiting"}
    runs, measured = len(expansion.runs(tree.study)), len(expansion.measurements(tree.study))
    stages = [job.stage for job in found]
    assert [stages.count(s) for s in ("prepare", "train", "evaluate", "measure")] == [
        3, runs, runs, measured,
    ]  # fmt: skip
    assert "Nothing is running" in shown(tree, found)


def test_a_finished_study(tree: Tree, logs: Path) -> None:
    tree.everything()
    for name, spec in expansion.benchmarks(tree.study).items():
        tree.manifest(name, spec_hash=spec.hash)
    found = list(seen(tree, logs).values())
    assert {job.status for job in found} == {"finished"}
    assert "Everything is finished" in shown(tree, found)


def test_a_training_says_how_far_it_is(tree: Tree, logs: Path) -> None:
    name = next(iter(expansion.runs(tree.study)))
    begin_training(tree, logs, name, ago=5)
    job = seen(tree, logs)["train", name]
    assert (job.status, job.fraction, job.quiet) == ("running", 0.25, 5.0)  # 0.75 of 3 epochs


def test_a_training_that_was_killed_is_silent(tree: Tree, logs: Path) -> None:
    name = next(iter(expansion.runs(tree.study)))
    begin_training(tree, logs, name, ago=SILENT_SECONDS + 60)
    found = seen(tree, logs)
    assert found["train", name].status == "silent"
    assert "no sign of life for 11 min" in shown(tree, list(found.values()))


def signature(owner: Owner) -> str:
    return f"process {owner.pid} on here ({owner.host}, {owner.started})\n"


def test_a_training_on_this_machine_is_alive_or_not_and_never_silent(tree, logs):
    name, ago = next(iter(expansion.runs(tree.study))), SILENT_SECONDS + 60
    begin_training(tree, logs, name, ago=ago)
    own = this_process()
    started(logs, "train", name, signature(own), ago=ago)
    assert seen(tree, logs)["train", name].status == "running"  # it takes its time
    gone = own._replace(started=own.started - 1000)
    started(logs, "train", name, signature(gone) + "progress\n", ago=1)
    found = seen(tree, logs)
    assert found["train", name].status == "stopped"  # at once
    assert f"stopped train {name}: killed: its process ended" in shown(tree, list(found.values()))
    with RunLock(tree.root / "runs" / name):  # begun again by hand, without a log
        assert seen(tree, logs)["train", name].status == "running"
    started(logs, "train", name, signature(own._replace(host="0" * 8)), ago=ago)
    assert seen(tree, logs)["train", name].status == "silent"


def test_a_job_that_was_done_once_waits_where_its_results_were_removed(tree, logs):
    name = next(iter(expansion.runs(tree.study)))
    own = this_process()
    log = started(logs, "train", name, signature(own._replace(started=own.started - 9)), ago=50)
    assert seen(tree, logs)["train", name].status == "stopped"
    done = log.with_suffix(".tsv")  # which Snakemake writes at the end of a job
    done.write_text("s\th:m:s\n20.5\t0:00:20\n")
    os.utime(done, (NOW - 49, NOW - 49))
    assert seen(tree, logs)["train", name].status == "waiting"


@pytest.mark.parametrize("last", ["stopped: by Ctrl-C (SIGINT); epoch 2 is kept",
                                  "KeyboardInterrupt"])  # fmt: skip
def test_what_somebody_stopped_has_not_failed(tree, logs, last):
    first, second = list(expansion.runs(tree.study))[:2]
    begin_training(tree, logs, first, ago=5)
    started(logs, "train", first, f"{last}\n")
    found = seen(tree, logs)
    assert found["train", first].status == "stopped"
    assert found["train", first].fraction == 0.25
    text = shown(tree, list(found.values()))
    assert f"stopped train {first}: {last.removeprefix('stopped: ')}" in text
    assert "Nothing is running" in text
    told = ending(tree.study, tree.root, logs, PAGE)
    assert told.startswith(f"Nothing failed, but 1 job was stopped, first train {first}: ")
    started(logs, "train", second, "error: no such data\n")
    assert ending(tree.study, tree.root, logs, None).startswith("Stopped on request")
    assert (
        ending(tree.study, tree.root, logs, PAGE)
        == "Something failed. Finished results are in report.html"
    )


def test_a_failure_has_its_reason(tree: Tree, logs: Path) -> None:
    first, second = list(expansion.runs(tree.study))[:2]
    tree.fail(first, error="loss is NaN [bold]at step 7[/]")
    started(logs, "evaluate", second, "progress\nerror: the benchmark is empty\n")
    found = seen(tree, logs)
    assert found["train", first].status == "failed"
    assert found["evaluate", second].reason == "error: the benchmark is empty"
    text = shown(tree, list(found.values()))
    assert "loss is NaN [bold]at step 7[/]" in text  # not taken for markup
    assert "error: the benchmark is empty" in text


def test_results_of_another_study_wait_for_a_repetition(tree: Tree, logs: Path) -> None:
    name = next(iter(expansion.runs(tree.study)))
    tree.run(name)
    tree.json(f"runs/{name}/run.json", {"spec_hash": "other"})
    job = seen(tree, logs)["train", name]
    assert job.status == "waiting"
    assert "stale" in job.reason


def test_wall_time_is_snakemakes_own(tree: Tree, logs: Path) -> None:
    name = next(iter(expansion.runs(tree.study)))
    tree.run(name)
    assert seen(tree, logs)["train", name].seconds == 12.5  # the stage's own word
    started(logs, "train", name).with_suffix(".tsv").write_text("s\th:m:s\n20.5\t0:00:20\n")
    assert seen(tree, logs)["train", name].seconds == 20.5


def test_the_expected_end(tree: Tree) -> None:
    found = [
        Job("train", "a", "finished", seconds=90.0),
        Job("train", "b", "finished", seconds=110.0),
        Job("train", "c", "running", fraction=0.25),
        Job("train", "d", "running", fraction=0.75),
        Job("train", "e", "waiting"),
        Job("measure", "f", "finished", seconds=30.0),
        Job("measure", "g", "waiting"),
        Job("measure", "h", "failed"),
    ]
    # (75 + 25 + 100) s of training two at a time, then one measurement alone.
    assert outlook(found, parallel=2) == pytest.approx(100 + 30)
    assert "Expected end 12:02, in 2 min" in shown(tree, found)
    unknown = outlook([*found, Job("evaluate", "i", "waiting")], parallel=2)
    assert unknown == "no job of stage evaluate has finished yet"
