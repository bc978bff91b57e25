from __future__ import annotations

import os
from types import SimpleNamespace

import pynvml
import pytest

from frcore.machine.board import CLOCK_EVENTS, Reading, decode_clock_events
from frcore.machine.nvml import Nvml
from frcore.machine.visible import describe_gpu
from tests.measurement.simulated import GIB, SimulatedBoard, SimulatedNvml

COUNTERS = {  # the board's attribute -> the reading's
    "power": "power_watts",
    "power_limit": "power_limit_watts",
    "utilisation": "utilisation_percent",
    "clock": "sm_clock_mhz",
    "temperature": "temperature_celsius",
    "clock_events": "clock_events",
}


ME = SimpleNamespace(pid=os.getpid(), usedGpuMemory=2 * GIB)


def first_reading(library: SimulatedNvml) -> tuple[Reading, dict[str, str]]:
    """Of the first board, and what it lacks."""
    with Nvml(library) as nvml:
        board = nvml.boards()[0]
        return board.read(), board.missing


def test_a_reading_has_the_boards_values_in_the_units_of_their_names():
    other = SimpleNamespace(pid=1, usedGpuMemory=7 * GIB)
    reading, missing = first_reading(SimulatedNvml(SimulatedBoard(processes=[other, ME])))
    assert reading.power_watts == 350
    assert reading.power_limit_watts == 700
    assert reading.memory_used_bytes == 3 * GIB
    assert reading.process_memory_bytes == 2 * GIB
    assert reading.utilisation_percent == 97
    assert reading.sm_clock_mhz == 1980
    assert reading.temperature_celsius == 61
    assert reading.throttle_reasons == ()
    assert reading.other_processes == 1
    assert missing == {}


@pytest.mark.parametrize(
    "error", [pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission, AttributeError]
)
@pytest.mark.parametrize("counter", COUNTERS)
def test_a_counter_that_is_not_there_is_none_and_said_so(counter, error):
    reading, missing = first_reading(SimulatedNvml(SimulatedBoard(**{counter: error})))
    assert getattr(reading, COUNTERS[counter]) is None
    assert counter.replace("clock", "sm_clock", counter == "clock") in missing
    others = set(COUNTERS.values()) - {COUNTERS[counter]}
    assert all(getattr(reading, other) is not None for other in others)


@pytest.mark.parametrize("counter", ["power", "power_limit", "clock", "temperature"])
def test_a_zero_that_cannot_be_is_none_and_said_so(counter):
    reading, missing = first_reading(SimulatedNvml(SimulatedBoard(**{counter: 0})))
    assert getattr(reading, COUNTERS[counter]) is None
    assert "reads 0" in " ".join(missing.values())


def test_a_process_that_a_container_hides_is_none_not_zero():
    board = SimulatedBoard(processes=[SimpleNamespace(pid=999_999_999, usedGpuMemory=GIB)])
    reading, missing = first_reading(SimulatedNvml(board))
    assert reading.process_memory_bytes is None
    assert "container" in missing["process_memory"]


def test_a_driver_that_does_not_count_by_process_is_none_not_zero():
    mine = SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)
    reading, missing = first_reading(SimulatedNvml(SimulatedBoard(processes=[mine])))
    assert reading.process_memory_bytes is None
    assert "process_memory" in missing


@pytest.mark.parametrize(
    ("listed", "others"),
    [([ME], 0), ([ME, ME], 1), ([SimpleNamespace(pid=77, usedGpuMemory=None)], 0), ([], None),
     (pynvml.NVMLError_NoPermission, None)],
)  # fmt: skip
def test_company_on_the_board(listed, others):
    """Whatever its number: in a container this process has another one than NVML lists."""
    reading, missing = first_reading(SimulatedNvml(SimulatedBoard(processes=listed)))
    assert reading.other_processes == others
    assert (others is None) == bool({"other_processes", "processes"} & set(missing))


@pytest.mark.parametrize(
    ("counter", "name"), [("thermal_ns", "thermal_ns"), ("energy_mj", "energy")]
)
def test_heat_and_energy_are_counted_for_whole_boards_only(counter, name):
    value = 5_000_000
    for board, expected in [
        (SimulatedBoard(**{name: value}), value),
        (SimulatedBoard(**{name: pynvml.NVMLError_NotSupported}), None),
        (SimulatedBoard(**{name: value, "is_mig": 1}), None),
    ]:
        with Nvml(SimulatedNvml(board)) as nvml:
            found = nvml.boards()[0]
            assert getattr(found, counter)() == expected
            assert (name in found.missing) == (expected is None)


