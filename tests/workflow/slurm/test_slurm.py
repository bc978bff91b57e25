"""A study on a real Slurm whose jobs fail, are cancelled, run out of time and are preempted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tiny_study import TINY, write_study
from tests.workflow.slurm.cluster import Cluster, missing, one_node
from tests.workflow.snake import REPOSITORY, snakemake

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.grid,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

HEADS = '''\
import time
from pathlib import Path

from frcore.heads.arcface import ArcFace


class Meddler(ArcFace):
    """ArcFace that fails once where `fail-<name>` exists, and from its first checkpoint on waits
    while `hold-<name>` does."""

    def target(self, cosine_N, batch):
        name = type(self).__name__.lower()
        fail, hold, waits = (Path(f"{what}-{name}") for what in ("fail", "hold", "waits"))
        if fail.exists():
            fail.unlink()
            raise RuntimeError("this head fails once")
        run = Path(f"results/tiny/runs/tiny-{name}-full-s0")
        if hold.exists() and list(run.glob("checkpoint*")):
            waits.touch()
            while hold.exists():
                time.sleep(0.1)
        return super().target(cosine_N, batch)


class Unlucky(Meddler): ...
class Slow(Meddler): ...
'''
OUTAGE_SECONDS = 15.0
"""Longer than the 9 s for which `squeue` tries to reach slurmctld."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with one_node(tmp_path_factory.mktemp("slurm"), cpus=4) as cluster:
        yield cluster


class Study:
    """A study in a folder, and Snakemake on Slurm at work on it."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.log = folder / "snakemake.log"
        command = [
            str(Path(sys.executable).parent / "snakemake"), f"--snakefile={REPOSITORY}/Snakefile",
            f"--workflow-profile={REPOSITORY}/workflow/profiles/slurm", "--configfile=study.yaml",
            "--slurm-init-seconds-before-status-checks=2", "--groups", "evaluate_run=evaluations",
            "--group-components", "evaluations=2",
        ]  # fmt: skip
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, text=True,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def until(self, what: str, condition: Callable[[], object], seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"Snakemake ended before {what}: {self.told}"
            assert time.monotonic() < end, f"not within {seconds} s: {what}: {self.told}"
            time.sleep(0.2)

    @property
    def told(self) -> str:
        return self.log.read_text()[-4000:]

    def waiting(self, name: str) -> str:
        """The id of the job that trains the run with this head, once it waits."""
        waits = self.folder / f"waits-{name}"
        self.until(f"{name} waits", waits.exists)
        comment = f"rule_train_backbone_wildcards_tiny_tiny-{name}-full-s0"
        job = self.cluster.jobs("running")[comment]
        waits.unlink()
        return job

    def meets(self, job: str, command: str) -> str:
        """The state of a job after a command that ends it."""
        subprocess.run(command.format(job=job).split(), check=True)
        running = ("RUNNING", "COMPLETING")
        self.until(f"the end of {job}", lambda: self.cluster.states()[job] not in running)
        return self.cluster.states()[job]


def write_files(folder: Path) -> None:
    folder.mkdir()
    heads = [
        {"name": f"meddlers:{name}", "label": name.lower(), "scale": 16, "margin": 0.1}
        for name in ("Unlucky", "Slow")
    ]
    training = {**TINY["training"], "epochs": 2}
    write_study(folder, heads=heads, samplers=["full"], training=training, measurement=None)
    (folder / "meddlers.py").write_text(HEADS)


@pytest.mark.long
def test_a_study_that_meets_every_fault_has_the_tables_of_one_that_met_none(
    cluster: Cluster, tmp_path: Path
) -> None:
    here, there = tmp_path / "local", tmp_path / "slurm"
    write_files(here)
    write_files(there)
    for name in ("fail-unlucky", "hold-unlucky", "hold-slow"):
        (there / name).touch()
    study = Study(there, cluster)
    try:
        first = study.waiting("slow")
        assert study.meets(first, "scontrol update EndTime=now JobId={job}") == "TIMEOUT"
        second = study.waiting("unlucky")  # the first one has failed
        assert study.meets(second, "scancel {job}") == "CANCELLED"
        (there / "hold-unlucky").unlink()
        urgent = "sbatch --partition=urgent --exclusive --output=/dev/null --wrap=true"
        third = study.waiting("slow")
        assert third != first
        study.meets(third, urgent)
        (there / "hold-slow").unlink()
        cluster.stop()
        time.sleep(OUTAGE_SECONDS)
        cluster.start()
        assert study.process.wait(300) == 0, study.told
    finally:
        study.process.kill()
    assert cluster.states()[third] == "COMPLETED", "a preempted job keeps its number"
    ended = sorted(state for state in cluster.states().values() if state != "COMPLETED")
    assert ended == ["CANCELLED", "FAILED", "TIMEOUT"], "and nothing else was done twice"
    log = (there / "logs/tiny/train/tiny-slow-full-s0.log").read_text()
    assert "resuming" in log

    local = snakemake(here, "--cores", "2", "--configfile", "study.yaml")
    assert local.code == 0, local.text
    tables = sorted(path.name for path in (here / "results/tiny/tables").glob("*.csv"))
    assert "accuracy.csv" in tables
    for name in tables:
        mine, other = (folder / "results/tiny/tables" / name for folder in (there, here))
        assert mine.read_bytes() == other.read_bytes(), name


TWO_GPUS = """
rule train_backbone:
    output: "two"
    resources: gpu=2, runtime=5, mem_mb=100
    shell: "echo ${{CUDA_VISIBLE_DEVICES:-none}} >> starts; cp starts {output}"
"""


def test_a_job_with_two_gpus_starts_its_script_once(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "two_gpus.smk").write_text(TWO_GPUS)
    profile = REPOSITORY / "workflow/profiles/slurm"
    done = snakemake(
        tmp_path, f"--workflow-profile={profile}", "--slurm-init-seconds-before-status-checks=2",
        "two", snakefile="two_gpus.smk", source=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.text
    assert (tmp_path / "two").read_text() == "0,1\n"
