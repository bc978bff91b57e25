"""What an NVIDIA board says about itself, through NVML (`nvidia-ml-py`).

A counter that a board, a driver or a container does not have is `None` and its reason is kept in
`missing`: 0 W or 0 MiB would be read as a measurement. Importing this module needs no NVIDIA
library; `Nvml.available()` tells whether there is one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import pynvml

from frcore.measurement.clocks import NOT_THROTTLING, decode_clock_events

T = TypeVar("T")

MIB = 1024 * 1024


@dataclass(frozen=True)
class Reading:
    """One look at a board. `None`: the board or the container cannot tell; `missing` says why."""

    memory_total_bytes: int | None
    memory_used_bytes: int | None
    process_memory_bytes: int | None
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
        return self._ask_whole_board(
            "power_limit", lambda: self._nvml.nvmlDeviceGetEnforcedPowerLimit(self._handle) / 1e3
        )

    def memory_bytes(self) -> tuple[int | None, int | None]:
        """(total, used) of the device by all processes."""
        memory = self._ask("memory", lambda: self._nvml.nvmlDeviceGetMemoryInfo(self._handle))
        return (None, None) if memory is None else (int(memory.total), int(memory.used))

    def process_memory_bytes(self, pid: int | None = None) -> int | None:
        """Device memory of one process (this one by default), with its context and libraries."""
        pid = os.getpid() if pid is None else pid
        running = self._ask(
            "process_memory",
            lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle),
        )
        if running is None:
            return None
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

    def process_count(self) -> int | None:
        """How many processes compute on the board, as far as a container lets it be seen."""
        running = self._ask(
            "process_memory",
            lambda: self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle),
        )
        return None if running is None else len(running)

    def clock_events(self) -> tuple[str, ...] | None:
        """Why the clocks are where they are now."""
        bits = self._ask(
            "clock_events",
            lambda: int(self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle)),
        )
        return None if bits is None else decode_clock_events(bits)

    def read(self, pid: int | None = None) -> Reading:
        """All counters now; `pid` as in `process_memory_bytes`."""
        nvml, handle = self._nvml, self._handle
        total, used = self.memory_bytes()
        utilisation = self._ask_whole_board(
            "utilisation", lambda: nvml.nvmlDeviceGetUtilizationRates(handle)
        )
        return Reading(
            memory_total_bytes=total,
            memory_used_bytes=used,
            process_memory_bytes=self.process_memory_bytes(pid),
            power_watts=self._ask_whole_board(
                "power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3
            ),
            power_limit_watts=self.power_limit_watts(),
            energy_mj=self.energy_mj(),
            utilisation_percent=None if utilisation is None else int(utilisation.gpu),
            sm_clock_mhz=self._ask(
                "sm_clock", lambda: int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
            ),
            temperature_celsius=self._ask(
                "temperature",
                lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
            ),
            clock_events=self.clock_events(),
            missing=dict(self.missing),
        )


class Nvml:
    """An open NVML library. Use as a context manager.

    Args:
        library: a module with pynvml's functions; another one only in tests.

    Raises:
        pynvml.NVMLError: on entering, when the library is missing or the driver does not answer.
    """

    def __init__(self, library: Any = pynvml):
        self._nvml = library

    def __enter__(self) -> Nvml:
        self._nvml.nvmlInit()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._nvml.nvmlShutdown()

    @classmethod
    def why_not(cls, library: Any = pynvml) -> str | None:
        """Why NVML cannot be used here, or None when it can."""
        try:
            with cls(library):
                return None
        except library.NVMLError as error:
            return f"NVML: {error}"

    @classmethod
    def available(cls, library: Any = pynvml) -> bool:
        """Whether NVML can be used here; `why_not` gives the reason."""
        return cls.why_not(library) is None

    @property
    def driver(self) -> str | None:
        """The driver's version."""
        try:
            return str(self._nvml.nvmlSystemGetDriverVersion())
        except self._nvml.NVMLError:
            return None

    def boards(self) -> list[Board]:
        """All boards of the machine in NVML's (PCI bus) order, visible to CUDA or not."""
        return [
            Board(self._nvml, self._nvml.nvmlDeviceGetHandleByIndex(index))
            for index in range(self._nvml.nvmlDeviceGetCount())
        ]

    def board(self, uuid: str) -> Board | None:
        """The board or MIG instance with this UUID, or with this unique beginning of it."""
        try:
            return Board(self._nvml, self._nvml.nvmlDeviceGetHandleByUUID(uuid))
        except self._nvml.NVMLError:
            alike = [board for board in self.boards() if (board.uuid or "").startswith(uuid)]
            return alike[0] if len(alike) == 1 else None


@dataclass(frozen=True)
class GpuDescription:
    """What a result must say about the GPU that made it."""

    name: str | None = None
    uuid: str | None = None
    driver: str | None = None
    power_limit_watts: float | None = None
    memory_mib: int | None = None
    mig: bool | None = None
    note: str | None = None


def describe_gpu(device: str, library: Any = pynvml) -> dict[str, Any]:
    """Name, UUID, driver, power limit and memory of torch's `device`, such as 'cuda' or 'cuda:1'.

    Values that NVML cannot tell are None and `note` says why; it never raises for a missing GPU,
    because provenance must not stop a run.
    """
    from frcore.measurement.visible import board_of

    reason = Nvml.why_not(library)
    if reason is not None:
        return asdict(GpuDescription(note=reason))
    with Nvml(library) as nvml:
        board = board_of(nvml, device)
        if board is None:
            return asdict(
                GpuDescription(driver=nvml.driver, note=f"NVML has no board for {device}")
            )
        total, _ = board.memory_bytes()
        description = GpuDescription(
            name=board.name,
            uuid=board.uuid,
            driver=nvml.driver,
            power_limit_watts=board.power_limit_watts(),
            memory_mib=None if total is None else total // MIB,
            mig=board.mig_enabled,
        )
        missing = "; ".join(f"{key}: {why}" for key, why in sorted(board.missing.items()))
        return {**asdict(description), "note": missing or None}
