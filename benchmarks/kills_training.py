"""One training killed again and again, at random moments, with one process or several.

    python -m benchmarks.kills_training FOLDER --kills 100 --seed 0 [--processes 2]

The training runs undisturbed in FOLDER/undisturbed. Then it runs in fresh folders, and at a random
moment a signal goes out: SIGKILL, SIGTERM or SIGUSR1; of several processes to one or to all. What
is left is started again until it is done, and everything in its folder that is no time must be what
it is undisturbed: metrics, weights, centres, momentum, states of head and sampler. Every moment
counts: reading, a step, the writing of a checkpoint (one is written after every step), the end.

One line of FOLDER/kills.jsonl for each kill; exit code 1 if a training came to another end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.kills_compared import files_of, results_of
from frcore.data.prepare import prepare
from frcore.machine.lifetime import stopped_by_signals
from frcore.study.data import Image, SyntheticFaces
from frcore.study.expansion import RunSpec, TrainDataSpec
from frcore.study.parts import Component, Training
from frcore.training.checkpoint import sharded
from frcore.training.run_folder import CHECKPOINT
from frcore.training.sharded_checkpoint import SavedParts
from frcore.training.tensor_file import read_tensors
from frcore.training.train import train

CONTEXT = multiprocessing.get_context("forkserver")

SIGNALS = {signal.SIGKILL: 0.6, signal.SIGTERM: 0.2, signal.SIGUSR1: 0.2}
IMAGE = Image(size=16, alignment="synthetic")
FACES = SyntheticFaces(kind="synthetic", identities=20, images=8)
STEPS_AHEAD = 10
"""A kill comes after at most so many further steps; half of them come before the first."""

SAMPLER = {
    "name": "broadface",
    "size": 40,
    "over": {"name": "partial_fc", "rate": 0.3, "update": "lazy"},
}


def spec_of(epochs: int, processes: int) -> RunSpec:
    """A run with all there is to save: a queue, lazy rows, a random stream, a head's state."""
    return RunSpec(
        image=IMAGE,
        backbone=Component.model_validate({"name": "tiny", "dim": 16, "width": 4}),
        head=Component.model_validate("curricularface"),
        sampler=Component.model_validate(SAMPLER),
        seed=0,
        training=Training(
            epochs=epochs,
            batch_size=16,
            learning_rate=0.1,
            checkpoint_minutes=0,
            processes=processes,
            timeout_minutes=2,
        ),
    )


def _rank(spec: RunSpec, data: Path, out: Path, log: Path, rank: int, port: int) -> None:
    """Train as one of the processes; as `frcore train` does under torchrun."""
    if spec.training.processes > 1:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        of = {"RANK": rank, "WORLD_SIZE": spec.training.processes, "LOCAL_RANK": rank}
        os.environ.update({name: str(value) for name, value in (place | of).items()})
    with log.open("a") as file:
        os.dup2(file.fileno(), 2)
    with stopped_by_signals():
        train(spec, data, out)


class Running:
    """One attempt of the training; it resumes what is in `out`."""

    def __init__(self, spec: RunSpec, data: Path, out: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        count, log = spec.training.processes, out.with_suffix(".log")
        # Importing takes longer than the training: the server has done it once for all.
        self.ranks = [
            CONTEXT.Process(target=_rank, args=(spec, data, out, log, rank, port))
            for rank in range(count)
        ]
        for rank in self.ranks:
            rank.start()

    @property
    def lives(self) -> bool:
        """Whether any of its processes does."""
        return any(rank.is_alive() for rank in self.ranks)

    def wait(self) -> list[int]:
        """The exit codes, once all have ended."""
        for rank in self.ranks:
            rank.join()
        return [int(rank.exitcode or 0) for rank in self.ranks]

    def send(self, number: int, whom: int) -> None:
        """Send a signal to one of the processes; −1: to all."""
        for rank in self.ranks if whom < 0 else [self.ranks[whom]]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid or 0, number)


