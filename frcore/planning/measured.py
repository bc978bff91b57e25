"""Measured steps beside their plan: how far the plan is off, and what a step really takes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from frcore.planning.devices import Device
from frcore.planning.step import STATES, Shape, plan_step

SESSION = "steps-*.csv"
"""Rows of benchmarks/gpu_session.py, one file for each device and its conditions."""

STUDY = "measurement.csv"
"""Rows of a study, as `frcore reference` keeps them."""

NEEDED = ("gpu_name", "status", "step_ms", "identities", "batch_size", "dim")

Record = Mapping[Hashable, Any]

DENSE = ("dense", "naive", "insightface")
"""Subjects that run one kernel for each operation; all others are planned as fused."""


@dataclass(frozen=True)
class Measured:
    """One measured step.

    Attributes:
        subject: a backend of frcore, or a peer.
        head: a name.
        shape: what was measured, planned as this subject works.
        step_ms: median.
        memory_gib: peak of torch's allocator; None where it was not read.
        source: the file.
    """

    subject: str
    head: str
    shape: Shape
    step_ms: float
    memory_gib: float | None
    source: Path

    @property
    def kind(self) -> tuple[str, str]:
        """What reaches one efficiency: the subject at a precision."""
        return self.subject, self.shape.precision


@dataclass(frozen=True)
class Comparison:
    """A measured step and what was planned without knowing it.

    Attributes:
        bound_ms: of the plan.
        predicted_ms: the bound over the efficiency of the other rows of its kind.
        others: how many of those there are; with none the bound is the prediction.
    """

    measured: Measured
    bound_ms: float
    predicted_ms: float
    others: int

    @property
    def error(self) -> float:
        """Of the predicted time, relative to the measured one."""
        return self.predicted_ms / self.measured.step_ms - 1

    @property
    def efficiency(self) -> float:
        """Share of the planned rate that was reached."""
        return self.bound_ms / self.measured.step_ms


def measured_rows(folder: Path, device: Device) -> list[Measured]:
    """All usable rows of `device` in the CSV files under `folder`; none where it does not exist."""
    rows: list[Measured] = []
    for path in sorted([*folder.rglob(SESSION), *folder.rglob(STUDY)]):
        frame = pd.read_csv(path)
        if not set(NEEDED) <= set(frame.columns):
            continue
        for record in frame.to_dict("records"):
            row = _measured(record, device, path)
            if row is not None:
                rows.append(row)
    return rows


def _measured(record: Record, device: Device, source: Path) -> Measured | None:
    name = record["gpu_name"]
    if record["status"] != "ok" or not isinstance(name, str) or not device.is_board(name):
        return None
    if _text(record, "disturbed", ""):
        return None  # how far a plan is off cannot be seen where something else took its share
    step_ms = _number(record, "step_ms")
    # A study's rows have the format of their centres, always with momentum.
    state = _text(record, "state", _text(record, "center_format", "fp32"))
    subject = _text(record, "subject", "frcore")
    if subject == "frcore":
        subject = _text(record, "backend", "dense")
    precision = _text(record, "precision", loss_precision(record, subject))
    rate = _number(record, "rate", 1.0)
    # A study's rows name their sampler, and only the full softmax has a known rate.
    if step_ms is None or rate is None or record.get("sampler", "full") != "full":
        return None
    if state not in STATES or precision not in device.tflops:
        return None
    dense = subject in DENSE
    head = _text(record, "head", "")
    shape = Shape(
        identities=int(record["identities"]),
        batch=int(record["batch_size"]),
        dim=int(record["dim"]),
        rate=rate,
        state="fp32" if dense else state,
        statistic=head == "adacos" and not dense,
        precision=precision,
        backend="dense" if dense else "fused",
    )
    peak = _number(record, "allocated_peak_mib")
    memory = None if peak is None else peak / 1024
    return Measured(subject, head, shape, step_ms, memory, source)


def loss_precision(record: Record, subject: str) -> str:
    """Of the loss's operands: what the study asked for, or the backend's own on a GPU."""
    return _text(record, "loss_precision", "bf16" if subject == "triton" else "fp32")


def _number(record: Record, key: str, default: float | None = None) -> float | None:
    value = record.get(key, default)
    if not isinstance(value, (int, float)) or math.isnan(value):
        return default
    return float(value)


def _text(record: Record, key: str, default: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else default


def efficiency(rows: Iterable[Measured], device: Device) -> float | None:
    """Median share of the planned rate that these rows reached; None without rows."""
    reached = [plan_step(row.shape, device).step_ms / row.step_ms for row in rows]
    return statistics.median(reached) if reached else None


def compare(rows: Sequence[Measured], device: Device) -> list[Comparison]:
    """Each row against a prediction from the other rows of its kind."""
    found = []
    for row in rows:
        bound = plan_step(row.shape, device).step_ms
        others = [other for other in rows if other is not row and other.kind == row.kind]
        reached = efficiency(others, device)
        predicted = bound if reached is None else bound / reached
        found.append(Comparison(row, bound, predicted, len(others)))
    return found
