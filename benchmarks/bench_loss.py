"""What each loss backend costs on a CPU: `pytest benchmarks/bench_loss.py --to rows.csv`.

One training step of the last layer with its optimiser: 256 rows, D = 512, one core. The plain
softmax of scaled cosines (`normface`), because torch's own `linear_cross_entropy` knows no margin;
with CosFace frcore's two backends again.

Each row is measured in a fresh process: wall time, CPU time (which other programs on the machine
disturb less), and how much the resident memory grows over that before the first step. The summary
gives the ratio to `dense` of the same run. pytest-benchmark's own table times the same step in this
process, for comparing one commit with the next.

The aim at 100,000 identities: at most 0.6 of dense's CPU time and 64 MiB more.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import torch

from benchmarks.session.cases import Case
from benchmarks.session.measure import Options, build, measure_case
from frcore.measurement.child import run_in_child

BATCH, DIM = 256, 512
SUBJECTS = ("dense", "streamed", "linear_ce", "naive")
OPTIONS = Options(device="cpu", seconds=3.0, warmup=2, steps=(5, 50), limit=3600)


def case_of(subject: str, head: str, identities: int) -> Case:
    ours = subject in ("dense", "streamed")
    who = ("frcore", subject) if ours else (subject, "-")
    return Case(*who, head, identities, 1.0, "fp32", "fp32", BATCH, DIM)


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("head", ["normface", "cosface"])
@pytest.mark.parametrize("identities", [10_000, 100_000, 1_000_000])
def test_step(
    benchmark: Any, keep_row: Any, request: Any, identities: int, head: str, subject: str
) -> None:
    if identities >= 1_000_000 and not request.config.getoption("--large"):
        pytest.skip("a million identities: --large")
    if head == "cosface" and subject not in ("dense", "streamed"):
        pytest.skip(f"{subject} knows no margin")
    case = case_of(subject, head, identities)
    benchmark.group = f"{head}, {identities:,} identities"
    outcome = run_in_child(measure_case, case.as_dict(), asdict(OPTIONS), method="forkserver")
    assert outcome.error is None, outcome.error
    known = {"benchmark": "bench_loss", "subject": subject, "identities": identities, "head": head}
    keep_row(known | {"batch_size": BATCH, "dim": DIM} | outcome.value)
    torch.set_num_threads(OPTIONS.threads)
    benchmark.pedantic(build(case, OPTIONS), rounds=5, warmup_rounds=1)
