"""Reading the stages' output files, each once, and checking whether they can be used.

A record is used only if it belongs to the present study, i.e. its spec hash matches the plan's.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from frcore.machine.faults import raise_refusal
from frcore.records.base import Environment, Record, first_problem
from frcore.records.comparison import ComparisonRecord
from frcore.records.diagnostics import DiagnosticsRecord
from frcore.records.evaluation import EvaluationRecord
from frcore.records.manifest import Manifest
from frcore.records.measurement import MeasurementRecord
from frcore.records.metrics import EVENTS, Event
from frcore.records.run import FailureRecord, ResultRecord, RunRecord
from frcore.study import expansion
from frcore.study.config import Study
from frcore.study.expansion import RunSpec
from frcore.text import visible
from frcore.training.run_folder import FAILURE, RESULT, UNFINISHED

ABSENT = (
    "trained by a version that did not diagnose class centres; train it again for diagnostics.json"
)

USABLE = "ok"
STATUSES = ("ok", "failed", "unfinished", "stale", "unreadable", "not run")

Content = TypeVar("Content")
Line = dict[str, Any]


@dataclass(frozen=True)
class Finding(Generic[Content]):
    """One file or folder of the plan: its content, or why it cannot be used.

    Attributes:
        status: one of `STATUSES`.
        reason: why the status is not `ok`; else empty.
        record: the content, as far as it could be read.
    """

    status: str
    reason: str = ""
    record: Content | None = None

    @property
    def usable(self) -> Content | None:
        """The content, if its numbers belong in the tables."""
        return self.record if self.status == USABLE else None


@dataclass(frozen=True)
class Run:
    """What a training wrote at its start and at its end."""

    begun: RunRecord
    result: ResultRecord | None = None


@dataclass(frozen=True)
class StudyFiles:
    """All output of a study's stages, with a reason for whatever cannot be used.

    Evaluations and diagnostics are usable only if their run is.

    Attributes:
        data: by name of the data set; `train` is the training set.
        runs: by run.
        events: the lines of `metrics.jsonl` of each finished run.
        diagnostics: by run.
        evaluations: by run, or label of a model trained elsewhere, and benchmark.
        measurements: by measurement.
        strays: runs and measurements on disk that are not part of the study; they are ignored.
    """

    data: Mapping[str, Finding[Manifest]] = field(default_factory=dict)
    runs: Mapping[str, Finding[Run]] = field(default_factory=dict)
    events: Mapping[str, list[Line]] = field(default_factory=dict)
    diagnostics: Mapping[str, Finding[DiagnosticsRecord]] = field(default_factory=dict)
    evaluations: Mapping[tuple[str, str], Finding[EvaluationRecord]] = field(default_factory=dict)
    measurements: Mapping[str, Finding[MeasurementRecord]] = field(default_factory=dict)
    strays: tuple[str, ...] = ()


def read_study(study: Study, root: Path) -> StudyFiles:
    """All files of the study's plan that exist under `root` (`results/<study>`)."""
    specs, models = expansion.runs(study), expansion.models(study)
    runs = {name: read_run(root / "runs" / name, spec) for name, spec in specs.items()}
    finished = [name for name, run in runs.items() if run.usable]
    sets = (*(["train"] if study.trains else []), *study.benchmarks)
    hashes = {name: spec.hash for name, spec in (*specs.items(), *models.items())}
    judged = [(name, benchmark) for name in specs for benchmark in study.benchmarks]
    judged += expansion.model_benchmarks(study)
    return StudyFiles(
        data={name: read(root / "data" / name / "manifest.json", Manifest) for name in sets},
        runs=runs,
        events={name: read_events(root / "runs" / name / "metrics.jsonl") for name in finished},
        diagnostics={
            name: _untrained(run) or _read_diagnostics(root / "runs" / name, specs[name].hash)
            for name, run in runs.items()
        },
        evaluations={
            (name, benchmark): _untrained(runs.get(name))
            or _read_evaluation(study, root, name, benchmark, hashes[name])
            for name, benchmark in judged
        },
        measurements={
            name: check_hash(read(root / "measurement" / f"{name}.json", MeasurementRecord),
                             spec.hash)
            for name, spec in expansion.measurements(study).items()
        },
        strays=_strays(study, root),
    )  # fmt: skip


Of = TypeVar("Of", bound=Record)


def read(path: Path, model: type[Of]) -> Finding[Of]:
    """A record; `not run` if the file is missing, `unreadable` if it is invalid."""
    try:
        value = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Finding("not run", "not run")
    # ValueError: not JSON, not UTF-8, or a number with thousands of digits.
    except (OSError, ValueError, RecursionError) as error:
        raise_refusal(error)
        return Finding("unreadable", f"{path.name} cannot be read: {error}")
    if not isinstance(value, dict):
        return Finding("unreadable", f"{path.name} is not a JSON object; delete it and run again")
    try:
        return Finding(USABLE, record=model.model_validate(value))
    except ValidationError as error:
        wrong = first_problem(error)
        return Finding("unreadable", f"{path.name} is damaged ({wrong}); delete it and run again")


