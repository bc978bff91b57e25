"""Where a number comes from: versions, device, commit, and a fingerprint of the code."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import frcore

LIBRARIES = ("torch", "numpy", "opencv-python-headless", "timm", "scipy", "pandas", "snakemake")
"""The libraries whose version can move a number; a changed one makes Snakemake run again."""

PACKAGE = Path(frcore.__file__).parent


def versions() -> dict[str, str]:
    """Installed versions of `LIBRARIES` and Python; a missing one is left out."""
    found = {"python": platform.python_version(), "frcore": frcore.__version__}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def commit() -> str | None:
    """The git commit of the source, with '+' when it has changes; None outside a checkout."""
    git = ["git", "-C", str(PACKAGE), "--no-optional-locks"]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True,
                              text=True, check=True, timeout=10).stdout.strip()  # fmt: skip
        # An installed copy may lie inside somebody else's repository.
        inside = subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"],
                                capture_output=True, timeout=10)  # fmt: skip
        dirty = subprocess.run([*git, "status", "--porcelain", "--", str(PACKAGE)],
                               capture_output=True, text=True, check=True, timeout=10)  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    if inside.returncode != 0:
        return None
    return head + ("+" if dirty.stdout.strip() else "")


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int | None:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: knows about cgroups and taskset
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def environment(device: str = "cpu") -> dict[str, Any]:
    """What a result was made with: versions, commit, processor, and the GPU for 'cuda'."""
    record: dict[str, Any] = {
        "versions": versions(),
        "commit": commit(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": cores(),
        "device": device,
        "gpu": None,
    }
    if device.startswith("cuda"):
        from frcore.measurement.nvml import describe_gpu

        record["gpu"] = describe_gpu(device)
    return record


def _meaning(path: Path) -> str:
    """The syntax tree of a Python file without docstrings, comments and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if (
            isinstance(node, documented)
            and body
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = body[1:]
    return ast.dump(tree)


@functools.cache
def _file_fingerprint(path: Path) -> str:
    return hashlib.sha256(_meaning(path).encode()).hexdigest()


def code_fingerprint(parts: Iterable[str]) -> str:
    """A hash of what `parts` of the package mean: modules or sub-packages, such as "data".

    Rules have it as a parameter, so that results made by other code are made again, while a
    changed comment or docstring repeats nothing.
    """
    files: set[Path] = set()
    for part in parts:
        place = PACKAGE.joinpath(*part.split("."))
        files.update(place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(_file_fingerprint(path).encode())
    return digest.hexdigest()[:12]
