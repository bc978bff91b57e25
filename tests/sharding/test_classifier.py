"""A classifier split over 1, 2, 3 and 4 processes is the one of one process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch.testing import assert_close

from frcore.heads import HEADS
from tests.sharding.cases import PLAIN, in_processes, run

LONG, SHORT = 50, 5
SAMPLERS = ["full", "columns", "broadface over columns", "filter over columns"]


def name_of(case):
    update = case.get("update", "sparse")
    return f"{case['head']['name']} {case['sampler']} {case['backend']} {case['classes']} {update}"


def cases(heads, samplers, backends, **settings):
    return [
        {**PLAIN, "head": head, "sampler": sampler, "backend": backend, "steps": SHORT, **settings}
        for head in heads
        for sampler in samplers
        for backend in backends
    ]


FEW = [
    *cases([{"name": "adacos"}], ["full"], ["dense"]),
    *cases([{"name": "curricularface"}], ["broadface over columns"], ["streamed"]),
    *cases([{"name": "sphereface2"}], ["columns"], ["streamed"], update="lazy"),
]
# Fewer classes than ranks, and a last shard without any.
UNEVEN = [
    *cases([{"name": "cosface"}], ["columns"], ["dense"], classes=2),
    *cases([{"name": "adacos"}], ["full"], ["streamed"], classes=9),
]
EVERY = [
    *cases([{"name": name} for name in HEADS], SAMPLERS, ["dense", "streamed"]),
    *cases([{"name": "arcface"}], ["columns"], ["dense", "streamed"], update="lazy"),
    *cases([{"name": "arcface"}], ["columns"], ["dense", "streamed"], update="dense"),
    *cases([{"name": "mv_softmax"}], ["full", "columns"], ["streamed"], fused=False),
    *UNEVEN,
]


def agree(found, expected, case):
    """In float64 up to 1e-12 of a tensor's largest entry: sums are taken in another order."""
    is_double = case.get("dtype", "float64") == "float64"
    for name, value in expected.items():
        largest = value.abs().max().item() if value.numel() else 0.0
        rtol, atol = (0.0, 1e-12 * largest) if is_double else (1e-4, 1e-6)
        message = f"{name} of {name_of(case)}"
        assert_close(
            found[name], value, rtol=rtol, atol=atol, msg=lambda text, m=message: f"{m}: {text}"
        )


def compare(cases, size, folder):
    for case, found in zip(cases, in_processes(cases, size, folder), strict=True):
        agree(found, run(case), case)


@pytest.mark.slow
def test_groups_of_every_other_rank(tmp_path):
    """Two classifiers at once, each on a group of its own."""
    compare([{**case, "ranks": [0, 2]} for case in FEW], 4, tmp_path)


@pytest.mark.slow
def test_the_fused_kernels_in_two_processes(tmp_path, monkeypatch):
    """In Triton's interpreter, float32; split centres whose momentum is rounded by their class."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    heads = [{"name": "curricularface"}]
    plain = {"dtype": "float32", "steps": 2}
    compare(
        [
            *cases(heads, ["columns"], ["triton"], **plain),
            *cases(heads, ["full"], ["triton"], **plain, format="split", momentum=0.0),
            *cases(heads, ["full"], ["triton"], **plain, classes=1 + 1, fused=False),
        ],
        2,
        tmp_path,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "size", [3, *(pytest.param(size, marks=pytest.mark.long) for size in (1, 2, 4))]
)
def test_fifty_steps(size, tmp_path):
    """Uneven batches, and one without rows on the last rank; also without classes on it."""
    compare([{**case, "steps": LONG} for case in [*FEW, *UNEVEN]], size, tmp_path)


@pytest.mark.long
@pytest.mark.grid
@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_head_and_sampler(size, tmp_path):
    compare(EVERY, size, tmp_path)


@pytest.mark.slow
def test_the_example_of_the_docs(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "distributed.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "train.py").write_text(code, encoding="utf-8")
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(tmp_path / "train.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"step \d: loss [\d.]+", done.stdout)[2:]
