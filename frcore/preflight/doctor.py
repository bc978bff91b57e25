"""`frcore doctor`: what this machine has, and for each study whether it can run here.

Every problem comes with what to do about it, as a command where there is one.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from frcore.data.pixels.picture_kinds import SUFFIXES
from frcore.errors import UserError
from frcore.machine.faults import existing
from frcore.machine.nvml import Nvml
from frcore.machine.parallel import available_cores
from frcore.machine.visible import describe_gpu
from frcore.provenance.environment import commit, cpu_model
from frcore.study import expansion
from frcore.study.config import Study

DEFAULT_STUDY = "quick"
GIB = 1024**3

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: its name.
        verdict: "ok"; "note", something optional is not there; "wrong", something needed is not.
        found: what was found, as text.
        fix: what to do, if anything.
    """

    what: str
    verdict: Verdict
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class Report:
    """All findings: of the machine, and for each study."""

    machine: tuple[Finding, ...]
    studies: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that the default study needs is there."""
        return all(finding.verdict != "wrong" for finding in (*self.machine, *self.studies))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"ok": self.ok, **asdict(self)}


def diagnose(study_files: Iterable[Path], *, results: Path = Path("results")) -> Report:
    """Check this machine and every study.

    Args:
        study_files: YAML files; the one called `DEFAULT_STUDY` must be able to run here, the
            others are only reported.
        results: where studies write; need not exist yet.
    """
    gpu = _gpu()
    machine = (_python(), *_libraries(), _torch(), gpu, _processor(), _memory(), _disk(results),
               _snakemake(), _git(), _slurm(), _browser())  # fmt: skip
    studies = (_study(path, has_gpu=gpu.verdict == "ok", results=results) for path in study_files)
    return Report(machine, tuple(studies))


def render(report: Report, console: Console) -> None:
    """Print the report as two tables."""
    for title, findings in (("This machine", report.machine), ("Studies", report.studies)):
        table = Table("", title, "found", box=None, pad_edge=False)
        for finding in findings:
            colour = {"ok": "green", "note": "yellow", "wrong": "bold red"}[finding.verdict]
            fix = "" if finding.fix is None else f"\n[dim]→ {escape(finding.fix)}[/]"
            mark = f"[{colour}]{finding.verdict}[/]"
            table.add_row(mark, escape(finding.what), escape(finding.found) + fix)
        console.print(table)
        console.print()


# --- software ------------------------------------------------------------------------------------


def _python() -> Finding:
    version = platform.python_version()
    allowed = importlib.metadata.metadata("frcore")["Requires-Python"] or ""
    found = f"{version} on {platform.platform()}"
    if SpecifierSet(allowed).contains(version, prereleases=True):
        return Finding("python", "ok", found)
    return Finding("python", "wrong", f"{found}; needed is {allowed}", "make install")


def _libraries() -> list[Finding]:
    """One finding for all that are fine, and one for each that is not."""
    found, wrong = [], []
    for requirement in map(Requirement, importlib.metadata.requires("frcore") or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        problem = _problem_of(requirement)
        if problem is None:
            found.append(f"{requirement.name} {importlib.metadata.version(requirement.name)}")
        else:
            fix = f"{sys.executable} -m pip install '{requirement}'"
            wrong.append(Finding(requirement.name, "wrong", problem, fix))
    return [Finding("libraries", "ok", ", ".join(found)), *wrong]


def _problem_of(requirement: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return f"not installed; needed is {requirement}"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"version {version}; needed is {requirement.specifier}"


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: one of its libraries is missing or broken
        return Finding("torch", "wrong", f"cannot be imported: {error}", "make install")
    build = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for CPU only"
    return Finding("torch", "ok", f"{torch.__version__}, {build}")


def _snakemake() -> Finding:
    if command := shutil.which("snakemake"):
        return Finding("snakemake", "ok", command)
    beside = Path(sys.executable).with_name("snakemake")
    if not beside.exists():
        return Finding("snakemake", "wrong", "no command `snakemake`", "make install")
    fix = f'export PATH="{beside.parent}:$PATH"'
    return Finding("snakemake", "note", f"{beside}, which is not on the PATH", fix)


def _git() -> Finding:
    if revision := commit():
        return Finding("git", "ok", f"commit {revision}")
    return Finding("git", "note", "frcore is not in a git checkout: results record no commit")


def _slurm() -> Finding:
    sbatch = shutil.which("sbatch")
    if not sbatch:
        return Finding("slurm", "note", "no `sbatch`: jobs run on this machine")
    if _problem_of(Requirement("snakemake-executor-plugin-slurm")) is None:
        return Finding("slurm", "ok", f"{sbatch} and Snakemake's plugin for it")
    fix = f"{sys.executable} -m pip install 'frcore[slurm]'"
    return Finding("slurm", "note", f"{sbatch}, but not Snakemake's plugin for it", fix)


def _browser() -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    if command := next(filter(None, map(shutil.which, names)), None):
        return Finding("chromium", "ok", command)
    return Finding("chromium", "note", "none; only for screenshots of the report's page")


# --- hardware ------------------------------------------------------------------------------------


def _gpu() -> Finding:
    """Whether torch can use a GPU, and which; where only one of torch and NVML sees it, why."""
    try:
        import torch

        usable, cuda = torch.cuda.is_available(), torch.version.cuda
    except (ImportError, OSError):
        usable, cuda = False, None
    reason = Nvml.why_not()
    names = []
    if reason is None:
        with Nvml() as nvml:
            names = [f"{board.name} ({board.uuid})" for board in nvml.boards()]
            driver = nvml.driver
    if usable:
        seen = ", ".join(names) or torch.cuda.get_device_name(0)
        limit = describe_gpu("cuda")["power_limit_watts"]
        details = f"; no power, energy or clocks ({reason})" if reason else f"; driver {driver}"
        return Finding("gpu", "ok", seen + details + (f", {limit:.0f} W" if limit else ""))
    if not names:
        return Finding("gpu", "note", f"none ({reason or 'NVML lists no board'})")
    if cuda is None:
        fix = "install a CUDA build of torch: https://pytorch.org/get-started/locally"
        return Finding("gpu", "note", f"{', '.join(names)}, but this torch is for CPU only", fix)
    fix = "update the driver, or check whether CUDA_VISIBLE_DEVICES hides the GPU"
    found = f"{', '.join(names)}, driver {driver}, but torch for CUDA {cuda} cannot use it"
    return Finding("gpu", "note", found, fix)


def _processor() -> Finding:
    return Finding("processor", "ok", f"{cpu_model()}, {available_cores()} cores for this process")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} GiB free of {memory.total / GIB:.1f} GiB"
    return Finding("memory", "ok", found)


def _disk(results: Path) -> Finding:
    place = existing(results)
    found = f"{shutil.disk_usage(place).free / GIB:.1f} GiB free at {results}/"
    if os.access(place, os.W_OK | os.X_OK):
        return Finding("disk", "ok", found)
    return Finding("disk", "wrong", f"{found}, but {place} cannot be written", "work in a folder "
                   "of your own, or set --directory of snakemake")  # fmt: skip


# --- studies -------------------------------------------------------------------------------------


def _study(path: Path, *, has_gpu: bool, results: Path) -> Finding:
    from frcore.preflight.load import load_study

    path = Path(path)
    short: Verdict = "wrong" if path.stem == DEFAULT_STUDY else "note"
    command = f"snakemake --cores all --configfile {path}"
    try:
        study = load_study(path)
    except UserError as error:
        # The message, like every error, also says what to do.
        return Finding(path.stem, short, f"not ready: {error}")
    parts = (expansion.evaluation(study), study.training, study.measurement)
    if not has_gpu and "cuda" in (part.device for part in parts if part is not None):
        found = "not ready: device 'cuda', and torch sees no GPU here"
        fix = f"on a machine with an NVIDIA GPU: {command}"
        return Finding(study.name, short, found, fix)
    needed = prepared_bytes(study)
    free = shutil.disk_usage(existing(results / study.name)).free
    size = f"about {needed / GIB:.2f} GiB of prepared data"
    if needed > free:
        found = f"not ready: {size}, and {free / GIB:.2f} GiB are free at {results}/"
        fix = f"put {results}/ on a larger disk: mv {results} BIG/ && ln -s BIG/results {results}"
        return Finding(study.name, short, found, fix)
    return Finding(study.name, "ok", f"ready; {size}", command)


def prepared_bytes(study: Study) -> int:
    """Disk space of the study's prepared images: uint8 RGB, all data sets together.

    Exact for synthetic data with equal counts, the mean under a long tail; for folders an upper
    bound, because it counts files that a list or `min_images` leaves out.
    """
    # Each data set has its own copy, even if they share a source folder.
    return sum(_images(data) for data in study.data.values()) * study.image.size**2 * 3


def _images(data: Any) -> int:
    if expansion.stays_in_place(data):
        return 0
    if data.kind == "synthetic_templates":
        return data.identities * data.templates * data.images
    if data.kind.startswith("synthetic"):
        return data.identities * data.images
    root = Path(data.root)
    if data.kind.startswith("lfw"):
        root = root / "aligned-112"
    return sum(path.suffix.lower() in SUFFIXES for path in root.rglob("*"))
