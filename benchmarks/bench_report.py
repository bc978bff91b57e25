"""How long a report over many runs takes: `pytest benchmarks/bench_report.py`.

The timer holds `report` alone: rows, tables, figures and page from result files that are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frcore.reporting.run import report
from tests.reporting.tree import Tree, make_study

HEADS = ["softmax", "normface", "cosface", "arcface", "adacos"]


def test_report_over_a_hundred_runs(benchmark: Any, tmp_path: Path) -> None:
    study = make_study(
        heads=HEADS, seeds=list(range(10)), evaluation={"flip": "none", "bootstrap": 1000}
    )
    Tree(study, tmp_path, pairs=1000).everything()
    page = benchmark.pedantic(report, (study, tmp_path), rounds=3)
    benchmark.extra_info["page_mb"] = page.stat().st_size / 1e6
