from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from frcore.measurement import row as row_module
from frcore.measurement.columns import Row
from frcore.measurement.nvml import MIB, Nvml
from frcore.measurement.row import bytes_asked, is_out_of_memory
from tests.measurement.simulated import GIB, SimulatedBoard, SimulatedNvml


def empty_row(**known) -> Row:
    return Row(identities=9, device="cuda", batch_size=8, dim=16, steps=5, **known)


def process(memory: int, pid: int | None = None) -> SimpleNamespace:
    return SimpleNamespace(pid=os.getpid() if pid is None else pid, usedGpuMemory=memory)


def test_memory_of_the_board_and_of_this_process():
    row = empty_row(reserved_peak_mib=100.0)
    with Nvml(SimulatedNvml(SimulatedBoard(used=GIB, processes=[process(600 * MIB)]))) as nvml:
        row_module._board_memory(row, nvml.boards()[0])
    assert row.nvml_device_mib == 1024
    assert row.nvml_process_mib == 600


def test_a_process_with_less_than_torch_reserved_is_somebody_elses():
    row = empty_row(reserved_peak_mib=700.0)
    with Nvml(SimulatedNvml(SimulatedBoard(processes=[process(600 * MIB)]))) as nvml:
        board = nvml.boards()[0]
        row_module._board_memory(row, board)
        assert row.nvml_process_mib is None
        assert "not this process" in board.missing["process_memory"]


def test_company_on_the_board_is_noted():
    both = [process(GIB), process(GIB, pid=1)]
    with Nvml(SimulatedNvml(SimulatedBoard(processes=both))) as nvml:
        assert row_module._notes(nvml.boards()[0]).startswith("1 other processes")
    with Nvml(SimulatedNvml(SimulatedBoard(processes=both[:1]))) as nvml:
        assert row_module._notes(nvml.boards()[0]) is None


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


def test_another_error_is_not_taken_for_a_lack_of_memory():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
