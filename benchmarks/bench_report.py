"""How long a report over many runs takes: `pytest benchmarks/bench_report.py`, a minute or two.

100 heads × samplers, 3 seeds, 10 benchmarks of 6,000 pairs (LFW's number) each, training curves of
20 epochs. The timer holds a whole command, start and imports included, on all cores as `frcore
report` uses them: rows, tables, figures and page from result files that are there.
The aim is 30 s; docs/LOG.md has what was reached, and on what.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report_problem


@pytest.mark.benchmark(group="report")
def test_report_over_three_hundred_runs(benchmark: Any, tmp_path: Path) -> None:
    report_problem.write(tmp_path)

    def child() -> dict[str, Any]:
        command = [sys.executable, "-m", "benchmarks.report_problem", str(tmp_path)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    result = benchmark.pedantic(child, rounds=1)
    benchmark.extra_info.update(result)
    assert result["page_mb"] < 10