def test_a_mig_instance_has_no_power_or_energy_of_its_own():
    reading, missing = first_reading(SimulatedNvml(SimulatedBoard(uuid="MIG-1", is_mig=1)))
    assert reading.power_watts is reading.utilisation_percent is None
    assert "MIG" in missing["power"]
    assert reading.memory_used_bytes == 3 * GIB  # of the instance


@pytest.mark.parametrize(
    ("mode", "expected"),
    [([1, 1], True), ([0, 1], False), (pynvml.NVMLError_NotSupported, False),
     (pynvml.NVMLError_NoPermission, None)],
)  # fmt: skip
def test_whether_a_board_is_divided(mode, expected):
    with Nvml(SimulatedNvml(SimulatedBoard(mig_mode=mode))) as nvml:
        assert nvml.boards()[0].mig_enabled is expected


def test_clock_events_are_pynvmls_and_idle_is_no_throttling():
    for bit, name in CLOCK_EVENTS.items():
        stem = "".join(part.capitalize() for part in name.split("_"))
        assert getattr(pynvml, f"nvmlClocksEventReason{stem}") == bit
    board = SimulatedBoard(clock_events=0x1 | 0x4 | 0x80)
    reading, _ = first_reading(SimulatedNvml(board))
    assert reading.clock_events == ("gpu_idle", "sw_power_cap", "hw_power_brake_slowdown")
    assert reading.throttle_reasons == ("sw_power_cap", "hw_power_brake_slowdown")
    assert decode_clock_events(1 << 20) == ("unknown_0x100000",)
    assert decode_clock_events(0) == ()


def test_without_the_library_the_reason_is_given():
    library = SimulatedNvml(init_error=pynvml.NVMLError_LibraryNotFound)
    assert "not found" in Nvml.why_not(library).lower()
    description = describe_gpu("cuda", library)
    assert description.pop("note") == Nvml.why_not(library)
    assert set(description.values()) == {None}


def test_the_library_is_closed_again():
    library = SimulatedNvml(SimulatedBoard())
    assert Nvml.why_not(library) is None
    describe_gpu("cuda", library)
    with pytest.raises(RuntimeError, match="stop"), Nvml(library):
        raise RuntimeError("stop")
    assert library.open == 0


def test_describe_gpu(monkeypatch):
    boards = [SimulatedBoard(uuid=f"GPU-{k}", power_limit=1000 * k) for k in (5, 6)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-6")
    assert describe_gpu("cuda", SimulatedNvml(*boards)) == {
        "name": "NVIDIA H200",
        "uuid": "GPU-6",
        "driver": "580.65.06",
        "power_limit_watts": 6.0,
        "memory_mib": 141 * 1024,
        "mig": False,
        "note": None,
    }


def test_describe_gpu_never_raises_for_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    description = describe_gpu("cuda:3", SimulatedNvml(SimulatedBoard()))
    assert description["uuid"] is None
    assert "cuda:3" in description["note"]


@pytest.mark.gpu
def test_a_real_board_counts_energy_and_this_process():
    import torch

    from frcore.machine.visible import board_of

    size = 512 * 1024**2
    keep = torch.ones(size // 4, device="cuda")
    with Nvml() as nvml:
        board = board_of(nvml, "cuda")
        uuid = str(torch.cuda.get_device_properties(0).uuid)
        assert board.uuid.endswith(uuid)
        reading = board.read()
        assert reading.memory_used_bytes >= size
        assert reading.process_memory_bytes is None or reading.process_memory_bytes >= size
        assert reading.power_watts is None or 10 < reading.power_watts < 2000
        assert reading.temperature_celsius is None or 10 < reading.temperature_celsius < 110
        assert reading.other_processes is None or reading.other_processes >= 0
        first, again = board.thermal_ns(), board.thermal_ns()
        assert (first is None) == ("thermal_ns" in board.missing)
        assert first is None or first <= again
    assert keep.sum().item() > 0
