"""The NVML library (`nvidia-ml-py`): which boards there are.

Importing this module needs no NVIDIA library; `Nvml.why_not()` is None where there is one.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import pynvml

from frcore.machine.board import Board


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
