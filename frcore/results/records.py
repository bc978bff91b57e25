"""Reading what the stages left on disk, and saying of each thing whether it can be used.

A record is used only if it was made by the present study: its spec's hash is the plan's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frcore.machine.faults import raise_refusal
from frcore.results.shapes import Event, Made, Result, Shape, misfit
from frcore.study.expansion import RunSpec
from frcore.text import visible
from frcore.training.run_folder import FAILURE, RESULT, UNFINISHED

Record = dict[str, Any]

USABLE = "ok"
STATUSES = ("ok", "failed", "unfinished", "stale", "unreadable", "not run")


@dataclass(frozen=True)
class Finding:
    """One file or folder of the plan: its content, or why it cannot be used.

    Attributes:
        status: one of `STATUSES`.
        reason: why the status is not `ok`; empty when it is.
        record: the content of the file, as far as it could be read.
    """

    status: str
    reason: str = ""
    record: Record = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether its numbers belong into the tables."""
        return self.status == USABLE


def read_record(path: Path, shape: type[Shape] = Shape) -> Finding:
    """A JSON object; `not run` without the file, `unreadable` when it has another shape."""
    try:
        value = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Finding("not run", "not run")
    # ValueError: no JSON, no UTF-8, or a number of thousands of digits.
    except (OSError, ValueError, RecursionError) as error:
        raise_refusal(error)
        return Finding("unreadable", f"{path.name} cannot be read: {error}")
    if not isinstance(value, dict):
        return Finding("unreadable", f"{path.name} is not a JSON object; delete it and run again")
    wrong = misfit(value, shape)
    if wrong:
        return Finding("unreadable", f"{path.name} is damaged ({wrong}); delete it and run again")
    return Finding(USABLE, record=value)


def _parsed(text: str) -> Any:
    """The value of a JSON text, in which every text can be written to a file again."""
    value = json.loads(text)
    if "\\ud" not in text.lower():
        return value
    # Halves of characters: bytes of file names that are no text.
    return json.loads(
        _HALVES.sub(lambda half: visible(half[0]), json.dumps(value, ensure_ascii=False))
    )


_HALVES = re.compile("[\ud800-\udfff]")


def check_hash(found: Finding, expected: str, key: str = "spec_hash") -> Finding:
    """The same finding, or `stale` where another version of the study made it."""
    if not found.usable or found.record.get(key) == expected:
        return found
    reason = (
        f"stale: made from spec {found.record.get(key)}, but the study now asks for {expected}; "
        "run the study again"
    )
    return Finding("stale", reason, found.record)


def read_run(folder: Path, spec: RunSpec) -> Finding:
    """A training run; its record joins `run.json` and `result.json`.

    A new attempt, or its failure, counts for more than an older result that is of another spec.
    """
    run = check_hash(read_record(folder / "run.json", Made), spec.hash)
    begun = check_hash(read_record(folder / UNFINISHED / "run.json", Made), spec.hash)
    failure = read_record(folder / FAILURE)
    if failure.record.get("spec_hash", spec.hash) != spec.hash:
        failure = Finding("not run")  # of another version of the study: nothing to tell
    result = read_record(folder / RESULT, Result)
    if not run.usable and (begun.usable or failure.usable):
        run, result = Finding(USABLE, record=begun.record), Finding("not run")
    if not run.usable:
        return run
    if result.usable:
        return check_hash(Finding(USABLE, record={**run.record, **result.record}), spec.hash)
    if failure.usable:
        return Finding("failed", _failure_reason(failure.record), run.record)
    if "unreadable" in (result.status, failure.status):
        broken = result if result.status == "unreadable" else failure
        return Finding("unreadable", broken.reason, run.record)
    return Finding("unfinished", "training started and has not finished", run.record)


def _failure_reason(failure: Record) -> str:
    parts = [str(failure[key]) for key in ("error", "diagnosis") if failure.get(key)]
    return " | ".join(parts) or "failed without a message"


def read_events(path: Path) -> list[Record]:
    """The lines of `metrics.jsonl`; a line cut short by a crash ends the list, others are left
    out where they are no events."""
    events: list[Record] = []
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
        if not misfit(event, Event):
            events.append(event)
    return events


def provenance(record: Record) -> Record:
    """The provenance columns of a row: hashes, commit, data, versions, device."""
    environment = record.get("environment") or {}
    data = record.get("data") or {}
    gpu = environment.get("gpu") or {}
    if not isinstance(gpu, dict):
        gpu = {"name": gpu}
    columns: Record = {
        "spec_hash": record.get("spec_hash"),
        "data_sha256": data.get("content_sha256"),
        "commit": environment.get("commit"),
        "platform": environment.get("platform"),
        "cpu": environment.get("cpu"),
        "cores": environment.get("cores"),
        "device": environment.get("device"),
        "gpu_name": None,
        "gpu_driver": None,
        "gpu_power_limit_watts": None,
    }
    columns |= {f"gpu_{key}": value for key, value in gpu.items() if _is_scalar(value)}
    columns |= {f"version_{k}": v for k, v in (environment.get("versions") or {}).items()}
    return columns


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))
