"""One board, or one MIG instance of it, and its counters.

A counter that a board, a driver or a container does not have is `None` and its reason is kept in
`missing`: 0 W or 0 MiB would be read as a measurement.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pynvml

MIB = 1024 * 1024

CLOCK_EVENTS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons, after nvml.h's nvmlClocksEventReason*."""

NOT_THROTTLING = frozenset({"gpu_idle"})
"""A board without work lowers its clocks; that slows nothing down."""

HARMLESS = NOT_THROTTLING | {
    "sw_power_cap",
    "applications_clocks_setting",
    "display_clock_setting",
    "sync_boost",
}
"""Events that repeating a measurement does not mend and that belong to how the board is set up.

Full load on a board at its power limit is `sw_power_cap` and nothing else; the others are settings.
"""


def decode_clock_events(bits: int) -> tuple[str, ...]:
    """Names of the set bits; a bit newer than this table keeps its number.

    >>> decode_clock_events(0x24)
    ('sw_power_cap', 'sw_thermal_slowdown')
    """
    single = (1 << place for place in range(bits.bit_length()) if bits >> place & 1)
    return tuple(CLOCK_EVENTS.get(bit, f"unknown_0x{bit:x}") for bit in single)


def disturbing(events: Iterable[str]) -> tuple[str, ...]:
    """The events that make a measurement unrepresentative of the board.

    Heat, the power brake, hardware slowdown, and any event that this table does not know.

    >>> disturbing(("sw_power_cap", "hw_thermal_slowdown", "gpu_idle"))
    ('hw_thermal_slowdown',)
    """
    return tuple(sorted(set(events) - HARMLESS))


@dataclass(frozen=True)
class Reading:
    """One sample of a board's counters. `None`: the board or the container has no such counter;
    `Board.missing` has the reason."""

    memory_used_bytes: int | None
    process_memory_bytes: int | None
    other_processes: int | None
    power_watts: float | None
    power_limit_watts: float | None
    utilisation_percent: int | None
    sm_clock_mhz: int | None
    temperature_celsius: int | None
    clock_events: tuple[str, ...] | None

    @property
    def throttle_reasons(self) -> tuple[str, ...] | None:
        """The clock events that slow a working board down; empty when there are none."""
        if self.clock_events is None:
            return None
        return tuple(name for name in self.clock_events if name not in NOT_THROTTLING)


