"""Where a number comes from: versions, device and commit."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import frcore
from frcore.machine.parallel import available_cores

LIBRARIES = ("torch", "numpy", "opencv-python-headless", "pillow", "timm", "scipy", "pandas")
"""The libraries whose version can change a number; a new version makes Snakemake run again."""

RUNTIMES = ("onnxruntime", "onnx")
"""The libraries that read and run models trained elsewhere; nothing else depends on them."""

PACKAGE = Path(frcore.__file__).parent


def versions(*more: str) -> dict[str, str]:
    """Installed versions of Python, `LIBRARIES` and `more`; a missing one is left out."""
    found = {"python": platform.python_version(), "frcore": frcore.__version__}
    for library in (*LIBRARIES, *more):
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """The git commit of the source, with '+' when it has changes; None outside a checkout."""
    try:
        # An installed copy may be inside an unrelated repository.
        _git("ls-files", "--error-unmatch", "__init__.py")
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", str(PACKAGE)) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """What git prints about the package's folder."""
    command = ["git", "-C", str(PACKAGE), "--no-optional-locks", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


def cpu_model() -> str:
    """The processor's name as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment(device: str = "cpu", *libraries: str) -> dict[str, Any]:
    """What a result was made with: versions, commit, processor, and the GPU for 'cuda'.

    Args:
        device: 'cpu' or 'cuda'.
        libraries: whose versions to record besides `LIBRARIES`.
    """
    record: dict[str, Any] = {
        "versions": versions(*libraries),
        "commit": commit(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": available_cores(),
        "device": device,
        "gpu": None,
    }
    if device.startswith("cuda"):
        from frcore.machine.visible import describe_gpu

        record["gpu"] = describe_gpu(device)
    return record
