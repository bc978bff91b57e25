from __future__ import annotations

import json
import os
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from frcore.machine.board import MIB
from frcore.machine.faults import bytes_asked, is_out_of_memory
from frcore.machine.nvml import Nvml
from frcore.measurement import monitor
from frcore.measurement import row as row_module
from frcore.measurement.row import measure_row
from frcore.measurement.steps import TrainingStep
from frcore.measurement.timing import time_on_cpu
from frcore.study.expansion import MeasurementSpec
from tests.measurement.simulated import SimulatedBoard, SimulatedNvml
from tests.measurement.test_measure import make_spec


def test_torchs_own_message_of_a_refusal_is_understood():
    asked = 2**60
    with pytest.raises(RuntimeError) as caught:
        torch.empty(asked, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert bytes_asked(str(caught.value)) == asked


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total", 20 * 1024**2),
        ("CUDA out of memory. Tried to allocate 1.50 GiB (GPU 0; 79 GiB total", 3 * 1024**3 // 2),
        ("something else", None),
    ],
)
def test_bytes_asked(message, expected):
    assert bytes_asked(message) == expected


class OnASimulatedBoard(TrainingStep):
    """Computes on the CPU and says that it is on a GPU."""

    def __init__(self, spec: MeasurementSpec, identities: int, **settings) -> None:
        cpu = spec.measurement.model_copy(update={"device": "cpu"})
        super().__init__(spec.model_copy(update={"measurement": cpu}), identities, **settings)
        self.device = torch.device("cuda", 0)

    def synchronize(self) -> None:
        pass


@pytest.fixture
def board(monkeypatch) -> SimulatedBoard:
    """The board that `measure_row` finds; its energy counter runs with the clock, at 200 W."""

    class Board(SimulatedBoard):
        energy = property(lambda self: int(200e3 * time.perf_counter()), lambda *_: None)

    found = Board(
        temperature=45, processes=[SimpleNamespace(pid=os.getpid(), usedGpuMemory=900 * MIB)]
    )
    library = SimulatedNvml(found)

    class Simulated(Nvml):
        def __init__(self, library=library):
            super().__init__(library)

        @classmethod
        def why_not(cls, library=library):
            return super().why_not(library)

    def time_on_cuda(step, count, device, *, look=lambda: None):
        times = time_on_cpu(step, count)
        look()
        return times

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(monitor, "Nvml", Simulated)
    monkeypatch.setattr(monitor, "time_on_cuda", time_on_cuda)
    monkeypatch.setattr(row_module, "time_on_cuda", time_on_cuda)
    monkeypatch.setattr(row_module, "time_steps", partial(monitor.time_steps, energy_seconds=0.5))
    monkeypatch.setattr(row_module, "TrainingStep", OnASimulatedBoard)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 300 * MIB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 400 * MIB)
    return found


def cuda_spec(**changes) -> MeasurementSpec:
    return make_spec(device="cuda", **changes)


@pytest.mark.slow
def test_a_whole_row_of_a_gpu(board):
    row = measure_row(cuda_spec(warmup=2), 40).model_dump()
    missing = {name for name, value in row.items() if value is None}
    of_several = {"rank", "efficiency", "network_percent"}
    assert missing == {"error", "bytes_asked", "disturbed", "loss_precision", "notes"} | of_several
    assert row["power_watts"] == pytest.approx(200, rel=0.05)
    assert row["energy_mj_per_step"] > 0
    assert row["nvml_process_mib"] == 900
    assert row["cooldown_seconds"] == pytest.approx(0, abs=0.5)
    assert (row["throttle_reasons"], row["other_processes"]) == ("none", 0)
    assert json.loads(json.dumps(row)) == row


@pytest.mark.slow
def test_a_hot_row_of_a_gpu_says_so(board):
    board.clock_events = 0x40
    row = measure_row(cuda_spec(cooldown=0), 40)
    assert row.disturbed == "clocks throttled (hw_thermal_slowdown)"
    assert row.status == "ok"


def test_a_lack_of_memory_looks_for_company(board, monkeypatch):
    def refuse(spec, identities, **settings):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has")

    monkeypatch.setattr(row_module, "TrainingStep", refuse)
    alone = measure_row(cuda_spec(), 40)
    assert (alone.status, alone.bytes_asked, alone.disturbed) == ("oom", 3 * 2**29, None)
    board.processes = board.processes * 2
    assert measure_row(cuda_spec(), 40).disturbed == "1 other process on the board"


def test_another_error_is_not_taken_for_a_lack_of_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
