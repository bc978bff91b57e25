# ruff: noqa: N802  -- the functions bear the names of the library they stand in for
"""A simulated NVML library: pynvml's functions over made-up boards, with pynvml's own errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

GIB = 1024**3


@dataclass
class SimulatedBoard:
    """What the library answers for one board; a value that is an exception class is raised."""

    uuid: str = "GPU-11111111-0000-0000-0000-000000000000"
    name: str = "NVIDIA H200"
    energy: Any = 5_000_000
    power: Any = 350_000
    power_limit: Any = 700_000
    used: int = 3 * GIB
    total: int = 141 * GIB
    utilisation: Any = 97
    clock: Any = 1980
    temperature: Any = 61
    clock_events: Any = 0
    thermal_ns: Any = 0
    is_mig: Any = 0
    mig_mode: Any = pynvml.NVMLError_NotSupported
    processes: Any = field(default_factory=list)
    instances: Any = field(default_factory=list)  # None: a free place


def _answer(value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, BaseException):
        raise value()
    return value


class SimulatedNvml:
    """Stands in for the module `pynvml`.

    Args:
        boards: in NVML's order.
        init_error: raised by nvmlInit, for a machine without driver or library.
    """

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_PERF_POLICY_THERMAL = pynvml.NVML_PERF_POLICY_THERMAL

    def __init__(self, *boards: SimulatedBoard, init_error: type[Exception] | None = None):
        self.boards = list(boards)
        self.init_error = init_error
        self.open = 0

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise self.init_error()
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def _checked(self, board: SimulatedBoard, value: Any) -> Any:
        if self.open < 1:
            raise pynvml.NVMLError_Uninitialized()
        assert any(board is one or board in one.instances for one in self.boards)
        return _answer(value)

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.65.06"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> SimulatedBoard:
        return self.boards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> SimulatedBoard:
        for board in self.boards:
            if board.uuid == uuid:
                return board
        raise pynvml.NVMLError_NotFound()

    def nvmlDeviceGetName(self, board: SimulatedBoard) -> str:
        return self._checked(board, board.name)

    def nvmlDeviceGetUUID(self, board: SimulatedBoard) -> str:
        return self._checked(board, board.uuid)

    def nvmlDeviceIsMigDeviceHandle(self, board: SimulatedBoard) -> int:
        return self._checked(board, board.is_mig)

    def nvmlDeviceGetMigMode(self, board: SimulatedBoard) -> list[int]:
        return self._checked(board, board.mig_mode)

    def nvmlDeviceGetMaxMigDeviceCount(self, board: SimulatedBoard) -> int:
        return self._checked(board, len(board.instances))

    def nvmlDeviceGetMigDeviceHandleByIndex(
        self, board: SimulatedBoard, index: int
    ) -> SimulatedBoard:
        return self._checked(board, board.instances[index] or pynvml.NVMLError_NotFound)

    def nvmlDeviceGetTotalEnergyConsumption(self, board: SimulatedBoard) -> int:
        return self._checked(board, board.energy)

    def nvmlDeviceGetPowerUsage(self, board: SimulatedBoard) -> int:
        return self._checked(board, board.power)

    def nvmlDeviceGetEnforcedPowerLimit(self, board: SimulatedBoard) -> int:
        return self._checked(board, board.power_limit)

    def nvmlDeviceGetMemoryInfo(self, board: SimulatedBoard) -> SimpleNamespace:
        return self._checked(board, SimpleNamespace(total=board.total, used=board.used))

    def nvmlDeviceGetUtilizationRates(self, board: SimulatedBoard) -> SimpleNamespace:
        return SimpleNamespace(gpu=self._checked(board, board.utilisation))

    def nvmlDeviceGetClockInfo(self, board: SimulatedBoard, kind: int) -> int:
        assert kind == pynvml.NVML_CLOCK_SM
        return self._checked(board, board.clock)

    def nvmlDeviceGetTemperature(self, board: SimulatedBoard, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return self._checked(board, board.temperature)

    def nvmlDeviceGetCurrentClocksEventReasons(self, board: SimulatedBoard) -> int:
        return self._checked(board, board.clock_events)

    def nvmlDeviceGetViolationStatus(self, board: SimulatedBoard, policy: int) -> SimpleNamespace:
        assert policy == pynvml.NVML_PERF_POLICY_THERMAL
        held_back = self._checked(board, board.thermal_ns)
        return SimpleNamespace(referenceTime=1, violationTime=held_back)

    def nvmlDeviceGetComputeRunningProcesses(self, board: SimulatedBoard) -> list[Any]:
        return self._checked(board, board.processes)
