"""One row of a measurement: one number of identities, in the process that calls this."""

from __future__ import annotations

from collections.abc import Callable

import torch

from frcore.machine.board import MIB
from frcore.machine.faults import bytes_asked, is_out_of_memory
from frcore.measurement import process
from frcore.measurement.conditions import cool_down, new_row, warm_up
from frcore.measurement.monitor import (
    Steps,
    board_disturbances,
    opened_board,
    time_steps,
)
from frcore.measurement.ranks import ALONE, Ranks
from frcore.measurement.steps import TrainingStep
from frcore.measurement.timing import network_percent, time_on_cpu, time_on_cuda
from frcore.records.measurement import MeasuredRow
from frcore.study.expansion import MeasurementSpec

MEMORY_STEPS = 3
"""Steps of the memory pass: separate from the timed ones, so as not to slow those down."""


def measure_row(spec: MeasurementSpec, identities: int, ranks: Ranks = ALONE) -> MeasuredRow:
    """Measure one training step over `identities` class centres.

    Meant for a fresh process: what ran before in this one would stay in its memory figures. Not
    enough memory gives a row with status "oom" and the bytes that were requested. Of several
    processes each has a row of its own.

    Raises:
        frcore.errors.UserError: head, sampler or backbone refuse their parameters.
    """
    rank = ranks.rank if ranks.size > 1 else None
    row = new_row(spec, identities, ranks.size, rank)
    try:
        _fill(row, spec, identities, ranks)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        row = new_row(spec, identities, ranks.size, rank)
        row.status, row.bytes_asked = "oom", bytes_asked(str(error))
        asked = row.bytes_asked
        row.error = "out of memory" + ("" if asked is None else f": {asked} bytes were requested")
        _look_for_company(row)
    return row


def _look_for_company(row: MeasuredRow) -> None:
    """Whether other processes use memory of a board that ran out of it."""
    with opened_board(torch.device(str(row.device), row.rank or 0)) as (board, _):
        if board is not None:
            row.other_processes = board.read().other_processes
            found = board_disturbances((), None, row.other_processes)
            row.disturbed = "; ".join(found) or None


def _fill(row: MeasuredRow, spec: MeasurementSpec, identities: int, ranks: Ranks) -> None:
    given = spec.measurement
    _load_kernels(spec, ranks)
    step = TrainingStep(spec, identities, ranks=ranks)
    row.dim = step.classifier.centers.shape[1]
    with opened_board(step.device) as (board, reason):
        if board is not None:
            row.cooldown_seconds = cool_down(board.read, given.cooldown)
        before = process.rss_bytes()
        warm = warm_up(median_of(step, ranks), given.warmup)
        row.warmup_steps, row.steady = warm.steps, warm.steady
        row.backend = step.classifier.backend_name
        row.operands = step.classifier.operands
        row.inside_timer = step.inside_timer
        with process.peak_memory() as peak:
            _memory_pass(row, step)
        row.rss_peak_mib = peak.peak_bytes / MIB
        row.rss_extra_mib = max(0, peak.peak_bytes - before) / MIB
        measured = time_steps(
            step, given.steps, board, threads=given.threads, reserved_mib=row.reserved_peak_mib,
            ranks=ranks,
        )  # fmt: skip
        for name, value in measured.items():
            setattr(row, name, value)
        row.images_per_second = 1e3 * given.batch_size / measured["step_ms"]
        if ranks.size > 1:
            row.network_percent = network_percent(step, given.steps, step.synchronize)
        notes = [] if reason is None else [reason]
        if peak.method != "kernel":
            notes.append("rss_peak_mib was sampled every 2 ms: shorter peaks can be missed")
        if board is not None:
            notes += board.why_missing()
        row.notes = "; ".join(notes) or None


def median_of(step: Steps, ranks: Ranks = ALONE) -> Callable[[int], float]:
    """Runs a number of steps and returns the median of their times in milliseconds.

    Of several processes the largest: all must come to the same number of steps.
    """

    def median_ms(count: int) -> float:
        on_cuda = step.device.type == "cuda"
        times = time_on_cuda(step, count, step.device) if on_cuda else time_on_cpu(step, count)
        return ranks.largest(float(times["step_ms"]))

    return median_ms


def _load_kernels(spec: MeasurementSpec, ranks: Ranks) -> None:
    """Run a step of the smallest size, so that loaded libraries do not count as the step's."""
    small = spec.measurement.model_copy(update={"backbone": None, "dim": 2})
    TrainingStep(spec.model_copy(update={"measurement": small}), 3, ranks=ranks)()


def _memory_pass(row: MeasuredRow, step: TrainingStep) -> None:
    if step.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(step.device)
    for _ in range(MEMORY_STEPS):
        step()
    step.synchronize()
    if step.device.type == "cuda":
        row.allocated_peak_mib = torch.cuda.max_memory_allocated(step.device) / MIB
        row.reserved_peak_mib = torch.cuda.max_memory_reserved(step.device) / MIB
