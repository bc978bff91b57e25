"""Measured steps compared with their plan: prediction error and achieved efficiency."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from frcore.planning.devices import Device
from frcore.planning.step import plan_step
from frcore.planning.workload import STATES, Workload

SESSION = "steps-*.csv"
"""Rows of benchmarks/gpu_session.py, one file per device and conditions."""

STUDY = "measurement.csv"
"""Rows of a study, as kept by `frcore reference`."""

BENCHMARK = "bench_loss.csv"
"""Rows of benchmarks/bench_loss.py."""

NEEDED = ("status", "step_ms", "identities", "batch_size", "dim")

Record = Mapping[Hashable, Any]

COUNTED_SUBJECTS = {"dense": "dense", "naive": "dense", "insightface": "partial_fc_v2"}
"""Subjects that run one kernel per operation, and the plan's backend for each."""


@dataclass(frozen=True)
class Measured:
    """One measured step.

    Attributes:
        subject: a backend of frcore, or another library.
        head: its name.
        workload: what was measured, with the backend that matches the subject.
        step_ms: median.
        memory_gib: peak of torch's allocator; None if not recorded.
        extra_gib: what a step added to the memory of the process; None if not recorded.
        source: the file.
    """

    subject: str
    head: str
    workload: Workload
    step_ms: float
    memory_gib: float | None
    source: Path
    extra_gib: float | None = None

    @property
    def kind(self) -> tuple[str, str]:
        """Rows of one kind share an efficiency: subject and precision."""
        return self.subject, self.workload.precision


@dataclass(frozen=True)
class Comparison:
    """A measured step and its prediction from the other rows.

    Attributes:
        bound_ms: of the plan.
        predicted_ms: the bound divided by the efficiency of the other rows of its kind.
        others: number of those rows; without any the bound is the prediction.
    """

    measured: Measured
    bound_ms: float
    predicted_ms: float
    others: int

    @property
    def error(self) -> float:
        """Relative error of the predicted time."""
        return self.predicted_ms / self.measured.step_ms - 1

    @property
    def efficiency(self) -> float:
        """Achieved share of the planned rate."""
        return self.bound_ms / self.measured.step_ms


def backend_of(subject: str) -> str:
    """The plan's backend for a backend of frcore or a peer; `fused` where it stores no logits."""
    return COUNTED_SUBJECTS.get(subject, "fused")


def measured_rows(folder: Path, device: Device) -> list[Measured]:
    """All usable rows of `device` in CSV files under `folder`; empty if it does not exist."""
    files = sorted(path for name in (SESSION, STUDY, BENCHMARK) for path in folder.rglob(name))
    frames = ((path, pd.read_csv(path)) for path in files)
    rows = (_measured(record, device, path)
            for path, frame in frames if set(NEEDED) <= set(frame.columns)
            for record in frame.to_dict("records"))  # fmt: skip
    return [row for row in rows if row is not None]


def _measured(record: Record, device: Device, source: Path) -> Measured | None:
    # Disturbed rows say nothing about the accuracy of a plan.
    if record["status"] != "ok" or _text(record, "disturbed", ""):
        return None
    # A study's rows give the format of the centres, always with momentum.
    state = _text(record, "state", _text(record, "center_format", "fp32"))
    subject = _text(record, "subject", "frcore")
    if subject == "frcore":
        subject = _text(record, "backend", "dense")
    precision = loss_precision(record, subject)
    step_ms, rate = _number(record, "step_ms"), _number(record, "rate")
    # A study's rows name their sampler; only for the full softmax is the rate known.
    if step_ms is None or record.get("sampler", "full") != "full":
        return None
    if not device.is_board(_text(record, "gpu_name", _text(record, "cpu", ""))):
        return None
    if state not in STATES or precision not in device.tflops:
        return None
    head, backend = _text(record, "head", ""), backend_of(subject)
    workload = Workload(
        identities=int(record["identities"]),
        batch=int(record["batch_size"]),
        dim=int(record["dim"]),
        rate=1.0 if rate is None else rate,
        state=state if backend == "fused" else "fp32",
        statistic=head == "adacos" and backend == "fused",
        precision=precision,
        backend=backend,
    )
    memory, extra = (
        None if mib is None else mib / 1024
        for mib in (_number(record, "allocated_peak_mib"), _number(record, "rss_extra_mib"))
    )
    return Measured(subject, head, workload, step_ms, memory, source, extra)


def loss_precision(record: Record, subject: str) -> str:
    """Precision of the loss's operands: as recorded, or, of rows older than that column, as asked
    for, or the backend's default on a GPU."""
    default = "bf16" if subject == "triton" else "fp32"
    asked = _text(record, "precision", _text(record, "loss_precision", default))
    return _text(record, "operands", asked)


def _number(record: Record, key: str) -> float | None:
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) and not math.isnan(value) else None


def _text(record: Record, key: str, default: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else default


def efficiency(rows: Sequence[Measured], device: Device) -> float:
    """Median share of the planned rate that the rows achieved."""
    return statistics.median(plan_step(row.workload, device).step_ms / row.step_ms for row in rows)


def compare(rows: Sequence[Measured], device: Device) -> list[Comparison]:
    """Each row against a prediction from the other rows of its kind."""
    found = []
    for row in rows:
        bound = plan_step(row.workload, device).step_ms
        others = [other for other in rows if other is not row and other.kind == row.kind]
        predicted = bound / efficiency(others, device) if others else bound
        found.append(Comparison(row, bound, predicted, len(others)))
    return found
