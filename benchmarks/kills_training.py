"""One training killed again and again, at random moments, with one process or several.

    python -m benchmarks.kills_training FOLDER --kills 100 --seed 0 [--processes 2]

The training runs undisturbed in FOLDER/undisturbed. Then it runs in fresh folders, and at a random
moment a signal goes out: SIGKILL, SIGTERM or SIGUSR1, to the command, or with several processes
also to one of them. What is left is started again until it is
done, and everything in its folder that is no time must be what it is undisturbed: metrics, weights,
centres, momentum, states of head and sampler. Every moment counts: importing, reading, a step, the
writing of a checkpoint (one is written after every step), the end.

One line of FOLDER/kills.jsonl for each kill; exit code 1 if a training came to another end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console

from benchmarks.kills_compared import files_of, results_of
from frcore.data.prepare import prepare
from frcore.study.data import Image, SyntheticFaces
from frcore.study.expansion import RunSpec, TrainDataSpec
from frcore.study.parts import Component, Training
from frcore.training.checkpoint import sharded
from frcore.training.run_folder import CHECKPOINT
from frcore.training.sharded_checkpoint import SavedParts
from frcore.training.tensor_file import read_tensors

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
        ),  # fmt: skip
    )


def start(spec: RunSpec, data: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the training; it resumes what is in `out`."""
    command = [sys.executable, "-m", "frcore", "train", "--spec", spec.model_dump_json()]
    command += ["--data", str(data), "--out", str(out)]
    with log.open("ab") as file:
        return subprocess.Popen(command, stderr=file)


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
    running = start(spec, data, out, out.with_suffix(".log"))
    # Half by the clock, which is mostly before the first step; half some steps later.
    goal = before + int(rng.integers(1, STEPS_AHEAD)) if rng.random() < 0.5 else 0
    wait = float(rng.uniform(0, 0.01 if goal else usual))
    while goal and running.poll() is None and step_in(out) < goal:
        time.sleep(0.01)
    time.sleep(wait)
    if running.poll() is not None:
        return None
    number = signal.Signals(int(rng.choice(list(SIGNALS), p=list(SIGNALS.values()))))
    target = psutil.Process(running.pid)
    found = target.children() if spec.training.processes > 1 else []
    whom = int(rng.integers(-1, len(found)))
    with contextlib.suppress(psutil.NoSuchProcess):
        (found[whom] if whom >= 0 else target).send_signal(number)
    code = running.wait()
    psutil.wait_procs(found)  # of a command that was killed they end by themselves
    return {"signal": number.name, "to": "command" if whom < 0 else f"process {whom}",
            "code": code, "before": before, "after": step_in(out)}  # fmt: skip


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
    if start(spec, data, out, out.with_suffix(".log")).wait() != 0:
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
    console, began, rng = Console(width=120), time.monotonic(), np.random.default_rng(given.seed)
    spec, data, first = (
        spec_of(given.epochs, given.processes),
        folder / "data",
        folder / "undisturbed",
    )
    prepare(TrainDataSpec(image=IMAGE, data=FACES), data)
    if start(spec, data, first, folder / "undisturbed.log").wait() != 0:
        raise SystemExit(f"the training fails undisturbed; see {folder / 'undisturbed.log'}")
    usual, kills, broken, number = time.monotonic() - began, [], 0, 0
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
    codes = Counter(f"{kill['signal']}: {kill['code']}" for kill in kills)
    console.print(f"{number} trainings, {broken} with another end; signals {dict(counts)}")
    console.print(f"exit codes {dict(codes)}")
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
