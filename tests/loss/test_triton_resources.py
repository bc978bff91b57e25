"""What the kernels take of a GPU against the committed figures. Compiles; needs no GPU."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", minversion="3.4", reason="no triton: pip install 'frcore[gpu]'")
from tests.loss.triton_resources import CASES, FIGURES, SHARED_LIMIT, find_ptxas


def compiled(arguments, repository, folder):
    """Figures, from a process of its own: in this one triton may be the interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    result = subprocess.run(
        [sys.executable, "-m", "tests.loss.triton_resources", *arguments],
        cwd=repository,
        env=environment | {"TRITON_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return list(csv.DictReader(io.StringIO(result.stdout)))


def limit_of(name):
    (arch,) = {case.arch for case in CASES if case.name == name}
    return SHARED_LIMIT[arch]


ALWAYS = ("arcface-full",)
TIMELY = [
    pytest.param(
        case.name,
        marks=pytest.mark.slow if case.name in ALWAYS else [pytest.mark.grid, pytest.mark.long],
    )
    for case in CASES
    if case.is_timely
]


@pytest.mark.skipif(find_ptxas() is None, reason="this triton has no ptxas")
@pytest.mark.parametrize("case", TIMELY)
def test_no_kernel_takes_more_than_it_did(case, repository, tmp_path):
    """Registers that do not suffice spill to memory; shared memory beyond the limit cannot run."""
    rows = compiled([case], repository, tmp_path)
    with FIGURES.open(newline="") as file:
        known = {row["kernel"]: row for row in csv.DictReader(file) if row["case"] == case}
    assert known.keys() == {row["kernel"] for row in rows}
    for row in rows:
        committed = known[row["kernel"]]
        assert int(row["shared"]) <= limit_of(case)
        if row["triton"] == committed["triton"]:  # another compiler, other figures
            for figure in ("spill_stores", "spill_loads", "shared"):
                assert int(row[figure]) <= int(committed[figure]), (row, committed)


@pytest.mark.grid
@pytest.mark.long
@pytest.mark.skipif(find_ptxas() is None, reason="this triton has no ptxas")
@pytest.mark.parametrize("case", ["arcface-full", "arcface-128", "arcface-tf32"])
def test_tiles_that_tuning_may_choose_fit(case, repository, tmp_path):
    rows = compiled(["--others", case], repository, tmp_path)
    with FIGURES.open(newline="") as file:
        static = {row["kernel"]: row["tile"] for row in csv.DictReader(file) if row["case"] == case}
    assert len(rows) == 3 * len(static)
    for row in rows:
        assert int(row["shared"]) <= limit_of(case), row
        assert int(row["spill_stores"]) <= 768, row
    assert all(len({r["tile"] for r in rows if r["kernel"] == kernel}) > 1 for kernel in static)


def test_the_committed_figures_fit_the_hardware():
    with FIGURES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {case.name for case in CASES}
    for row in rows:
        assert int(row["shared"]) <= limit_of(row["case"]), row
        assert int(row["spill_stores"]) <= 768, row
    assert {case.arch for case in CASES} == SHARED_LIMIT.keys()
