"""Progress of a study while it runs: which jobs are finished, running, waiting or failed.

Read from the files of the stages and the logs of the workflow, so it can be queried at any time,
from another terminal or machine, without disturbing anything.
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from frcore.machine.lifetime import signed
from frcore.machine.processes import Owner
from frcore.records.evaluation import EvaluationRecord
from frcore.records.manifest import Manifest
from frcore.records.measurement import MeasurementRecord
from frcore.results.reading import Finding, Line, Run, check_hash, read, read_events, read_run
from frcore.study import expansion
from frcore.study.config import Study
from frcore.training.run_folder import latest
from frcore.training.run_lock import holder

Status = Literal["finished", "running", "silent", "waiting", "stopped", "failed"]
STATUSES: tuple[Status, ...] = (
    "finished", "running", "silent", "waiting", "stopped", "failed",
)  # fmt: skip

SILENT_SECONDS = 600.0
"""A job on another machine that has written nothing for this long may have been killed."""

_END = re.compile(r"^(stopped:|error:|KeyboardInterrupt\b|\S*(Error|Exception)\b)")
"""How the last log line of a job that did not finish begins."""

_ON_PURPOSE = ("stopped:", "KeyboardInterrupt")
"""Those of a job stopped by a user; the second if it had only just started."""

_GONE = "killed: its process ended without reporting a reason"


@dataclass(frozen=True)
class Job:
    """One job of a study.

    Attributes:
        stage: prepare, train, evaluate, measure or report, like the folders of the logs.
        name: of the data set, run or measurement.
        status: one of `STATUSES`; silent: started on another machine, unfinished, and without a
            sign of life for a while, so it may be dead; stopped: ended by a user or killed, which
            is not a failure: the next call continues.
        reason: why it failed or stopped, or why its output cannot be used; empty otherwise.
        fraction: share that is done, where known (training).
        seconds: wall time it took, or has taken so far; None if unknown.
        quiet: seconds since its last sign of life, while unfinished.
    """

    stage: str
    name: str
    status: Status
    reason: str = ""
    fraction: float | None = None
    seconds: float | None = None
    quiet: float | None = None


def jobs(study: Study, root: Path, logs: Path, *, now: float | None = None) -> list[Job]:
    """Every job of `study`, in the order of the stages.

    Args:
        study: the study.
        root: its results, `results/NAME`.
        logs: the workflow's logs, `logs/NAME`.
        now: seconds since 1970; the current time by default.
    """
    root, logs = Path(root), Path(logs)
    clock = time.time() if now is None else now
    return [_job(stage, name, finding, run, logs, clock)
            for stage, name, finding, run in _findings(study, root)]  # fmt: skip


def _findings(study: Study, root: Path) -> Iterator[tuple[str, str, Finding[Any], Path | None]]:
    """Stage, name, what is on disk, and the folder in which a training runs."""
    data = {"train": expansion.train_data(study).hash} if study.trains else {}
    data |= {name: spec.hash for name, spec in expansion.benchmarks(study).items()}
    for name, spec_hash in data.items():
        found = read(root / "data" / name / "manifest.json", Manifest)
        yield "prepare", name, check_hash(found, spec_hash), None
    for name, run in expansion.runs(study).items():
        folder = root / "runs" / name
        yield "train", name, read_run(folder, run), folder
    evaluation = expansion.evaluation(study).hash
    for name in expansion.runs(study):
        files = [root / "evaluation" / name / f"{benchmark}.json" for benchmark in study.benchmarks]
        parts = [check_hash(read(file, EvaluationRecord), evaluation) for file in files]
        yield "evaluate", name, _least(parts), None
    for label, benchmark in expansion.model_benchmarks(study):
        judged = read(root / "evaluation" / label / f"{benchmark}.json", EvaluationRecord)
        yield "evaluate", f"{label}/{benchmark}", check_hash(judged, evaluation), None
    for name, measurement in expansion.measurements(study).items():
        measured = read(root / "measurement" / f"{name}.json", MeasurementRecord)
        yield "measure", name, check_hash(measured, measurement.hash), None


def _least(findings: Iterable[Finding[Any]]) -> Finding[Any]:
    """The first that is not usable; all must be."""
    found = list(findings)
    return next((finding for finding in found if not finding.usable), found[0])


def _job(stage: str, name: str, finding: Finding[Any], run: Path | None, logs: Path,
         now: float) -> Job:  # fmt: skip
    log = logs / stage / f"{name}.log"
    if finding.usable:
        return Job(stage, name, "finished", seconds=_wall_seconds(log, finding.record))
    growing = latest(run, "metrics.jsonl") if run is not None else None
    written = [_modified(path) for path in (log, growing) if path is not None]
    last = max((moment for moment in written if moment is not None), default=None)
    owners = [signed(line) for line in _lines(log)[:1]] + ([holder(run)] if run else [])
    alive = _alive([owner for owner in owners if owner is not None])
    if not alive:
        if finding.status == "failed":
            return Job(stage, name, "failed", finding.reason)
        if last is None or finding.status == "stale" or _ended_well(log):
            return Job(stage, name, "waiting", finding.reason if finding.status == "stale" else "")
    fraction = _fraction(read_events(growing) if growing is not None else [], finding.record)
    if not alive:
        end = _last_words(log)
        if end or alive is False:
            status: Status = "failed" if end and not end.startswith(_ON_PURPOSE) else "stopped"
            return Job(stage, name, status, end or _GONE, fraction)
    quiet = max(0.0, now - (now if last is None else last))
    return Job(
        stage, name,
        "silent" if quiet > SILENT_SECONDS and not alive else "running",
        fraction=fraction,
        seconds=_since_start(log, now),
        quiet=quiet,
    )  # fmt: skip


def _alive(owners: list[Owner]) -> bool | None:
    """Whether one of the processes named by a job is alive; None if unknown."""
    here = [owner.lives for owner in owners if owner.is_here]
    return True if any(here) else False if here and len(here) == len(owners) else None


def _ended_well(log: Path) -> bool:
    """Whether Snakemake finished the log's job; its output has been removed since."""
    made, done = _modified(log), _modified(log.with_suffix(".tsv"))
    return made is not None and done is not None and done >= made


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _wall_seconds(log: Path, record: object) -> float | None:
    """Snakemake's own benchmark of the job; else the time that the stage recorded."""
    try:
        with log.with_suffix(".tsv").open(encoding="utf-8", newline="") as file:
            return float(next(csv.DictReader(file, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError, TypeError):
        return record.result.seconds if isinstance(record, Run) and record.result else None


def _since_start(log: Path, now: float) -> float | None:
    """A job's log is created when it starts: its creation time, where the system keeps it."""
    try:
        stat = log.stat()
    except OSError:
        return None
    return max(0.0, now - getattr(stat, "st_birthtime", stat.st_ctime))


def _lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _last_words(log: Path) -> str:
    """The last line of the log that reports an error or a stop, as `frcore` and Python write it."""
    return next((line.strip() for line in reversed(_lines(log)[-40:]) if _END.match(line)), "")


def _fraction(events: list[Line], record: object) -> float | None:
    """The share of its epochs that a training has completed."""
    spec = record.begun.spec if isinstance(record, Run) else {}
    epochs = spec.get("training", {}).get("epochs")
    if not epochs:
        return None
    done = [float(event["epoch"]) for event in events if event.get("epoch") is not None]
    return min(1.0, max(done, default=0.0) / float(epochs))


def outlook(found: list[Job], parallel: int) -> float | str:
    """Seconds to the expected end, from how long finished jobs took; or why it is unknown.

    The remaining work of a stage is its unfinished jobs times the mean time of the finished ones,
    less what running jobs have done, with `parallel` jobs at once; measurements run alone.
    """
    left = 0.0
    for stage in dict.fromkeys(job.stage for job in found):
        own = [job for job in found if job.stage == stage]
        open_jobs = [job for job in own if job.status not in ("finished", "failed")]
        if not open_jobs:
            continue
        took = [job.seconds for job in own if job.status == "finished" and job.seconds is not None]
        if not took:
            return f"no job of stage {stage} has finished yet"
        mean = sum(took) / len(took)
        work = sum(mean * (1 - (job.fraction or 0.0)) for job in open_jobs)
        left += work if stage == "measure" else work / max(1, parallel)
    return left
