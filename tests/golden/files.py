"""The golden files: one text per head, with a table per case, written and read back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from frcore.files import atomic_file
from tests.contract_cases import HEAD_CASES
from tests.golden.problem import FIGURES, Row

FOLDER = Path(__file__).parent
HEADS = ("adacos", "elasticface", "sphereface2")
"""A scale that follows the columns, margins that are drawn, and a bias that is learned."""

SAMPLERS = ("full", "partial_fc-.6", "filter-zero", "broadface-7-over-partial_fc")
AGAIN = "python -m tests.golden.make"

EPS_RATIO = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
DIGITS = 1e-8
"""Ten times the resolution of nine digits."""


@dataclass(frozen=True)
class Spread:
    """Largest `deviation` measured when the file was made.

    Attributes:
        float64: between 1, 2 and 4 threads and between the backends.
        float32: between float32 and float64.
    """

    float64: float
    float32: float

    def tolerance(self, dtype: torch.dtype) -> float:
        """What a replay may deviate: ten times the spread.

        float64 is allowed at least what rounding becomes on its way through the 50 steps, which is
        read off float32; and both are allowed the digits of the file.
        """
        if dtype == torch.float32:
            return 10 * max(self.float32, torch.finfo(torch.float32).eps) + DIGITS
        return 10 * max(self.float64, self.float32 * EPS_RATIO) + DIGITS


@dataclass(frozen=True)
class Golden:
    """A golden file."""

    spread: Spread
    cases: dict[tuple[str, str], list[Row]]


def cases_of(head: str) -> list[tuple[str, str]]:
    """A head's cases: its defaults under the samplers of this module, its dialects under full."""
    dialects = [case for case, (name, _) in HEAD_CASES.items() if name == head and case != head]
    return [(head, sampler) for sampler in SAMPLERS] + [(case, "full") for case in dialects]


def deviation(ours: float, golden: float) -> float:
    """Relative, and absolute for figures far below 0.1, such as the loss of what is learned."""
    return abs(ours - golden) / (abs(golden) + 0.1)


def largest_deviation(ours: Iterable[Row], golden: Iterable[Row]) -> float:
    """Over all steps and figures; infinite where a figure is not a number."""
    pairs = [
        deviation(getattr(a, name), getattr(b, name))
        for a, b in zip(ours, golden, strict=True)
        for name in FIGURES
    ]
    return max(pairs) if all(pair == pair for pair in pairs) else float("inf")


def path_of(head: str) -> Path:
    """Where the file of a registered head is."""
    return FOLDER / f"{head}.txt"


def write(head: str, golden: Golden) -> None:
    """Write a head's file."""
    lines = [
        f'# Golden trajectories of the head "{head}"; the problem is in tests/golden/problem.py.',
        f"# Made by `{AGAIN} {head}`: float64, dense, 1 thread, torch {torch.__version__}",
        "# Spread: the largest |a − b| / (|b| + 0.1) over all figures below",
        f"# float64, 1, 2 and 4 threads, all backends: {golden.spread.float64:.1e}",
        f"# float32 against float64: {golden.spread.float32:.1e}",
    ]
    for (case, sampler), rows in golden.cases.items():
        lines += ["", f"[{case} | {sampler}]", _line(field.name for field in fields(Row))]
        lines += [_line(_text(getattr(row, field.name)) for field in fields(Row)) for row in rows]
    with atomic_file(path_of(head)) as path:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(head: str) -> Golden:
    """Read a head's file."""
    path = path_of(head)
    assert path.exists(), f"the head {head} has no golden trajectory: run `{AGAIN} {head}`"
    spread: dict[str, float] = {}
    cases: dict[tuple[str, str], list[Row]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# float"):
            spread[line[2:9]] = float(line.rpartition(":")[2])
        elif line.startswith("["):
            case, _, sampler = line.strip("[]").partition(" | ")
            rows = cases[case, sampler] = []
        elif line and line.split()[0].isdigit():
            step, *figures, columns, column_sum = line.split()
            rows.append(Row(int(step), *map(float, figures), int(columns), int(column_sum)))
    return Golden(Spread(**spread), cases)


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _line(words: Iterable[str]) -> str:
    step, *others = words
    return f"{step:>4}" + "".join(f" {word:>15}" for word in others)
