"""A study killed again and again, at random moments of each of its stages.

    python -m benchmarks.kills FOLDER --kills 200 --seed 0 [--cores 2]

First the study runs undisturbed in FOLDER/undisturbed. Then it runs in fresh folders, and whenever
a job of a stage that was drawn has run for a random share of its usual time, a signal goes out:
SIGKILL, SIGTERM or SIGINT; to one process of the job (its shell, `frcore`, or a worker of it), to
Snakemake alone, whose job goes on as an orphan, or to Snakemake and all that it has started, as
Ctrl-C does or a job's end on a cluster. What is left is started again with `--rerun-incomplete`,
after `--unlock` where Snakemake died, until it is done. Then all that is no time must be what it is
undisturbed (`benchmarks.kills_compared`), and not one file may be more or fewer.

One line of FOLDER/kills.jsonl for each kill, a table by stage at the end; exit code 1 if a study
did not come to its end or came to another. FOLDER must be new, or be this program's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.kills_compared import files_of, results_of
from tests.tiny_study import TINY, write_study

REPOSITORY = Path(__file__).resolve().parent.parent

STAGES = ("snakemake", "prepare", "train", "evaluate", "measure", "report")
"""`snakemake` is the time in which no job runs: planning, and between two jobs."""

KILLS_OF_A_STAGE = 5.0
"""Planned for one pass, on average (Poisson); about half come too late: the job has just ended."""

STARTS = 80
"""A pass that is not done after so many starts has come to no end."""

NO_END = (f"it is not done after {STARTS} starts", "processes of it do not end")

LOOK_SECONDS = 0.1
SIGNALS = {signal.SIGKILL: 0.6, signal.SIGTERM: 0.2, signal.SIGINT: 0.2}
TARGETS = {"process": 0.6, "everything": 0.25, "snakemake": 0.15}

STUDY: dict[str, Any] = {
    **TINY,
    "name": "killed",
    # So many pictures that worker processes draw them.
    "train": {"kind": "synthetic", "identities": 19, "images": 80},
    "heads": [{"name": "curricularface", "scale": 16, "margin": 0.1}],
    "training": {"epochs": 6, "batch_size": 128, "learning_rate": 0.1},
    # One attempt would keep a row as failed whose process was the one that was killed.
    "measurement": {**TINY["measurement"], "attempts": 3},
}


@dataclass(frozen=True)
class Job:
    """A job that runs: its stage, and its processes, the outermost first."""

    stage: str
    processes: list[psutil.Process]


@dataclass
class Run:
    """One start of Snakemake in the folder of a pass."""

    folder: Path
    cores: int
    started: psutil.Popen = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder.parent / f"{self.folder.name}.log"
        self.started = self._start("--cores", str(self.cores), "--rerun-incomplete")

    def _start(self, *arguments: str) -> psutil.Popen:
        command = [str(Path(sys.executable).parent / "snakemake"), *arguments]
        command += ["--snakefile", str(REPOSITORY / "Snakefile"), "--configfile", "study.yaml"]
        with self.log.open("ab") as log:
            return psutil.Popen(
                command, cwd=self.folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def unlock(self) -> None:
        """Take away the lock of a Snakemake that was killed."""
        self._start("--unlock").wait()

    def alive(self) -> bool:
        """Whether Snakemake runs."""
        return self.started.poll() is None

    def jobs(self) -> list[Job]:
        """The jobs that run now."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.started.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    told = re.search(r"frcore(?:\.cli)? ([a-z]+) ", " ".join(child.cmdline()))
                    if told is not None and told[1] in STAGES:
                        found.append(Job(told[1], [child, *child.children(recursive=True)]))
        return found


