"""`frcore doctor`: what this machine has, and whether it is enough."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frcore.provenance import commit, cpu_model


@dataclass(frozen=True)
class Finding:
    """One line: `wrong` must be mended, `note` is worth knowing."""

    verdict: Literal["ok", "note", "wrong"]
    what: str
    found: str


def examine() -> list[Finding]:
    """All findings, the cheap ones first."""
    return [*_python(), *_machine(), *_packages(), *_programs(), *_torch()]


def _python() -> Iterator[Finding]:
    good = sys.version_info >= (3, 11)
    advice = "" if good else "; frcore needs 3.11 or newer"
    yield Finding("ok" if good else "wrong", "Python", platform.python_version() + advice)
    revision = commit()
    yield Finding(
        "ok" if revision else "note",
        "frcore",
        importlib.metadata.version("frcore")
        + (f", commit {revision}" if revision else ", not from a git checkout: no commit in rows"),
    )


def _machine() -> Iterator[Finding]:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "processor", f"{cpu_model()}, {cores} cores usable")
    memory = psutil.virtual_memory().total / 2**30
    yield Finding("ok" if memory >= 4 else "note", "memory", f"{memory:.1f} GiB")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    enough = free >= 2
    advice = "" if enough else "; a study needs some GiB"
    yield Finding("ok" if enough else "note", "disk", f"{free:.1f} GiB free here{advice}")
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            pass
    except OSError as error:
        yield Finding("wrong", "working directory", f"cannot be written ({error.strerror})")


def _packages() -> Iterator[Finding]:
    """Each dependency that frcore declares, against what is installed."""
    from packaging.requirements import Requirement

    wrong: list[str] = []
    requirements = [Requirement(text) for text in importlib.metadata.requires("frcore") or []]
    needed = [item for item in requirements if item.marker is None or item.marker.evaluate()]
    for requirement in needed:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        # A local part such as 2.13.0+cpu says how it was built, not what it is.
        if not requirement.specifier.contains(re.sub(r"\+.*", "", version), prereleases=True):
            wrong.append(f"{requirement.name} {version}, but {requirement.specifier} is needed")
    if wrong:
        yield Finding("wrong", "packages", "; ".join(wrong) + ": run `make install`")
    else:
        yield Finding("ok", "packages", f"all {len(needed)} as declared")


def _programs() -> Iterator[Finding]:
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([beside, os.environ.get("PATH", "")])
    for program, why in (("snakemake", "runs studies"), ("git", "gives rows their commit")):
        place = shutil.which(program, path=path)
        missing = Finding("note", program, f"not found; it {why}")
        yield Finding("ok", program, place) if place else missing


def _torch() -> Iterator[Finding]:
    import torch

    yield Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        yield Finding(
            "note", "GPU", "none that torch can use; studies with `device: cuda` cannot run"
        )
        return
    from frcore.measurement.nvml import describe_gpu

    for index in range(torch.cuda.device_count()):
        described = describe_gpu(f"cuda:{index}")
        text = ", ".join(f"{key} {value}" for key, value in described.items() if value is not None)
        yield Finding("ok", f"GPU {index}", text)
