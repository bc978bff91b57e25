"""The first line of a session: which machine this is, and what about it is not as expected.

`python -m benchmarks.session.machine cuda`; on a machine that is lent for minutes, what is wrong
must be known before they are spent.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

import torch
from packaging.version import Version

from frcore.loss.triton import OLDEST, installed
from frcore.machine.parallel import available_cores
from frcore.machine.visible import describe_gpu
from frcore.planning import DEVICES

USABLE_CAPABILITY = 8, 0
"""The oldest architecture with bfloat16 tensor cores."""


def triton_version() -> str | None:
    """Of the installed triton."""
    try:
        return version("triton")
    except PackageNotFoundError:
        return None


def problems(device: str, gpu: str | None) -> list[str]:
    """What is not as a session on `device` expects it.

    Args:
        device: "cuda" or "cpu".
        gpu: its product name.
    """
    found = []
    if not installed():
        found.append(f"triton {triton_version()} (needed is {OLDEST} or newer)")
    if device == "cpu":
        return found
    if not torch.cuda.is_available():
        return [*found, f"torch {torch.__version__} sees no GPU"]
    capability = torch.cuda.get_device_capability()
    if capability < USABLE_CAPABILITY:
        found.append(f"compute capability {capability[0]}.{capability[1]} (needed is 8.0)")
    if not any(known.is_board(gpu) for known in DEVICES.values()):
        found.append(f"no plan for a '{gpu}': rows will have no plan_ms")
    free, total = torch.cuda.mem_get_info()
    if free < 0.95 * total:
        found.append(f"{(total - free) / 2**30:.1f} GiB of the GPU are taken already")
    if Version(torch.__version__).release < (2, 8):
        found.append(f"torch {torch.__version__} (products in bf16 with float32 sums from 2.8 on)")
    return found


def line(device: str) -> str:
    """The machine in one line, and whether it is as expected."""
    described = describe_gpu(device) if device != "cpu" else {"name": "no GPU", "driver": None}
    python = ".".join(map(str, sys.version_info[:3]))
    parts = [
        str(described["name"]), f"driver {described['driver']}", f"torch {torch.__version__}",
        f"triton {triton_version()}", f"Python {python}", f"{available_cores()} cores",
    ]  # fmt: skip
    wrong = problems(device, described["name"])
    return f"machine: {', '.join(parts)}: {'; '.join(wrong) if wrong else 'as expected'}"


if __name__ == "__main__":
    sys.stdout.write(line(sys.argv[1]) + "\n")