def orphans(folder: Path) -> list[psutil.Process]:
    """Processes that still work in `folder`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == folder and process.pid != os.getpid():
                found.append(process)
    return found


def until_alone(folder: Path, seconds: float = 120.0) -> bool:
    """Wait until no process works in `folder`; False if one still does at the end."""
    end = time.monotonic() + seconds
    while orphans(folder):
        if time.monotonic() > end:
            return False
        time.sleep(LOOK_SECONDS)
    return True


class Killer:
    """Decides whom to send which signal when, and keeps the record of it.

    Args:
        rng: what decides.
        usual: seconds that a job of each stage takes undisturbed.
        record: file of the kills, one JSON object a line.
    """

    def __init__(self, rng: np.random.Generator, usual: dict[str, float], record: Path):
        self.rng, self.usual, self.record = rng, usual, record
        self.kills: list[dict[str, Any]] = []

    def plan(self, most: int) -> Counter[str]:
        """How many kills each stage gets in the next pass, `most` in all."""
        drawn = [stage for stage in STAGES for _ in range(self.rng.poisson(KILLS_OF_A_STAGE))]
        return Counter(self.rng.permutation(drawn)[:most].tolist())

    def watch(self, run: Run, left: Counter[str], number: int) -> None:
        """Follow one start of Snakemake to its end, and do what is `left` of the planned kills."""
        while run.alive():
            wanted = sorted({job.stage for job in run.jobs()} or {"snakemake"})
            wanted = [stage for stage in wanted if left[stage]]
            if not wanted:
                time.sleep(LOOK_SECONDS)
                continue
            stage = str(self.rng.choice(wanted))
            wait = float(self.rng.uniform(0, self.usual[stage]))
            time.sleep(wait)
            left[stage] -= self._send(run, stage, number, wait)

    def _send(self, run: Run, stage: str, number: int, waited: float) -> bool:
        """Send a signal; False if nothing of that stage is there any more to send it to."""
        jobs = [job for job in run.jobs() if stage in (job.stage, "snakemake")]
        if not run.alive() or bool(jobs) == (stage == "snakemake"):
            return False
        sent = signal.Signals(int(self.rng.choice(list(SIGNALS), p=list(SIGNALS.values()))))
        target = str(self.rng.choice(list(TARGETS), p=list(TARGETS.values())))
        if target == "everything" or not jobs:
            target = "everything"
            os.killpg(run.started.pid, sent)
        elif target == "snakemake":
            run.started.send_signal(sent)
        else:
            processes = jobs[int(self.rng.integers(len(jobs)))].processes
            chosen = processes[int(self.rng.integers(len(processes)))]
            with contextlib.suppress(psutil.NoSuchProcess):
                target = " ".join(chosen.cmdline())[:80]
                chosen.send_signal(sent)
        if target in ("everything", "snakemake"):
            run.started.wait()
        kill = {"pass": number, "stage": stage, "signal": sent.name, "target": target,
                "after": round(waited, 2)}  # fmt: skip
        self.kills.append(kill)
        with self.record.open("a", encoding="utf-8") as file:
            file.write(json.dumps(kill) + "\n")
        return True


def undisturbed(folder: Path, cores: int) -> dict[str, float]:
    """Run the study once without a kill; gives the mean seconds of a job of each stage."""
    began = time.monotonic()
    run = new_run(folder, cores)
    seconds: dict[str, list[float]] = {stage: [] for stage in STAGES}
    since: dict[int, tuple[str, float]] = {}
    while run.alive():
        now = {job.processes[0].pid: job.stage for job in run.jobs()}
        if now and not seconds["snakemake"]:
            seconds["snakemake"].append(time.monotonic() - began)
        for pid in set(since) - set(now):
            stage, start = since.pop(pid)
            seconds[stage].append(time.monotonic() - start)
        since |= {pid: (now[pid], time.monotonic()) for pid in set(now) - set(since)}
        time.sleep(LOOK_SECONDS)
    if run.started.returncode != 0:
        raise SystemExit(f"the study fails undisturbed; see {run.log}")
    return {stage: float(np.mean(found)) for stage, found in seconds.items()}


def new_run(folder: Path, cores: int) -> Run:
    """Start the study in a fresh folder."""
    folder.mkdir()
    write_study(folder, **STUDY)
    return Run(folder, cores)


def killed_pass(folder: Path, cores: int, killer: Killer, number: int, most: int) -> str:
    """One study with kills, to its end; gives why it did not come to it, or nothing."""
    left = killer.plan(most)
    run = new_run(folder, cores)
    for _ in range(STARTS):
        killer.watch(run, left, number)
        if run.started.returncode == 0:
            return "" if until_alone(folder) else NO_END[1]
        if any((folder / ".snakemake/locks").glob("*")):
            run.unlock()
        run = Run(folder, cores)
    os.killpg(run.started.pid, signal.SIGKILL)
    return NO_END[0]


def differences(folder: Path, expected: Path) -> list[str]:
    """What a study that was killed has otherwise than the undisturbed one."""
    names, wanted = files_of(folder), files_of(expected)
    found = [f"left over: {name}" for name in sorted(names - wanted)]
    found += [f"missing: {name}" for name in sorted(wanted - names)]
    root = Path("results") / STUDY["name"]
    ours, theirs = results_of(folder / root), results_of(expected / root)
    return found + [
        f"another content: {name}" for name in sorted(ours) if ours[name] != theirs.get(name, "")
    ]


def passes(
    folder: Path, kills: int, seed: int, cores: int
) -> Iterator[tuple[int, Killer, list[str]]]:
    """Run studies until `kills` signals are out; yields each pass with what is wrong of it."""
    first = folder / "undisturbed"
    usual = undisturbed(first, cores)
    record = folder / "kills.jsonl"
    killer = Killer(np.random.default_rng(seed), usual, record)
    number = 0
    while len(killer.kills) < kills:
        number += 1
        place = folder / f"pass-{number:03d}"
        why = killed_pass(place, cores, killer, number, kills - len(killer.kills))
        wrong = [why] if why else differences(place, first)
        yield number, killer, wrong
        if not wrong:
            shutil.rmtree(place)


def main() -> None:
    """Kill, compare, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    given = parser.parse_args()
    folder = given.folder.resolve()
    if folder.exists():
        raise SystemExit(f"{folder} is there already; give a folder that is not")
    folder.mkdir(parents=True)
    console, began = Console(width=120), time.monotonic()
    broken: dict[int, list[str]] = {}
    killer = None
    for number, killer, wrong in passes(folder, given.kills, given.seed, given.cores):
        broken |= {number: wrong} if wrong else {}
        told = "; ".join(wrong[:5]) or "equal"
        minutes = (time.monotonic() - began) / 60
        console.print(f"pass {number}: {len(killer.kills)} kills, {minutes:.0f} min: {told}")
    if killer is not None:
        console.print(summary(killer.kills, broken))
    raise SystemExit(1 if broken else 0)


def summary(kills: list[dict[str, Any]], broken: dict[int, list[str]]) -> Table:
    """Kills by stage: how many, by which signal, and what became of the study."""
    ended = {
        number for number, wrong in broken.items() if not wrong[0].startswith(("it is", "proc"))
    }
    table = Table("stage", "kills", *(s.name for s in SIGNALS), "everything", "Snakemake alone",
                  "came to its end", "equal")  # fmt: skip
    for stage in (*STAGES, "all"):
        some = [kill for kill in kills if stage in (kill["stage"], "all")]
        counts = [sum(kill["signal"] == s.name for kill in some) for s in SIGNALS]
        targets = [sum(kill["target"] == t for kill in some) for t in ("everything", "snakemake")]
        done = sum(kill["pass"] not in broken or kill["pass"] in ended for kill in some)
        equal = sum(kill["pass"] not in broken for kill in some)
        table.add_row(stage, *map(str, (len(some), *counts, *targets, done, equal)))
    return table


if __name__ == "__main__":
    main()
