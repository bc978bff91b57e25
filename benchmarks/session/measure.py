"""One row: a case measured in the process that calls this, which should be a fresh one."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.session.cases import Case
from benchmarks.session.machine import triton_version
from benchmarks.session.peers import InsightfaceStep, PeerStep
from benchmarks.session.steps import OurStep, Step
from frcore.loss.triton.tuning import tuning_mode
from frcore.machine.board import MIB, Board
from frcore.machine.faults import bytes_asked, is_out_of_memory
from frcore.measurement import process
from frcore.measurement.conditions import cool_down, warm_up
from frcore.measurement.monitor import opened_board, time_steps
from frcore.measurement.row import median_of
from frcore.planning import DEVICES, Workload, plan_step
from frcore.planning.measured import backend_of
from frcore.provenance.environment import environment

MEMORY_STEPS = 3

TIMED_OUT = 124
"""Exit code of a process that took longer than it was given."""


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        device: "cpu" or "cuda".
        seconds: of timed steps, within the limits of their number.
        energy_seconds: of the window in which energy is taken; GPU only.
        limit: seconds after which the process ends itself.
        warmup: least steps before all else; kernels are compiled in them.
        cooldown: longest wait in seconds for a board to cool.
        attempts: how often a disturbed case is measured in all.
        steps: least and most timed steps.
        threads: of the CPU.
        checkout: of insightface.
        commit: of a copy without its repository.
    """

    device: str
    seconds: float = 2.0
    energy_seconds: float = 5.0
    limit: float = 120.0
    warmup: int = 5
    cooldown: float = 10.0
    attempts: int = 2
    steps: tuple[int, int] = (10, 100)
    threads: int = 1
    checkout: str | None = None
    commit: str | None = None


def measure_case(case_fields: dict[str, Any], option_fields: dict[str, Any]) -> dict[str, Any]:
    """Measure a case; called in a child process with what JSON can hold.

    Returns:
        The columns of `benchmarks.session.table.MEASURED` that are known.
    """
    case, options = Case(**case_fields), Options(**option_fields)
    watch = threading.Timer(options.limit, os._exit, (TIMED_OUT,))
    watch.daemon = True
    watch.start()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high" if case.precision == "tf32" else "highest")
    if options.device == "cpu":
        process.limit_data_to(process.available_bytes())
    row: dict[str, Any] = {"status": "ok", "device": options.device, "threads": options.threads}
    try:
        row |= _measure(case, options)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        asked = row["bytes_asked"] = bytes_asked(str(error))
        row["status"] = "oom"
        row["error"] = "out of memory" + ("" if asked is None else f": {asked} bytes more")
    row |= surroundings(options)
    row |= planned(case, row["gpu_name"])
    return {key: _rounded(value) for key, value in row.items()}


def build(case: Case, options: Options) -> Step:
    """The step of a case."""
    device = torch.device(options.device)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    if case.subject == "frcore":
        return OurStep(case, device)
    if case.subject == "insightface":
        assert options.checkout is not None
        return InsightfaceStep(case, device, Path(options.checkout))
    return PeerStep(case, device)


def _measure(case: Case, options: Options) -> dict[str, Any]:
    if options.device == "cpu":
        # Loaded libraries do not count as the step's memory.
        build(Case(**(case.as_dict() | {"identities": 8, "batch_size": 4})), options)()
    step = build(case, options)
    row: dict[str, Any] = {"inside_timer": step.inside_timer}
    cuda = step.device.type == "cuda"
    before = process.rss_bytes()
    if cuda:
        row["allocated_start_mib"] = torch.cuda.memory_allocated(step.device) / MIB
    with opened_board(step.device) as (board, reason):
        if board is not None:
            row["cooldown_seconds"] = cool_down(board.read, options.cooldown)
        warm = warm_up(median_of(step), options.warmup)
        row["operands"] = step.operands
        row |= {"warmup_steps": warm.steps, "steady": warm.steady}
        with process.peak_memory() as peak:
            seconds = _memory_pass(row, step)
        row["rss_peak_mib"] = peak.peak_bytes / MIB
        row["rss_extra_mib"] = max(0, peak.peak_bytes - before) / MIB
        least, most = options.steps
        row["steps"] = int(min(most, max(least, options.seconds / max(seconds, 1e-9))))
        row |= time_steps(
            step, row["steps"], board, threads=options.threads,
            reserved_mib=row.get("reserved_peak_mib"), energy_seconds=options.energy_seconds,
        )  # fmt: skip
        row["images_per_second"] = 1e3 * case.batch_size / row["step_ms"]
        row["notes"] = "; ".join(_notes(case, board, reason)) or None
    return row


def _notes(case: Case, board: Board | None, reason: str | None) -> list[str]:
    """Why columns are empty, and how a kernel was tuned."""
    notes = [] if reason is None else [reason]
    if board is not None:
        notes += board.why_missing()
        if case.backend in ("triton", "auto") and tuning_mode() != "off":
            notes.append(f"FRCORE_TUNE: {tuning_mode()}")
    return notes


def _memory_pass(row: dict[str, Any], step: Step) -> float:
    """Take the peaks of some steps; gives the seconds of one."""
    if step.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(step.device)
    median_ms = median_of(step)(MEMORY_STEPS)
    if step.device.type == "cuda":
        row["allocated_peak_mib"] = torch.cuda.max_memory_allocated(step.device) / MIB
        row["reserved_peak_mib"] = torch.cuda.max_memory_reserved(step.device) / MIB
    return median_ms / 1e3


def planned(case: Case, gpu_name: str | None) -> dict[str, Any]:
    """What `frcore plan` says of the case, for a board whose ceilings it knows."""
    known = [device for device in DEVICES.values() if device.is_board(gpu_name)]
    if not known:
        return {}
    subject = case.backend if case.subject == "frcore" else case.subject
    backend = backend_of(subject)
    workload = Workload(
        identities=case.identities,
        batch=case.batch_size,
        dim=case.dim,
        rate=case.rate,
        state=case.state if backend == "fused" else "fp32",
        statistic=case.head == "adacos" and backend == "fused",
        precision=case.precision,
        backend=backend,
    )
    plan = plan_step(workload, known[0])
    return {
        "plan_ms": plan.step_ms,
        "plan_gib": plan.memory_gib,
        "plan_is_lower_bound": plan.is_lower_bound,
    }


def surroundings(options: Options) -> dict[str, Any]:
    """Versions, commit, device."""
    found = environment(options.device)
    gpu = found["gpu"] or {}
    versions = found["versions"]
    return {
        "gpu_name": gpu.get("name"),
        "driver": gpu.get("driver"),
        "commit": options.commit or found["commit"],
        "python": versions["python"],
        "torch": torch.__version__,
        "triton": triton_version(),
        "cuda": torch.version.cuda,
        "cpu": found["cpu"],
        "platform": found["platform"],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _rounded(value: Any) -> Any:
    """Six significant digits: more would be noise."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