def _parsed(text: str) -> Any:
    """The value of a JSON text, with all strings encodable as UTF-8."""
    value = json.loads(text)
    if "\\ud" not in text.lower():
        return value
    # Lone surrogates: undecodable bytes of file names.
    return json.loads(
        _HALVES.sub(lambda half: visible(half[0]), json.dumps(value, ensure_ascii=False))
    )


_HALVES = re.compile("[\ud800-\udfff]")


def check_hash(found: Finding[Of], expected: str, key: str = "spec_hash") -> Finding[Of]:
    """The same finding, or `stale` if it was made for another version of the study."""
    given = getattr(found.record, key, None)
    if not found.usable or given == expected:
        return found
    reason = f"stale: made from spec {given}, but the study now has {expected}; run the study again"
    return Finding("stale", reason, found.record)


def read_run(folder: Path, spec: RunSpec) -> Finding[Run]:
    """A training run.

    A new attempt, or its failure, takes precedence over an older result of another spec.
    """
    run = check_hash(read(folder / "run.json", RunRecord), spec.hash)
    begun = check_hash(read(folder / UNFINISHED / "run.json", RunRecord), spec.hash)
    failure = read(folder / FAILURE, FailureRecord)
    if failure.record and failure.record.spec_hash not in (None, spec.hash):
        failure = Finding("not run")  # of another version of the study: ignored
    result = read(folder / RESULT, ResultRecord)
    if not run.usable and (begun.usable or failure.usable):
        run, result = Finding(USABLE, record=begun.record or RunRecord()), Finding("not run")
    if not run.usable:
        return Finding(run.status, run.reason, Run(run.record) if run.record else None)
    own = Run(run.usable, result.usable)
    if result.usable:
        checked = check_hash(result, spec.hash)
        return Finding(checked.status, checked.reason, own)
    if failure.usable:
        parts = [str(part) for part in (failure.usable.error, failure.usable.diagnosis) if part]
        return Finding("failed", " | ".join(parts) or "failed without a message", own)
    if "unreadable" in (result.status, failure.status):
        reason = result.reason if result.status == "unreadable" else failure.reason
        return Finding("unreadable", reason, own)
    return Finding("unfinished", "training started and has not finished", own)


def read_events(path: Path) -> list[Line]:
    """The lines of `metrics.jsonl`, up to one truncated by a crash; lines that are not events are
    skipped."""
    events: list[Line] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise_refusal(error)
        return events
    for line in text.splitlines():
        try:
            event = _parsed(line)
        except (ValueError, RecursionError):
            break
        kind = event.get("event") if isinstance(event, dict) else None
        if isinstance(kind, str):
            with contextlib.suppress(ValidationError):
                EVENTS.get(kind, Event).model_validate(event)
                events.append(event)
    return events


def _untrained(run: Finding[Run] | None) -> Finding[Any] | None:
    """Why nothing of a run can be used, if so; a model trained elsewhere has no run."""
    return Finding(run.status, f"training: {run.reason}") if run and not run.usable else None


def _read_diagnostics(folder: Path, spec_hash: str) -> Finding[DiagnosticsRecord]:
    found = check_hash(read(folder / "diagnostics.json", DiagnosticsRecord), spec_hash)
    return Finding("not run", ABSENT) if found.status == "not run" else found


def _read_evaluation(
    study: Study, root: Path, name: str, benchmark: str, judged_hash: str
) -> Finding[EvaluationRecord]:
    """The evaluation of a run or model, if it matches the study's evaluation and the given spec."""
    found = read(root / "evaluation" / name / f"{benchmark}.json", EvaluationRecord)
    found = check_hash(found, expansion.evaluation(study).hash)
    if found.record and found.record.run_spec_hash is not None:
        found = check_hash(found, judged_hash, "run_spec_hash")
    if not found.usable:
        return Finding(found.status, f"evaluation: {found.reason}", found.record)
    return found


def _strays(study: Study, root: Path) -> tuple[str, ...]:
    expected = {
        "runs": set(expansion.runs(study)),
        "measurement": {f"{name}.json" for name in expansion.measurements(study)},
    }
    for path in (root / "comparison").glob("*.json"):
        # Runs and measurements of `frcore compare` are reported by the comparison.
        if compared := read(path, ComparisonRecord).record:
            expected["runs"].update(compared.runs)
            expected["measurement"].update(f"{name}.json" for name in compared.measurements)
    return tuple(
        f"{folder}/{path.name}"
        for folder, known in expected.items()
        for path in sorted((root / folder).glob("*"))
        if path.name not in known and not path.name.startswith(".")
    )


def provenance(
    record: RunRecord | EvaluationRecord | MeasurementRecord | None,
) -> dict[str, Any]:
    """The provenance columns of a row: hashes, commit, data, versions, device."""
    environment = (record and record.environment) or Environment()
    gpu = environment.gpu or {}
    known: dict[str, Any] = {"name": None, "driver": None, "power_limit_watts": None}
    known |= gpu if isinstance(gpu, dict) else {"name": gpu}
    return {
        "spec_hash": record and record.spec_hash,
        "data_sha256": getattr(getattr(record, "data", None), "content_sha256", None),
        **{name: getattr(environment, name)
           for name in ("commit", "platform", "cpu", "cores", "device")},
        **{f"gpu_{key}": value for key, value in known.items() if _is_scalar(value)},
        **{f"version_{name}": version for name, version in environment.versions.items()},
    }  # fmt: skip


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
