"""The programs that stand before Slurm's own, over made-up ones of Slurm."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from frcore.machine import slurm
from tests.workflow.snake import REPOSITORY

PROGRAMS = REPOSITORY / "workflow/profiles/slurm/bin"
AWAY = "sbatch: error: Batch job submission failed: Unable to contact slurm controller"
QUERY = ("-X", "--noheader", "--format=JobIdRaw,State", "--endtime", "now", "--name", "the-run")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the made-up programs are, beside what the shell needs."""
    (tmp_path / "sleep").symlink_to("/bin/true")
    return tmp_path


def write(path: Path, script: str) -> None:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


def call(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(PROGRAMS), str(folder), "/usr/bin", "/bin"))
    return subprocess.run([name, *arguments], env={"PATH": path}, capture_output=True, text=True)


def test_a_cancelled_job_is_what_the_plugin_looks_for(folder):
    write(folder / "sacct", "echo '7|CANCELLED by 1000'; echo '8|COMPLETED'")
    done = call(folder, "sacct", *QUERY)
    assert (done.returncode, done.stdout) == (0, "7|CANCELLED\n8|COMPLETED\n")


def test_squeue_answers_where_there_is_no_accounting(folder):
    write(folder / "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    write(folder / "squeue", 'echo "$@"')
    done = call(folder, "sacct", *QUERY)
    assert done.stdout == "--states=all --noheader --format=%i|%T --name the-run\n"
    assert call(folder, "sacct", "-j", "7", "-n").returncode == 1, "no query of the plugin's"


def test_what_squeue_says_of_a_controller_that_is_away_is_no_answer(folder):
    write(folder / "sacct", "exit 1")
    write(folder / "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    done = call(folder, "sacct", *QUERY)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_submission_waits_for_the_controller(folder):
    calls = folder / "calls"
    third = f"[ $(wc -l < {calls}) -ge 3 ] && {{ echo 42; exit 0; }}"
    write(folder / "sbatch", f'echo "$@" >> {calls}\n{third}\necho "{AWAY}" >&2; exit 1')
    done = call(folder, "sbatch", "--parsable", "--wrap=a 'b  c'")
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert calls.read_text() == "--parsable --wrap=a 'b  c'\n" * 3


def test_other_errors_of_a_submission_are_told_at_once(folder):
    write(folder / "sbatch", "echo 'invalid partition specified: x' >&2; exit 3")
    done = call(folder, "sbatch", "--wrap=true")
    assert (done.returncode, done.stderr) == (3, "invalid partition specified: x\n")


def test_they_come_first_only_where_there_is_slurm(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    slurm.put_first(PROGRAMS)
    assert os.environ["PATH"] == str(folder)
    write(folder / "sbatch", "")
    slurm.put_first(PROGRAMS)
    assert shutil.which("sbatch") == str(PROGRAMS / "sbatch")