class Board:
    """One GPU, or one MIG instance of it, as NVML shows it."""

    def __init__(self, library: Any, handle: Any):
        self._nvml = library
        self._handle = handle
        self.missing: dict[str, str] = {}
        self.is_mig = False
        self.is_mig = bool(self._ask("mig", "nvmlDeviceIsMigDeviceHandle"))
        self.missing.pop("mig", None)  # a driver that does not know of MIG lacks nothing here

    def _ask(
        self, counter: str, function: str, *arguments: Any, whole: bool = False, zero: bool = True
    ) -> Any:
        """What a function of the library answers, or None, and why in `missing`.

        Args:
            counter: its name in `missing`.
            function: of the library; its first argument is the board.
            arguments: the others.
            whole: it is counted for whole boards only, not for a MIG instance.
            zero: False where a 0 can only be a counter that is not kept.
        """
        if whole and self.is_mig:
            self.missing[counter] = "counted for the whole board, not for a MIG instance"
            return None
        try:
            value = getattr(self._nvml, function)(self._handle, *arguments)
        # AttributeError: an older nvidia-ml-py without the function.
        except (self._nvml.NVMLError, AttributeError) as error:
            self.missing[counter] = str(error) or type(error).__name__
            return None
        if value == 0 and not zero:
            self.missing[counter] = "reads 0, which a board at work never is"
            return None
        self.missing.pop(counter, None)
        return value

    def why_missing(self) -> list[str]:
        """Which counters the board lacks, and why."""
        return [f"{counter}: {why}" for counter, why in sorted(self.missing.items())]

    @property
    def name(self) -> str | None:
        """The product name, such as 'NVIDIA H200'."""
        return self._ask("name", "nvmlDeviceGetName")

    @property
    def uuid(self) -> str | None:
        """'GPU-…' or 'MIG-…'; what CUDA_VISIBLE_DEVICES also takes."""
        return self._ask("uuid", "nvmlDeviceGetUUID")

    @property
    def mig_enabled(self) -> bool | None:
        """Whether the board is divided into MIG instances; None where that is unknown."""
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
        return _int(self._ask("energy", "nvmlDeviceGetTotalEnergyConsumption", whole=True))

    def power_limit_watts(self) -> float | None:
        """The limit that is enforced now, in watts."""
        limit = self._ask("power_limit", "nvmlDeviceGetEnforcedPowerLimit", whole=True, zero=False)
        return None if limit is None else limit / 1e3

    def memory_bytes(self) -> tuple[int | None, int | None]:
        """(total, used) of the device by all processes."""
        memory = self._ask("memory", "nvmlDeviceGetMemoryInfo")
        return (None, None) if memory is None else (int(memory.total), int(memory.used))

    def _processes(self) -> tuple[int | None, int | None]:
        """The device memory of this process, which runs CUDA, with its context and libraries, and
        how many processes besides it compute on the board."""
        running = self._ask("processes", "nvmlDeviceGetComputeRunningProcesses")
        if running is None:
            return None, None
        for counter in ("process_memory", "other_processes"):
            self.missing.pop(counter, None)
        pid = os.getpid()
        own = [process.usedGpuMemory for process in running if process.pid == pid]
        if not own:
            self.missing["process_memory"] = (
                f"NVML lists no process {pid}: it holds nothing on this board, or a container "
                "hides it"
            )
        elif own[0] is None:
            self.missing["process_memory"] = "the driver does not count it per process"
        if not running:
            # This process computes on the board, so an empty list is not the truth.
            self.missing["other_processes"] = "NVML lists no process: a container hides them"
        # Others are counted, not compared by number: outside of this container numbers differ.
        return _int(own[0]) if own else None, len(running) - 1 if running else None

    def thermal_ns(self) -> int | None:
        """Nanoseconds of thermal throttling, since some moment.

        The only such counter that can be read safely: those of single clock events are fields
        whose numbers changed between drivers (251 to 253 became 269 to 271), so that a library
        and a driver of different ages would mean different things.
        """
        policy = self._nvml.NVML_PERF_POLICY_THERMAL
        status = self._ask("thermal_ns", "nvmlDeviceGetViolationStatus", policy, whole=True)
        return None if status is None else int(status.violationTime)

    def read(self) -> Reading:
        """All counters now; `process_memory_bytes` is of this process."""
        nvml, ask = self._nvml, self._ask
        _, used = self.memory_bytes()
        own, others = self._processes()
        utilisation = ask("utilisation", "nvmlDeviceGetUtilizationRates", whole=True)
        power = ask("power", "nvmlDeviceGetPowerUsage", whole=True, zero=False)
        clock = ask("sm_clock", "nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM, zero=False)
        sensor = nvml.NVML_TEMPERATURE_GPU
        celsius = ask("temperature", "nvmlDeviceGetTemperature", sensor, zero=False)
        events = ask("clock_events", "nvmlDeviceGetCurrentClocksEventReasons")
        return Reading(
            memory_used_bytes=used,
            process_memory_bytes=own,
            other_processes=others,
            power_watts=None if power is None else power / 1e3,
            power_limit_watts=self.power_limit_watts(),
            utilisation_percent=None if utilisation is None else int(utilisation.gpu),
            sm_clock_mhz=_int(clock),
            temperature_celsius=_int(celsius),
            clock_events=None if events is None else decode_clock_events(int(events)),
        )


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
