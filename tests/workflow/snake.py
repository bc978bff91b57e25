"""Running Snakemake as a user does, and reading what it says it would do."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Snake:
    """One call of Snakemake: exit code, everything it wrote, CPU seconds."""

    code: int
    text: str
    cpu_seconds: float

    @property
    def jobs(self) -> set[str]:
        """`rule` or `rule wildcard` of each job that was planned or run, targets left out."""
        found = set()
        for block in re.split(r"\n(?=(?:local)?rule )", self.text)[1:]:
            rule = re.match(r"(?:local)?rule (\w+):", block)
            wildcards = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            assert rule is not None
            names = re.findall(
                r"(?:run|dataset|measurement)=([^,\n]+)", wildcards[1] if wildcards else ""
            )
            if rule[1] not in ("all", "tables", "compare"):
                found.add(" ".join([rule[1], *names]))
        return found


def snakemake(
    folder: Path, *arguments: str | Path, snakefile: str = "Snakefile", source: Path = REPOSITORY
) -> Snake:
    """Run Snakemake in `folder`.

    Args:
        folder: the working directory.
        arguments: of Snakemake.
        snakefile: relative to `source`.
        source: the checkout, or a copy of it by `copy_source`.
    """
    beside = Path(sys.executable).parent
    # Without the environment's folder on PATH: a user may call .venv/bin/snakemake.
    environment = os.environ | {"PYTHONPATH": str(source)}
    command = [beside / "snakemake", "--snakefile", source / snakefile, *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Snake(done.returncode, done.stdout, cpu)


def copy_source(source: Path, target: Path) -> None:
    """Copy the package and the workflow, so that the copy can be changed."""
    target.mkdir()
    shutil.copy2(source / "Snakefile", target)
    for part in ("frcore", "workflow"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / part, target / part, ignore=ignored)
    (target / "profiles").symlink_to("workflow/profiles")
