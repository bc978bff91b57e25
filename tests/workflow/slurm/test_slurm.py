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

MEDDLERS = '''\
import time
from pathlib import Path

from frcore.heads.arcface import ArcFace


class Meddler(ArcFace):
    """ArcFace; while `hold-<name>` exists it fails, or waits after the first checkpoint."""

    def target(self, cosine_N, batch):
        name = type(self).__name__.lower()
        hold = Path(f"hold-{name}")
        if name == "fails" and hold.exists():
            hold.unlink()
            raise RuntimeError("this head fails once")
        checkpoint = Path(f"results/tiny/runs/tiny-{name}-full-s0/checkpoint.pt")
        while hold.exists() and checkpoint.exists():
            time.sleep(0.1)
        return super().target(cosine_N, batch)


class Fails(Meddler): ...
class Cancelled(Meddler): ...
class TimedOut(Meddler): ...
class Preempted(Meddler): ...
'''
NAMES = ("fails", "cancelled", "timedout", "preempted")
OUTAGE_SECONDS = 15.0
"""Longer than the 9 s that `squeue` tries to reach slurmctld for, and than a status interval."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Slurm's paths end in sockets, whose names have a limit.
    with one_node(tmp_path_factory.mktemp("slurm"), cpus=8) as cluster:
        yield cluster


def write_meddlers(folder: Path) -> None:
    heads = [
        {"name": f"meddlers:{name}", "label": name.lower(), "scale": 16, "margin": 0.1}
        for name in ("Fails", "Cancelled", "TimedOut", "Preempted")
    ]
    training = {**TINY["training"], "epochs": 2}
    write_study(folder, heads=heads, samplers=["full"], training=training, measurement=None)
    (folder / "meddlers.py").write_text(MEDDLERS)


def until(what: str, condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, f"Snakemake ended before: {what}"
        assert time.monotonic() < end, f"not within five minutes: {what}"
        time.sleep(0.2)


def test_a_study_that_meets_every_fault_has_the_tables_of_one_that_met_none(
    cluster: Cluster, tmp_path: Path
) -> None:
    here, there = tmp_path / "local", tmp_path / "cluster"
    for folder in (here, there):
        folder.mkdir()
        write_meddlers(folder)
    for name in NAMES:
        (there / f"hold-{name}").touch()
    jobs = {name: f"rule_train_backbone_wildcards_tiny_tiny-{name}-full-s0" for name in NAMES}

    def waits(name: str) -> bool:
        return (there / f"results/tiny/runs/tiny-{name}-full-s0/checkpoint.pt").exists()

    log = there / "snakemake.log"
    command = [
        str(Path(sys.executable).parent / "snakemake"), f"--snakefile={REPOSITORY}/Snakefile",
        f"--workflow-profile={REPOSITORY}/workflow/profiles/slurm", "--configfile=study.yaml",
        "--slurm-init-seconds-before-status-checks=2",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with log.open("w") as output, subprocess.Popen(
        command, cwd=there, env=environment, text=True, stdout=output, stderr=subprocess.STDOUT
    ) as process:  # fmt: skip
        try:
            for name in NAMES[1:]:
                until(f"{name} has a checkpoint", lambda name=name: waits(name), process)
            first = cluster.jobs("running")
            for name, end in (
                ("cancelled", ["scancel"]),
                ("timedout", ["scontrol", "update", "EndTime=now", "JobId={}"]),
                (
                    "preempted",
                    [
                        "sbatch",
                        "--partition=urgent",
                        "--exclusive",
                        "--output=/dev/null",
                        "--wrap=true",
                    ],
                ),
            ):
                given = [part.format(first[jobs[name]]) for part in end]
                subprocess.run(given + ([first[jobs[name]]] if len(end) == 1 else []), check=True)
                until(
                    f"{name} has ended",
                    lambda name=name: (
                        cluster.states()[first[jobs[name]]] not in ("RUNNING", "COMPLETING")
                    ),
                    process,
                )
                (there / f"hold-{name}").unlink()
            states = cluster.states()
            assert states[first[jobs["cancelled"]]] == "CANCELLED"
            assert states[first[jobs["timedout"]]] == "TIMEOUT"
            cluster.stop()
            time.sleep(OUTAGE_SECONDS)
            cluster.start()
            assert process.wait(600) == 0, log.read_text()[-4000:]
        finally:
            process.kill()
    print(log.read_text())
    local = snakemake(here, "--cores", "2", "--configfile", "study.yaml")
    assert local.code == 0, local.text
    for table in ("accuracy", "differences", "missing", "overview"):
        mine, theirs = (folder / f"results/tiny/tables/{table}.csv" for folder in (there, here))
        assert mine.read_bytes() == theirs.read_bytes(), table
