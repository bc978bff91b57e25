"""The columns of a measurement, as docs/formats.md has them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from frcore.study.expansion import MeasurementSpec


@dataclass(kw_only=True)
class Row:
    """The columns of docs/formats.md. None: the device cannot tell, or the row is not "ok"."""

    status: str = "ok"
    error: str | None = None
    identities: int
    device: str
    batch_size: int
    dim: int
    backend: str | None = None
    loss_precision: str | None = None
    center_format: str = "fp32"
    inside_timer: str | None = None
    disturbed: str | None = None
    attempts: int = 1
    bytes_asked: int | None = None
    warmup_steps: int | None = None
    steady: bool | None = None
    cooldown_seconds: float | None = None
    steps: int
    step_ms: float | None = None
    step_ms_low: float | None = None
    step_ms_high: float | None = None
    images_per_second: float | None = None
    cpu_ms_per_step: float | None = None
    others_cores: float | None = None
    waited_percent: float | None = None
    rss_peak_mib: float | None = None
    rss_extra_mib: float | None = None
    allocated_peak_mib: float | None = None
    reserved_peak_mib: float | None = None
    nvml_process_mib: float | None = None
    nvml_device_mib: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_mj_per_step: float | None = None
    energy_seconds: float | None = None
    utilisation_percent: float | None = None
    clock_mhz: float | None = None
    temperature_start_celsius: float | None = None
    temperature_celsius: float | None = None
    throttle_reasons: str | None = None
    throttled_ms: float | None = None
    other_processes: int | None = None
    notes: str | None = None

    @classmethod
    def of(cls, spec: MeasurementSpec, identities: int) -> Row:
        """A row that knows only what was asked."""
        given = spec.measurement
        return cls(
            identities=identities,
            device=given.device,
            batch_size=given.batch_size,
            dim=given.dim,
            steps=given.steps,
            loss_precision=given.loss_precision,
            center_format=given.center_format,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


MEASURED = tuple(column.name for column in fields(Row) if column.name not in ("status", "error"))
"""All columns but whether it could be measured."""

NUMBERS = frozenset(
    column.name for column in fields(Row) if {"int", "float"} & set(str(column.type).split(" | "))
)
"""Columns that hold numbers."""
