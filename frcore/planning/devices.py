"""Peak rates and memory of GPUs, with sources."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from frcore.errors import unknown_name


@dataclass(frozen=True)
class Device:
    """Ceilings of one GPU.

    Attributes:
        name: as in `--device`; matches GPUs whose product name contains it as a word.
        tflops: peak rate of dense matrix products, 10¹² FLOP/s, by precision of the operands.
        tb_per_second: memory bandwidth, 10¹² bytes/s.
        memory_gib: memory available to a process.
        link_gb_per_second: to the other GPUs of the machine, one way, 10⁹ bytes/s.
        source: where each number is from.
    """

    name: str
    tflops: Mapping[str, float]
    tb_per_second: float
    memory_gib: float
    link_gb_per_second: float
    source: str

    def is_board(self, product_name: str | None) -> bool:
        """Whether a GPU with this product name is of this kind.

        >>> DEVICES["h200"].is_board("NVIDIA H200"), DEVICES["h200"].is_board("NVIDIA GH200 480GB")
        (True, False)
        """
        return self.name in re.split(r"[^a-z0-9]+", (product_name or "").lower())

    def replaced(
        self,
        *,
        tflops: float | None = None,
        tb_per_second: float | None = None,
        memory_gib: float | None = None,
        link_gb_per_second: float | None = None,
    ) -> Device:
        """The same with the user's values; `tflops` applies to every precision."""
        given = {
            "tflops": None if tflops is None else dict.fromkeys(self.tflops, tflops),
            "tb_per_second": tb_per_second,
            "memory_gib": memory_gib,
            "link_gb_per_second": link_gb_per_second,
        }
        changed = {key: value for key, value in given.items() if value is not None}
        if not changed:
            return self
        source = f"{', '.join(changed)}: given; the rest: {self.source}"
        return dataclasses.replace(self, **changed, source=source)  # type: ignore[arg-type]


DEVICES: dict[str, Device] = {
    "h200": Device(
        name="h200",
        tflops={"bf16": 790.0, "tf32": 400.0, "fp32": 55.0},
        tb_per_second=4.3,
        memory_gib=143_771 / 1024,
        link_gb_per_second=450.0,
        source=(
            "bf16: an 8192³ matrix product of random numbers, and bandwidth: a copy inside the "
            "board, read and written bytes counted, both measured on an NVIDIA H200 (datasheet: "
            "989 TFLOP/s, 4.8 TB/s); memory: as shown by its driver; tf32 and fp32: assumed, about "
            "80 % of the datasheet's 494 and 67 TFLOP/s; link: the datasheet's NVLink, one way"
        ),
    ),
}


def get_device(name: str) -> Device:
    """The device called `name`.

    Raises:
        UserError: it is not in the table.
    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES, where="--device")
    return DEVICES[name]
