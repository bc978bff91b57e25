"""`measurement/<head>-<sampler>.json`: speed, memory and energy."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from frcore.records.base import Count, Environment, Number, Record, Text, Whole


class MeasuredRow(Record):
    """One of `rows`: one number of identities. What the device cannot measure is null, never 0."""

    status: str = "ok"
    """`ok`, `oom`, `failed`"""
    error: Text = None
    """of a row that is not `ok`"""
    identities: Whole
    """class centres, C"""
    device: Text = None
    """`cpu` or `cuda`"""
    batch_size: Count = None
    """N"""
    dim: Count = None
    """of the embeddings, D"""
    backend: Text = None
    """of the loss; where the study lets it be picked, what was"""
    loss_precision: Text = None
    """as the study asks; null is the backend's own"""
    center_format: Text = None
    """how the centres are stored"""
    inside_timer: Text = None
    """what a step consists of"""
    disturbed: Text = None
    """why the row is not of the machine alone, or null"""
    attempts: Count = None
    """how often it was measured"""
    bytes_asked: Count = None
    """of an `oom`"""
    warmup_steps: Count = None
    """before the timed ones"""
    steady: bool | None = None
    """whether step times had settled by then"""
    cooldown_seconds: Number = None
    """waited for the board to cool"""
    steps: Count = None
    """timed"""
    step_ms: Number = None
    """median"""
    step_ms_low: Number = None
    """20th percentile"""
    step_ms_high: Number = None
    """80th percentile"""
    images_per_second: Number = None
    """`batch_size` per median step"""
    cpu_ms_per_step: Number = None
    """processor time of the process"""
    others_cores: Number = None
    """processor time of other programs per time"""
    waited_percent: Number = None
    """share of the time in which the process was ready to run and had no core"""
    rss_peak_mib: Number = None
    """resident memory at its peak"""
    rss_extra_mib: Number = None
    """the same over the state before the first step"""
    allocated_peak_mib: Number = None
    """of torch's allocator"""
    reserved_peak_mib: Number = None
    """of torch's allocator"""
    nvml_process_mib: Number = None
    """of the board, by this process"""
    nvml_device_mib: Number = None
    """of the board, by all"""
    power_watts: Number = None
    """mean of the board over the steps"""
    power_limit_watts: Number = None
    """of the board"""
    energy_mj_per_step: Number = None
    """of the board"""
    energy_seconds: Number = None
    """over which energy was read"""
    utilisation_percent: Number = None
    """of the board"""
    clock_mhz: Number = None
    """of its multiprocessors"""
    temperature_start_celsius: Number = None
    """of the board before the steps"""
    temperature_celsius: Number = None
    """the highest"""
    throttle_reasons: Text = None
    """names joined by `, `; `none` where nothing held the clocks back"""
    throttled_ms: Number = None
    """under heat"""
    other_processes: Count = None
    """on the board"""
    notes: list[str] | Text = None
    """why values are null, or null"""


def _with_time(row: MeasuredRow) -> MeasuredRow:
    if row.status == "ok" and not (row.step_ms and row.step_ms > 0):
        raise ValueError(f"status 'ok' without a step time, but step_ms {row.step_ms}")
    return row


class MeasurementRecord(Record):
    """`<head>-<sampler>.json`; what each column means is in [measuring.md](measuring.md)."""

    id: Text = None
    """`<head>-<sampler>`"""
    spec_hash: Text = None
    """of the measurement"""
    head: Text = None
    """its label"""
    sampler: Text = None
    """its label"""
    rows: list[Annotated[MeasuredRow, AfterValidator(_with_time)]]
    """one per number of identities"""
    other_attempts: list[MeasuredRow] = Field(default_factory=list)
    """rows that were measured and do not stand"""
    environment: Environment | None = None
    """where it was measured"""
