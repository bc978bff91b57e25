"""Peak rates and memory of GPUs, each with its source, or of the user's own."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from frcore.errors import UserError, unknown_name

YOURS = "your GPU"


@dataclass(frozen=True)
class Device:
    """Ceilings of one GPU.

    Attributes:
        name: as in `--device`.
        boards: its product names, as the driver says them.
        tflops: peak rate of dense matrix products, 10¹² FLOP/s, by precision of the operands;
            those of 16 bits add up in fp32.
        tb_per_second: memory bandwidth, 10¹² bytes/s.
        memory_gib: memory; the GB of a data sheet, of which drivers show 99 % or more in GiB.
        network_gb_per_second: to the other GPUs of the machine, one way, 10⁹ bytes/s.
        source: where the numbers are from.
        reached: the highest rates that programs are known to have reached on it, of the two kinds
            above; None if nobody looked.
    """

    name: str
    boards: tuple[str, ...]
    tflops: Mapping[str, float]
    tb_per_second: float
    memory_gib: float
    network_gb_per_second: float
    source: str
    reached: Reached | None = None

    def is_board(self, product_name: str | None) -> bool:
        """Whether a GPU with this product name is of this kind.

        >>> h200 = DEVICES["h200"]
        >>> h200.is_board("NVIDIA H200"), h200.is_board("NVIDIA H200 NVL"), h200.is_board(None)
        (True, False, False)
        """
        return (product_name or "").removeprefix("NVIDIA ") in self.boards

    def at_best(self) -> Device:
        """The same with the rates that were reached instead of the data sheet's."""
        if self.reached is None:
            return self
        tflops = {**self.tflops, **self.reached.tflops}
        return dataclasses.replace(self, tflops=tflops, tb_per_second=self.reached.tb_per_second)

    def yours(
        self,
        *,
        tflops: float | None = None,
        tb_per_second: float | None = None,
        memory_gib: float | None = None,
        network_gb_per_second: float | None = None,
    ) -> Device:
        """A GPU given by figures, and by this one where they are None; `self` if all are.

        Args:
            tflops: for every precision.
            tb_per_second: as the attribute, and so on.
        """
        given = {
            "tflops": None if tflops is None else dict.fromkeys(self.tflops, tflops),
            "tb_per_second": tb_per_second,
            "memory_gib": memory_gib,
            "network_gb_per_second": network_gb_per_second,
        }
        changed = {key: value for key, value in given.items() if value is not None}
        if not changed:
            return self
        rest = [key for key in given if key not in changed]
        source = f"{', '.join(changed)}: as given"
        source += f"; {', '.join(rest)}: of {self.name} ({self.source})" if rest else ""
        return dataclasses.replace(self, name=YOURS, boards=(), reached=None, source=source,
                                   **changed)  # type: ignore[arg-type]  # fmt: skip


@dataclass(frozen=True)
class Reached:
    """Highest rates that programs reached, and who; in the units of `Device`."""

    tflops: Mapping[str, float]
    tb_per_second: float
    source: str


_HOPPER = {"bf16": 989.5, "fp16": 989.5, "tf32": 494.5, "fp32": 67.0}

_TABLE = (
    Device(
        "h200", ("H200",), _HOPPER, 4.8, 143_771 / 1024, 450,
        "data sheet of the H200 SXM (hpc-datasheet-sc23-h200); memory as its driver shows it",
        Reached(
            {"bf16": 790.0}, 4.3,
            "bf16: the best fused linear cross entropy published (Liger-Kernel, pull request 1422:"
            " 791 forward, 783 backward); memory: a copy within the board, both directions counted",
        ),
    ),
    Device("h100", ("H100 80GB HBM3",), _HOPPER, 3.35, 80, 450,
           "data sheet of the H100 SXM (h100-datasheet-24306)"),
    Device("a100", ("A100-SXM4-80GB",),
           {"bf16": 312.0, "fp16": 312.0, "tf32": 156.0, "fp32": 19.5}, 2.039, 80,
           300, "data sheet of the A100 SXM 80 GB (nvidia-a100-datasheet 1758950-r4)"),
    Device("l40s", ("L40S",), {"bf16": 362.05, "fp16": 362.05, "tf32": 183.0, "fp32": 91.6},
           0.864, 48, 32,
           "data sheet of the L40S; no NVLink: PCIe 4.0 × 16, 64 GB/s both ways"),
    Device("rtx-4090", ("GeForce RTX 4090",),
           {"bf16": 165.2, "fp16": 165.2, "tf32": 82.6, "fp32": 82.6}, 1.008, 24, 32,
           "white paper of the Ada architecture, sums in fp32; no NVLink: PCIe 4.0 × 16"),
    Device("v100", ("Tesla V100-SXM2-32GB",), {"fp16": 125.0, "fp32": 15.7}, 0.9, 32_510 / 1024,
           150, "data sheet of the V100 SXM2 32 GB (volta-v100-datasheet 1165301-r5); memory as "
           "its driver shows it"),
)  # fmt: skip

DEVICES: dict[str, Device] = {device.name: device for device in _TABLE}


def get_device(name: str) -> Device:
    """The device called `name`, in any spelling.

    >>> get_device("RTX 4090").name
    'rtx-4090'

    Raises:
        UserError: it is not in the table.
    """
    for device in DEVICES.values():
        if _letters(device.name) == _letters(name):
            return device
    problem = unknown_name("GPU", name, DEVICES, where="--device")
    raise UserError(
        f"{problem}; give another GPU by --tflops, --bandwidth, --memory-gib and --network"
    )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
