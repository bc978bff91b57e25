"""CUDA's order of the boards from NVML's; no GPU and no torch needed."""

from __future__ import annotations

import pytest

from frcore.machine.nvml import Nvml
from frcore.machine.visible import board_of, visible_boards, visible_entries
from tests.measurement.simulated import SimulatedBoard, SimulatedNvml

ALIKE = [SimulatedBoard(uuid=f"GPU-{letter}{letter}-0") for letter in "abc"]
MIXED = [SimulatedBoard(uuid="GPU-slow", name="T4"), SimulatedBoard(uuid="GPU-fast", name="H200")]


def uuids(boards, environ):
    with Nvml(SimulatedNvml(*boards)) as nvml:
        found = visible_boards(nvml, environ)
        return None if found is None else [board.uuid for board in found]


@pytest.mark.parametrize(
    ("given", "entries"),
    [("2,0", ["2", "0"]), ("", []), ("-1", []), ("1,-1,2", ["1"]), (" GPU-a , 1", ["GPU-a", "1"])],
)
def test_entries(given, entries):
    assert visible_entries({"CUDA_VISIBLE_DEVICES": given}) == entries


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ["GPU-aa-0", "GPU-bb-0", "GPU-cc-0"]),
        ("2,0", ["GPU-cc-0", "GPU-aa-0"]),
        ("GPU-bb-0", ["GPU-bb-0"]),
        ("GPU-b", ["GPU-bb-0"]),  # CUDA takes a unique beginning
        ("GPU-", []),  # not unique
        ("0,7,1", ["GPU-aa-0"]),  # CUDA stops at the first that is not there
        ("", []),
    ],
)
def test_visible_boards_in_cudas_order(given, expected):
    environ = {} if given is None else {"CUDA_VISIBLE_DEVICES": given}
    assert uuids(ALIKE, environ) == expected


def test_numbers_of_mixed_boards_are_not_guessed():
    assert uuids(MIXED, {}) is None
    assert uuids(MIXED, {"CUDA_VISIBLE_DEVICES": "0"}) is None
    by_bus = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert uuids(MIXED, by_bus) == ["GPU-slow"]
    assert uuids(MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-fast"}) == ["GPU-fast"]


def test_board_of_follows_the_index():
    environ = {"CUDA_VISIBLE_DEVICES": "2,0"}
    with Nvml(SimulatedNvml(*ALIKE)) as nvml:
        assert board_of(nvml, "cuda", environ).uuid == "GPU-cc-0"
        assert board_of(nvml, "cuda:1", environ).uuid == "GPU-aa-0"
        assert board_of(nvml, "cuda:2", environ) is None


def test_a_divided_board_is_its_instances():
    first, second = (SimulatedBoard(uuid=f"MIG-{k}", is_mig=1) for k in (1, 2))
    divided = SimulatedBoard(uuid="GPU-d", mig_mode=[1, 1], instances=[first, None, second])
    assert uuids([divided, ALIKE[0]], {}) == ["MIG-1", "MIG-2", "GPU-aa-0"]