def step_in(out: Path) -> int:
    """Of the checkpoint in a run's folder; 0 without one."""
    path = out / CHECKPOINT
    try:
        if sharded(path).is_dir():
            return int(SavedParts(sharded(path)).own(0)["step"])
        return int(read_tensors(path)["step"]) if path.exists() else 0
    except Exception:  # it is just being replaced
        return 0


def kill_once(
    rng: np.random.Generator, spec: RunSpec, data: Path, out: Path, usual: float
) -> dict[str, object] | None:
    """Start, and send a signal at a random moment; None if the training ended before that."""
    before = step_in(out)
    running = Running(spec, data, out)
    # Half by the clock, which is mostly before the first step; half some steps later.
    goal = before + int(rng.integers(1, STEPS_AHEAD)) if rng.random() < 0.5 else 0
    wait = float(rng.uniform(0, 0.01 if goal else usual))
    while goal and running.lives and step_in(out) < goal:
        time.sleep(0.01)
    time.sleep(wait)
    number = signal.Signals(int(rng.choice(list(SIGNALS), p=list(SIGNALS.values()))))
    whom = int(rng.integers(-1, len(running.ranks))) if len(running.ranks) > 1 else -1
    running.send(number, whom)
    codes = running.wait()
    if not any(codes):
        return None
    return {"signal": number.name, "to": "all" if whom < 0 else f"process {whom}",
            "codes": codes, "before": before, "after": step_in(out)}  # fmt: skip


def killed(
    rng: np.random.Generator, spec: RunSpec, data: Path, out: Path, usual: float, most: int
) -> list[dict[str, object]]:
    """One training to its end with at most `most` kills; gives the kills."""
    kills: list[dict[str, object]] = []
    while len(kills) < most:
        kill = kill_once(rng, spec, data, out, usual)
        if kill is None:
            break
        kills.append(kill)
    if any(Running(spec, data, out).wait()):
        raise SystemExit(f"the training fails when it is left alone; see {out.with_suffix('.log')}")
    return kills


def differences(out: Path, expected: Path) -> list[str]:
    """What a training that was killed has otherwise than the undisturbed one."""
    found = [f"another file: {name}" for name in sorted(files_of(out) ^ files_of(expected))]
    ours, theirs = results_of(out), results_of(expected)
    return found + [f"another content: {n}" for n in sorted(ours) if ours[n] != theirs.get(n)]


def main() -> None:
    """Kill, compare, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    folder = given.folder.resolve()
    if folder.exists():
        raise SystemExit(f"{folder} is there already; give a folder that is not")
    folder.mkdir(parents=True)
    CONTEXT.set_forkserver_preload(["frcore.training.train", "benchmarks.kills_compared"])
    console, began, rng = Console(width=120), time.monotonic(), np.random.default_rng(given.seed)
    spec, data, first = (
        spec_of(given.epochs, given.processes),
        folder / "data",
        folder / "undisturbed",
    )
    prepare(TrainDataSpec(image=IMAGE, data=FACES), data)
    if any(Running(spec, data, first).wait()):
        raise SystemExit(f"the training fails undisturbed; see {folder / 'undisturbed.log'}")
    usual, broken, number = (time.monotonic() - began) / 2, 0, 0
    kills: list[dict[str, object]] = []
    while len(kills) < given.kills:
        number += 1
        out = folder / f"run-{number:03d}"
        new = killed(rng, spec, data, out, usual, given.kills - len(kills))
        wrong = differences(out, first)
        broken += bool(wrong)
        kills += new
        with (folder / "kills.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"run": number, **kill}) + "\n" for kill in new)
        minutes = (time.monotonic() - began) / 60
        told = "; ".join(wrong) or "equal"
        console.print(f"run {number}: {len(kills)} kills, {minutes:.0f} min: {told}")
    counts = Counter(str(kill["signal"]) for kill in kills)
    codes = Counter(f"{kill['signal']}: {kill['codes']}" for kill in kills)
    console.print(f"{number} trainings, {broken} with another end; signals {dict(counts)}")
    console.print(f"exit codes {dict(codes)}")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
