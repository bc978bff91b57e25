"""`measurement/<head>-<sampler>.json`: speed, memory and energy."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from frcore.records.base import Count, Environment, Number, Record, Text, Whole


class MeasuredRow(Record):
    """One of `rows`: one number of identities and of processes. Values the device cannot measure
    are null, not 0."""

    status: str = "ok"
    """`ok`, `oom`, `failed`"""
    error: Text = None
    """message of a row that is not `ok`"""
    identities: Whole
    """number of class centres, C, of all processes together"""
    processes: Whole = 1
    """number of processes that share the class centres and the batch"""
    rank: Count = None
    """in `ranks`: which of the processes; else null"""
    device: Text = None
    """`cpu` or `cuda`"""
    batch_size: Count = None
    """batch size, N, of all processes together"""
    dim: Count = None
    """dimension of the embeddings, D"""
    backend: Text = None
    """loss backend; with `auto`, the one that was chosen"""
    loss_precision: Text = None
    """as set in the study; null for the backend's default"""
    operands: Text = None
    """what the loss's products were computed from: `fp32`, `tf32` or `bf16`"""
    center_format: Text = None
    """how the centres are stored"""
    inside_timer: Text = None
    """what a timed step includes"""
    disturbed: Text = None
    """how the measurement was disturbed, or null"""
    attempts: Count = None
    """number of attempts"""
    bytes_asked: Count = None
    """bytes requested when memory ran out"""
    warmup_steps: Count = None
    """steps before the timed ones"""
    steady: bool | None = None
    """whether step times had settled by then"""
    cooldown_seconds: Number = None
    """time spent waiting for the GPU to cool"""
    steps: Count = None
    """timed steps"""
    step_ms: Number = None
    """median step time"""
    step_ms_low: Number = None
    """20th percentile"""
    step_ms_high: Number = None
    """80th percentile"""
    images_per_second: Number = None
    """`batch_size` / median step time"""
    efficiency: Number = None
    """time of one process over this one's, for the same work of each process; 1 is ideal"""
    network_percent: Number = None
    """share of the time in collectives, including waiting for slower processes"""
    cpu_ms_per_step: Number = None
    """CPU time of the process"""
    others_cores: Number = None
    """cores used by other programs on average"""
    waited_percent: Number = None
    """share of time in which the process was runnable but had no core"""
    rss_peak_mib: Number = None
    """peak resident memory"""
    rss_extra_mib: Number = None
    """peak resident memory minus that before the first step"""
    allocated_peak_mib: Number = None
    """peak allocated by torch's allocator"""
    reserved_peak_mib: Number = None
    """peak reserved by torch's allocator"""
    nvml_process_mib: Number = None
    """GPU memory used by this process"""
    nvml_device_mib: Number = None
    """GPU memory used by all processes"""
    power_watts: Number = None
    """mean power of the GPU over the steps"""
    power_limit_watts: Number = None
    """power limit of the GPU"""
    energy_mj_per_step: Number = None
    """energy of the GPU per step"""
    energy_seconds: Number = None
    """time over which energy was read"""
    utilisation_percent: Number = None
    """utilisation of the GPU"""
    clock_mhz: Number = None
    """clock of the multiprocessors"""
    temperature_start_celsius: Number = None
    """temperature of the GPU before the steps"""
    temperature_celsius: Number = None
    """highest temperature"""
    throttle_reasons: Text = None
    """names joined by `, `; `none` without throttling"""
    throttled_ms: Number = None
    """time of thermal throttling"""
    other_processes: Count = None
    """other processes on the GPU"""
    notes: list[str] | Text = None
    """why values are null, or null"""


def _with_time(row: MeasuredRow) -> MeasuredRow:
    if row.status == "ok" and not (row.step_ms and row.step_ms > 0):
        raise ValueError(f"status 'ok' needs a step time, but step_ms is {row.step_ms}")
    return row


class MeasurementRecord(Record):
    """`<head>-<sampler>.json`; [measuring.md](measuring.md) explains each column."""

    id: Text = None
    """`<head>-<sampler>`"""
    spec_hash: Text = None
    """hash of the measurement's spec"""
    head: Text = None
    """label of the head"""
    sampler: Text = None
    """label of the sampler"""
    rows: list[Annotated[MeasuredRow, AfterValidator(_with_time)]]
    """one per number of identities and of processes"""
    ranks: list[MeasuredRow] = Field(default_factory=list)
    """what each process measured, of the rows with several"""
    other_attempts: list[MeasuredRow] = Field(default_factory=list)
    """measured rows that were discarded"""
    environment: Environment | None = None
    """where it was measured"""
