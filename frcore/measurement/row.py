"""One row of a measurement: one number of identities, in the process that calls this."""

from __future__ import annotations

import re

import torch

from frcore.measurement import process
from frcore.measurement.columns import Row
from frcore.measurement.nvml import MIB, Board, Nvml
from frcore.measurement.steps import TrainingStep
from frcore.measurement.timing import observe_window, time_on_cpu, time_on_cuda
from frcore.measurement.visible import board_of
from frcore.plan import MeasurementSpec

MEMORY_STEPS = 3
"""Steps of the memory pass: apart from the timed ones, so that looking costs them nothing."""

UNITS = {"bytes": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def measure_row(spec: MeasurementSpec, identities: int) -> Row:
    """Measure one training step over `identities` class centres.

    Meant for a fresh process: what ran before in this one would stay in its memory figures. Not
    enough memory gives a row with status "oom" and the bytes that were asked for.

    Raises:
        frcore.errors.UserError: head, sampler or backbone refuse their parameters.
    """
    row = Row.of(spec, identities)
    try:
        _fill(row, spec, identities)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        asked = bytes_asked(str(error))
        row = Row.of(spec, identities)
        row.status = "oom"
        row.error = "out of memory" + ("" if asked is None else f": {asked} bytes were asked for")
    return row


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the system refused memory."""
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "can't allocate memory" in str(error)
        or "std::bad_alloc" in str(error)
    )


def bytes_asked(message: str) -> int | None:
    """How much an allocator's message says was asked for.

    >>> bytes_asked("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has ...")
    1610612736
    >>> bytes_asked("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.")
    4096
    """
    found = re.search(r"ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", message)
    return None if found is None else int(float(found[1]) * UNITS[found[2]])


def _fill(row: Row, spec: MeasurementSpec, identities: int) -> None:
    given = spec.measurement
    _load_kernels(spec)
    step = TrainingStep(spec, identities)
    row.inside_timer = step.inside_timer
    row.dim = step.classifier.centers.shape[1]
    before = process.rss_bytes()
    for _ in range(given.warmup):
        step()
    step.synchronize()
    row.backend = step.classifier.backend_name
    with process.PeakMemory() as peak:
        _memory_pass(row, step)
    row.rss_peak_mib = peak.peak_bytes / MIB
    row.rss_extra_mib = max(0, peak.peak_bytes - before) / MIB
    if peak.method != "kernel":
        row.notes = "rss_peak_mib was sampled every 2 ms: shorter peaks can be missed"
    if step.device.type == "cuda":
        times = time_on_cuda(step, given.steps, step.device)
        _look_at_the_board(row, step)
    else:
        times = time_on_cpu(step, given.steps)
    row.step_ms, row.step_ms_low, row.step_ms_high = times.median, times.low, times.high
    row.cpu_ms_per_step = times.cpu
    row.images_per_second = 1e3 * given.batch_size / times.median


def _load_kernels(spec: MeasurementSpec) -> None:
    """Run a step of the smallest size, so that loaded libraries do not count as the step's."""
    small = spec.measurement.model_copy(update={"backbone": None, "dim": 2})
    TrainingStep(spec.model_copy(update={"measurement": small}), 3)()


def _memory_pass(row: Row, step: TrainingStep) -> None:
    if step.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(step.device)
    for _ in range(MEMORY_STEPS):
        step()
    step.synchronize()
    if step.device.type == "cuda":
        row.allocated_peak_mib = torch.cuda.max_memory_allocated(step.device) / MIB
        row.reserved_peak_mib = torch.cuda.max_memory_reserved(step.device) / MIB


def _look_at_the_board(row: Row, step: TrainingStep) -> None:
    reason = Nvml.why_not()
    if reason is not None:
        row.notes = reason
        return
    with Nvml() as nvml:
        board = board_of(nvml, str(step.device))
        if board is None:
            row.notes = f"NVML has no board for {step.device}"
            return
        _board_memory(row, board)
        window = observe_window(step, step.synchronize, board)
        row.power_watts = window.power_watts
        row.energy_mj_per_step = window.energy_mj_per_step
        row.clock_mhz = window.clock_mhz
        if window.throttle_reasons is not None:
            row.throttle_reasons = ", ".join(window.throttle_reasons) or "none"
        row.notes = _notes(board)


def _board_memory(row: Row, board: Board) -> None:
    reading = board.read()
    if reading.memory_used_bytes is not None:
        row.nvml_device_mib = reading.memory_used_bytes / MIB
    if reading.process_memory_bytes is not None:
        in_mib = reading.process_memory_bytes / MIB
        # In a container NVML can list another process under this one's number.
        if in_mib >= (row.reserved_peak_mib or 0):
            row.nvml_process_mib = in_mib
        else:
            board.missing["process_memory"] = "less than torch has reserved: not this process"


def _notes(board: Board) -> str | None:
    notes = [f"{key}: {why}" for key, why in sorted(board.missing.items())]
    processes = board.process_count() or 1
    if processes > 1:
        notes.append(f"{processes - 1} other processes use the board: its energy is theirs too")
    return "; ".join(notes) or None
