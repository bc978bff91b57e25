"""A classifier split over 1, 2, 3 and 4 processes is the one of one process."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from frcore.heads import HEADS
from tests.sharding.cases import PLAIN, in_processes, run

STEPS = 50
SAMPLERS = ["full", "columns", "broadface over columns", "filter over columns"]


def name_of(case):
    update = case.get("update", "sparse")
    return f"{case['head']['name']} {case['sampler']} {case['backend']} {case['classes']} {update}"


def cases(heads, samplers, backends, **settings):
    return [
        {**PLAIN, "head": head, "sampler": sampler, "backend": backend, "steps": STEPS, **settings}
        for head in heads
        for sampler in samplers
        for backend in backends
    ]


FEW = [
    *cases([{"name": "adacos"}], ["full"], ["dense"]),
    *cases([{"name": "curricularface"}], ["broadface over columns"], ["streamed"]),
    *cases([{"name": "sphereface2"}], ["columns"], ["streamed"], update="lazy"),
]
EVERY = [
    *cases([{"name": name} for name in HEADS], SAMPLERS, ["dense", "streamed"]),
    *cases([{"name": "arcface"}], ["columns"], ["dense", "streamed"], update="lazy"),
    *cases([{"name": "arcface"}], ["columns"], ["dense", "streamed"], update="dense"),
    *cases([{"name": "mv_softmax"}], ["full", "columns"], ["streamed"], fused=False),
    # Fewer classes than ranks, and a last shard without any.
    *cases([{"name": "cosface"}], ["full", "columns"], ["dense", "streamed"], classes=2),
    *cases([{"name": "adacos"}], ["full", "columns"], ["dense", "streamed"], classes=9),
]


def agree(found, expected, case):
    for name, value in expected.items():
        rtol, atol = (1e-9, 1e-12) if value.dtype == torch.float64 else (1e-4, 1e-6)
        message = f"{name} of {name_of(case)}"
        assert_close(
            found[name], value, rtol=rtol, atol=atol, msg=lambda text, m=message: f"{m}: {text}"
        )


def compare(cases, size, folder):
    for case, found in zip(cases, in_processes(cases, size, folder), strict=True):
        agree(found, run(case), case)


def test_two_processes_are_one(tmp_path):
    compare(FEW, 2, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_any_number_of_processes_is_one(size, tmp_path):
    """50 steps, uneven batches and one without rows: every head × sampler × backend."""
    compare(EVERY, size, tmp_path)
