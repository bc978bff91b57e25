"""One board, or one MIG instance of it, and what it says about itself.

A counter that a board, a driver or a container does not have is `None` and its reason is kept in
`missing`: 0 W or 0 MiB would be read as a measurement.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pynvml

from frcore.machine.clocks import NOT_THROTTLING, decode_clock_events

T = TypeVar("T")

MIB = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """One look at a board. `None`: the board or the container cannot tell; `missing` says why."""

    memory_total_bytes: int | None
    memory_used_bytes: int | None
    process_memory_bytes: int | None
    other_processes: int | None
    power_watts: float | None
    power_limit_watts: float | None
    energy_mj: int | None
    utilisation_percent: int | None
    sm_clock_mhz: int | None
    temperature_celsius: int | None
    clock_events: tuple[str, ...] | None
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def throttle_reasons(self) -> tuple[str, ...] | None:
        """The clock events that hold a working board back; empty when there are none."""
        if self.clock_events is None:
            return None
        return tuple(name for name in self.clock_events if name not in NOT_THROTTLING)


class Board:
    """One GPU, or one MIG instance of it, as NVML shows it."""

    def __init__(self, library: Any, handle: Any):
        self._nvml = library
        self._handle = handle
        self.missing: dict[str, str] = {}
        self.is_mig = bool(self._ask("mig", lambda: library.nvmlDeviceIsMigDeviceHandle(handle)))
        self.missing.pop("mig", None)  # a driver that does not know of MIG lacks nothing here

    def _ask(self, counter: str, question: Callable[[], T]) -> T | None:
        try:
            value = question()
        # AttributeError: an older nvidia-ml-py without the function.
        except (self._nvml.NVMLError, AttributeError) as error:
            self.missing[counter] = str(error) or type(error).__name__
            return None
        self.missing.pop(counter, None)
        return value

    def _positive(self, counter: str, value: T | None) -> T | None:
        """The same value, or None for a 0 that can only be a counter which is not kept."""
        if value == 0:
            self.missing[counter] = "reads 0, which a board at work never is"
            return None
        return value

    def _ask_whole_board(self, counter: str, question: Callable[[], T]) -> T | None:
        """Ask what only the whole board has: it says nothing about one of its MIG instances."""
        if self.is_mig:
            self.missing[counter] = "counted for the whole board, not for a MIG instance"
            return None
        return self._ask(counter, question)

    @property
    def name(self) -> str | None:
        """The product name, such as 'NVIDIA H200'."""
        return self._ask("name", lambda: self._nvml.nvmlDeviceGetName(self._handle))

    @property
    def uuid(self) -> str | None:
        """'GPU-…' or 'MIG-…'; what CUDA_VISIBLE_DEVICES also takes."""
        return self._ask("uuid", lambda: self._nvml.nvmlDeviceGetUUID(self._handle))

    @property
    def mig_enabled(self) -> bool | None:
        """Whether the board is divided into MIG instances; None where it is not told."""
        if self.is_mig:
            return True
        try:
            return bool(self._nvml.nvmlDeviceGetMigMode(self._handle)[0])
        except pynvml.NVMLError_NotSupported:
            return False  # a board without such a mode
        except (self._nvml.NVMLError, AttributeError):
            return None

    def instances(self) -> list[Board]:
        """The MIG instances of a divided board; empty for any other."""
        if self.is_mig or not self.mig_enabled:
            return []
        found = []
        for index in range(self._nvml.nvmlDeviceGetMaxMigDeviceCount(self._handle)):
            try:
                handle = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
            except self._nvml.NVMLError:
                continue  # places of instances need not be taken without gaps
            found.append(Board(self._nvml, handle))
        return found

    def energy_mj(self) -> int | None:
        """Millijoules since the driver was loaded, of the whole board (Volta and newer)."""
        return self._ask_whole_board(
            "energy", lambda: int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))
        )

    def power_limit_watts(self) -> float | None:
        """The limit that is enforced now, in watts."""
        limit = self._ask_whole_board(
            "power_limit", lambda: self._nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3
        )
        return self._positive("power_limit", limit)

    def memory_bytes(self) -> tuple[int | None, int | None]:
        """(total, used) of the device by all processes."""
        memory = self._ask("memory", lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle))
        return (None, None) if memory is None else (int(memory.total), int(memory.used))

    def _running(self) -> Sequence[Any] | None:
        return self._ask(
            "processes", lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        )

    def process_memory_bytes(self, pid: int | None = None) -> int | None:
        """Device memory of one process (this one by default), with its context and libraries."""
        return self._memory_of(os.getpid() if pid is None else pid, self._running())

    def _memory_of(self, pid: int, running: Sequence[Any] | None) -> int | None:
        if running is None:
            return None
        self.missing.pop("process_memory", None)
        for process in running:
            if process.pid == pid:
                if process.usedGpuMemory is None:
                    self.missing["process_memory"] = "the driver does not count it per process"
                    return None
                return int(process.usedGpuMemory)
        self.missing["process_memory"] = (
            f"NVML lists no process {pid}: it holds nothing on this board, or a container hides it"
        )
        return None

    def other_processes(self) -> int | None:
        """How many processes besides this one, which runs CUDA, compute on the board."""
        return self._others(self._running())

    def _others(self, running: Sequence[Any] | None) -> int | None:
        if running is None:
            return None
        if not running:
            # This process computes on the board, so a list without any tells of nobody.
            self.missing["other_processes"] = "NVML lists no process: a container hides them"
            return None
        self.missing.pop("other_processes", None)
        # Not by its number, which is another one outside of this process's container.
        return len(running) - 1

    def clock_events(self) -> tuple[str, ...] | None:
        """Why the clocks are where they are now."""
        bits = self._ask(
            "clock_events",
            lambda: int(self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle)),
        )
        return None if bits is None else decode_clock_events(bits)

    def thermal_ns(self) -> int | None:
        """Nanoseconds in which heat held the clocks down, since some moment.

        The only such counter that can be asked for safely: those of single clock events are fields
        whose numbers changed between drivers (251 to 253 became 269 to 271), so that a library
        and a driver of different age would talk of different things.
        """
        nvml = self._nvml
        status = self._ask_whole_board(
            "thermal_ns",
            lambda: nvml.nvmlDeviceGetViolationStatus(self._handle, nvml.NVML_PERF_POLICY_THERMAL),
        )
        return None if status is None else int(status.violationTime)

    def read(self, pid: int | None = None) -> Reading:
        """All counters now; `pid` as in `process_memory_bytes`."""
        nvml, handle = self._nvml, self._handle
        total, used = self.memory_bytes()
        running = self._running()
        utilisation = self._ask_whole_board(
            "utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(handle)
        )
        power = self._ask_whole_board("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
        clock = self._ask(
            "sm_clock", lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        )
        celsius = self._ask(
            "temperature",
            lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        )
        return Reading(
            memory_total_bytes=total,
            memory_used_bytes=used,
            process_memory_bytes=self._memory_of(os.getpid() if pid is None else pid, running),
            other_processes=self._others(running),
            power_watts=self._positive("power", power),
            power_limit_watts=self.power_limit_watts(),
            energy_mj=self.energy_mj(),
            utilisation_percent=None if utilisation is None else int(utilisation.gpu),
            sm_clock_mhz=self._positive("sm_clock", clock),
            temperature_celsius=self._positive("temperature", celsius),
            clock_events=self.clock_events(),
            missing=dict(self.missing),
        )
