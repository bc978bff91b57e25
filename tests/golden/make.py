"""Write the golden trajectories anew: `python -m tests.golden.make [HEAD ...]`, all by default.

Some seconds. What changed is to be read in `git diff tests/golden`, and to be wanted.
"""

from __future__ import annotations

import sys

import torch
from rich.console import Console

from tests.golden.files import HEADS, Golden, Spread, cases_of, largest_deviation, path_of, write
from tests.golden.problem import ON_A_CPU, Row, replay

AGREE = 1e-8
"""Above this the backends do not compute the same thing, and a golden file would hide it."""


def make(head: str) -> Golden:
    """Train a head's cases and measure how far threads, backends and precision move them."""
    golden: dict[tuple[str, str], list[Row]] = {}
    spread64 = spread32 = 0.0
    for case in cases_of(head):
        torch.set_num_threads(1)
        rows = golden[case] = replay(*case)
        for backend in ON_A_CPU:
            for threads in (1, 2, 4) if case[0] == head else (1,):
                torch.set_num_threads(threads)
                again = replay(*case, backend=backend)
                spread64 = max(spread64, largest_deviation(again, rows))
            torch.set_num_threads(1)
            single = replay(*case, backend=backend, dtype=torch.float32)
            spread32 = max(spread32, largest_deviation(single, rows))
    return Golden(Spread(spread64, spread32), golden)


def main(heads: list[str]) -> None:
    """Write the files of `heads`."""
    console = Console()
    for head in heads:
        golden = make(head)
        if golden.spread.float64 > AGREE:
            raise SystemExit(f"{head}: the backends differ by {golden.spread.float64:.1e}")
        write(head, golden)
        console.print(f"{path_of(head).name}: {len(golden.cases)} cases, {golden.spread}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(HEADS))
