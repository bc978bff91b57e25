"""Slurm as Snakemake meets it: programs of this workflow that stand before Slurm's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def put_first(folder: Path) -> None:
    """Put the programs in `folder` before Slurm's on this process's PATH, where there is Slurm."""
    if shutil.which("sbatch") is not None:
        os.environ["PATH"] = os.pathsep.join((str(folder), os.environ.get("PATH", os.defpath)))
