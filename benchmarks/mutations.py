"""Whether the tests notice a wrong line: hand-written mutations, applied one by one.

    python -m benchmarks.mutations [--only TEXT] [--out mutations.jsonl]

Each entry of mutations.yaml replaces a line of a copy of the package; the tests named beside it
must then fail. One line of the output file for each mutation, with the test that failed or none;
mutations that the file has already are not run again, so what was stopped goes on. Some seconds
each, in a process forked from one that has imported what takes long. Exit code 1 if any survived.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = Path(__file__).with_name("mutations.yaml")
COPIED = ("frcore", "tests", "benchmarks", "config", "workflow", "pyproject.toml", "Snakefile")
SLOW_IMPORTS = (
    "torch",
    "pytest",
    "hypothesis",
    "pandas",
    "pyarrow",
    "scipy.stats",
    "cv2",
    "PIL.Image",
)
SECONDS = 300
"""A mutation that makes the tests run for ever is killed by that."""


@dataclass(frozen=True)
class Mutation:
    """One wrong line.

    Attributes:
        file: of the package.
        old: a piece of text that the file has once.
        new: what it becomes.
        tests: arguments to pytest.
    """

    file: str
    old: str
    new: str
    tests: str


@dataclass
class Outcome:
    """What became of one mutation.

    Attributes:
        failed: the first test that failed; "" where none did.
        broken: the tests could not even be collected or none was selected: it proves nothing.
    """

    failed: str = ""
    broken: bool = False
    seconds: float = 0.0

    @property
    def word(self) -> str:
        """What is reported."""
        return "BROKEN" if self.broken else "killed" if self.failed else "SURVIVED"


def mutations() -> list[Mutation]:
    """The table."""
    rooms = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return [
        Mutation(file, old, new, entry["tests"])
        for file, entries in rooms.items()
        for entry in entries
        for old, new in entry["mutations"]
    ]


def mutated(source: str, mutation: Mutation) -> str:
    """`source` with the mutation.

    Raises:
        ValueError: its old text does not occur exactly once.
    """
    if (count := source.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.file} has {mutation.old!r} {count} times; it must be once")
    return source.replace(mutation.old, mutation.new)


class _Watch:
    """A plugin of pytest that keeps the first failure."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _run(root: Path, arguments: list[str], queue: Any) -> None:
    """In a child: the tests of a copy, silently."""
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    import pytest

    watch = _Watch()
    code = pytest.main(
        ["-x", "-q", "-p", "no:cacheprovider", "--timeout=120", *arguments], plugins=[watch]
    )
    queue.put((int(code), watch.failed))


def tried(root: Path, mutation: Mutation) -> Outcome:
    """Run a mutation's tests in the copy `root`, which is afterwards what it was."""
    arguments = shlex.split(mutation.tests)
    if "-m" not in arguments:
        arguments += ["-m", "not gpu and not grid and not workflow"]
    path = root / mutation.file
    source = path.read_text(encoding="utf-8")
    began = time.monotonic()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_run, args=(root, arguments, queue))
    try:
        path.write_text(mutated(source, mutation), encoding="utf-8")
        child.start()
        child.join(SECONDS)
        if child.is_alive():
            child.kill()
            outcome = Outcome(failed="nothing: the tests did not end")
        else:
            code, failed = queue.get() if not queue.empty() else (3, "")
            outcome = Outcome(failed, broken=code not in (0, 1) or (code == 1 and not failed))
    finally:
        path.write_text(source, encoding="utf-8")
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def remaining(all_of_them: list[Mutation], out: Path) -> Iterator[Mutation]:
    """Those that the output file does not have."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    done = {
        tuple(json.loads(line)[key] for key in ("file", "old", "new", "tests")) for line in lines
    }
    yield from (m for m in all_of_them if (m.file, m.old, m.new, m.tests) not in done)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--only", default="", help="a part of the mutated file's path")
    parser.add_argument("--out", type=Path, default=Path("mutations.jsonl"))
    given = parser.parse_args()
    chosen = [m for m in mutations() if given.only in m.file]
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    console = Console(width=140, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            if (REPOSITORY / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
            else:
                shutil.copy2(REPOSITORY / name, root)
        for mutation in remaining(chosen, given.out):
            outcome = tried(root, mutation)
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**asdict(mutation), **asdict(outcome)}) + "\n")
            console.print(
                f"{outcome.word:8} {outcome.seconds:5.1f} s  {mutation.file}: "
                f"{mutation.old.strip()} -> {mutation.new.strip()}  [{outcome.failed}]",
                markup=False,
            )
    rows = [json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()]
    survived = [row for row in rows if row["broken"] or not row["failed"]]
    console.print(f"{len(rows)} mutations, {len(rows) - len(survived)} killed")
    raise SystemExit(1 if survived else 0)


if __name__ == "__main__":
    main()
