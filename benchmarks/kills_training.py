"""One training killed again and again, at random moments, with one process or several.

    python -m benchmarks.kills_training FOLDER --kills 100 --seed 0 [--processes 2]

The training runs undisturbed in FOLDER/first. Then it runs in fresh folders, and at a random
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
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.kills_compared import files_of, results_of
from frcore.data.prepare import prepare
from frcore.errors import UserError
from frcore.machine.lifetime import stopped_by_signals
from frcore.provenance.fingerprint import remember_in
from frcore.study.data import Image, SyntheticFaces
from frcore.study.expansion import RunSpec, TrainDataSpec
from frcore.study.parts import Component, Training
from frcore.training.checkpoint import sharded
from frcore.training.run_folder import CHECKPOINT
from frcore.training.sharded_checkpoint import SavedParts
from frcore.training.tensor_file import read_tensors
from frcore.training.train import train

CONTEXT = multiprocessing.get_context("forkserver")
PRELOADED = ["frcore.training.train", "benchmarks.kills_compared", "torch._dynamo"]
"""Importing takes longer than the training: a server does it once for all processes."""

SIGNALS = {signal.SIGKILL: 0.6, signal.SIGTERM: 0.2, signal.SIGUSR1: 0.2}
IMAGE = Image(size=16, alignment="synthetic")
FACES = SyntheticFaces(kind="synthetic", identities=20, images=8)
STEPS_AHEAD = 10
"""A kill comes after fewer further steps than these; half of them come about as long as a start
takes, so mostly before the first step."""

GRACE_SECONDS = 30
"""What the others get when one process has failed, from `torchrun` and from here."""

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
    remember_in(out.parent / "code")
    with stopped_by_signals():
        try:
            train(spec, data, out)
        except UserError as error:  # as the command line says it
            print(f"error: {error}", file=sys.stderr, flush=True)
            raise SystemExit(error.exit_code) from None


class Running:
    """One attempt of the training; it resumes what is in `out`."""

    def __init__(self, spec: RunSpec, data: Path, out: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        count, log = spec.training.processes, out.with_suffix(".log")
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
        """The exit codes, once all have ended; where one fails the others are ended."""
        while self.lives and not any(rank.exitcode for rank in self.ranks):
            time.sleep(0.01)
        if self.lives:
            self.send(signal.SIGTERM, -1)
        deadline = time.monotonic() + GRACE_SECONDS
        for rank in self.ranks:
            rank.join(max(0.0, deadline - time.monotonic()))
            if rank.is_alive():
                rank.kill()
                rank.join()
        return [int(rank.exitcode or 0) for rank in self.ranks]

    def wait_for_steps(self, out: Path, count: int) -> None:
        """Until that many checkpoints, one of each step, have been written, or it has ended."""
        seen = _written(out)
        while count and self.lives:
            if (now := _written(out)) != seen:
                seen, count = now, count - 1
            time.sleep(0.005)

    def send(self, number: int, whom: int) -> None:
        """Send a signal to one of the processes; −1: to all."""
        for rank in self.ranks if whom < 0 else [self.ranks[whom]]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid or 0, number)


def _written(out: Path) -> int:
    """When the checkpoint in a run's folder was, in nanoseconds; 0 without one."""
    path = out / CHECKPOINT
    for written in (path, sharded(path) / ".metadata"):
        with contextlib.suppress(OSError):
            return written.stat().st_mtime_ns
    return 0


def step_in(out: Path) -> int:
    """Of the checkpoint in a run's folder; 0 without one."""
    path = out / CHECKPOINT
    try:
        if sharded(path).is_dir():
            return int(SavedParts(sharded(path)).own(0)["step"])
        return int(read_tensors(path)["step"]) if path.exists() else 0
    except Exception:  # it is just being replaced
        return 0


class Usual(NamedTuple):
    """How long things take undisturbed, in seconds: to the first checkpoint, and each step."""

    start: float
    step: float


def undisturbed(spec: RunSpec, data: Path, out: Path) -> Usual:
    """Train, and measure."""
    began = time.monotonic()
    running = Running(spec, data, out)
    running.wait_for_steps(out, 1)
    first = time.monotonic()
    if any(running.wait()):
        raise SystemExit(f"the training fails undisturbed; see {out.with_suffix('.log')}")
    return Usual(first - began, (time.monotonic() - first) / step_in(out))


def kill_once(
    rng: np.random.Generator, spec: RunSpec, data: Path, out: Path, usual: Usual
) -> dict[str, object] | None:
    """Start, and send a signal at a random moment; None if the training ended before that."""
    before = step_in(out)
    running = Running(spec, data, out)
    ahead = int(rng.integers(1, STEPS_AHEAD)) if rng.random() < 0.5 else 0
    running.wait_for_steps(out, ahead)
    time.sleep(float(rng.uniform(0, usual.step if ahead else 1.2 * usual.start)))
    number = signal.Signals(int(rng.choice(list(SIGNALS), p=list(SIGNALS.values()))))
    whom = int(rng.integers(-1, len(running.ranks))) if len(running.ranks) > 1 else -1
    running.send(number, whom)
    codes = running.wait()
    if not any(codes):
        return None
    return {"signal": number.name, "to": "all" if whom < 0 else f"process {whom}",
            "codes": codes, "before": before, "after": step_in(out)}  # fmt: skip


def killed(
    rng: np.random.Generator, spec: RunSpec, data: Path, out: Path, usual: Usual, most: int
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
    CONTEXT.set_forkserver_preload(PRELOADED)
    console, began, rng = Console(width=120), time.monotonic(), np.random.default_rng(given.seed)
    spec, data, first = spec_of(given.epochs, given.processes), folder / "data", folder / "first"
    prepare(TrainDataSpec(image=IMAGE, data=FACES), data)
    undisturbed(spec, data, folder / "warming")  # starts the server, and reads the code
    usual, broken, number = undisturbed(spec, data, first), 0, 0
    console.print(f"undisturbed: {usual.start:.1f} s to the first step, {usual.step:.2f} s a step")
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
