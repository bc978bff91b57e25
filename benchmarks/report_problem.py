"""The study that `bench_report` reports on, and one report of it, which is timed."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from frcore.machine.parallel import available_cores
from frcore.study.config import Study
from tests.reporting.tree import Tree, make_study

SEEDS = 3


def study() -> Study:
    """Ten heads × ten samplers × three seeds on eight pair and two template benchmarks."""
    rates = [{"name": "partial_fc", "rate": r / 10, "label": f"pfc{r}"} for r in range(1, 6)]
    queues = [{"name": "broadface", "size": n, "label": f"queue{n}"} for n in (100, 200, 400, 800)]
    benchmarks = {
        **{f"pairs{i}": {"kind": "synthetic_pairs", "identities": 200, "images": 4, "pairs": 6000}
           for i in range(8)},
        **{f"templates{i}": {"kind": "synthetic_templates", "identities": 200, "images": 4,
                             "impostor_pairs": 3000} for i in range(2)},
    }  # fmt: skip
    return make_study(
        heads=["softmax", "normface", "sphereface", "cosface", "arcface", "combined", "adacos",
               "adacos_fixed", "mv_softmax", "magface"],
        samplers=["full", *rates, *queues],
        seeds=list(range(SEEDS)),
        benchmarks=benchmarks,
        evaluation={"flip": "none", "bootstrap": 1000},
    )  # fmt: skip


def write(root: Path) -> None:
    """Write the result files of the study."""
    skill = {head.label: 0.3 + 0.02 * place for place, head in enumerate(study().heads)}
    Tree(study(), root, skill=skill, pairs=6000, steps=220, epochs=tuple(range(1, 21))).everything()


def main() -> None:
    """Report on the results in the folder given, and print what it took as JSON.

    A second argument is the number of processes; all available cores when absent.
    """
    from frcore.reporting.report import report

    wall = time.perf_counter()
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else available_cores()
    page = report(study(), Path(sys.argv[1]), processes=processes)
    result = {
        "wall_s": time.perf_counter() - wall,
        "processes": processes,
        "cpu_s": sum(os.times()[:4]),  # of the whole command, its children included
        "page_mb": page.stat().st_size / 1e6,
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
