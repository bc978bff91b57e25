"""No step waits for the device, and no tensor of the host gets among its own: on torch's "meta"."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from frcore.classifier import Classifier
from frcore.heads import HEADS
from frcore.optimizer import CentersSGD
from tests.rehearsal import META, GpuRules, without_a_gpu

PARTIAL = {"name": "partial_fc", "rate": 0.1}
SAMPLERS = {
    "full": "full",
    "partial_fc": PARTIAL,
    "lazy": {**PARTIAL, "update": "lazy"},
    "dense": {**PARTIAL, "update": "dense"},
    "hard": {**PARTIAL, "negatives": "hard"},
    "broadface": {"name": "broadface", "size": 12, "over": PARTIAL},
    "filter": {"name": "interclass_filter", "threshold": 0.4},
}
BACKENDS = {
    "triton": ("triton", "fp32"),
    "triton-split": ("triton", "split"),
    "streamed": ("streamed", "fp32"),
    "streamed-split": ("streamed", "split"),
    "dense": ("dense", "fp32"),
}
CASES = [
    pytest.param(
        *case,
        marks=[]
        if case[0] == "mv_softmax" and case[1] in ("dense", "broadface", "filter")
        else pytest.mark.slow
        if case[:2] in (("adacos", "full"), ("sphereface2", "hard"))
        else [pytest.mark.grid, pytest.mark.long],
    )
    for case in product(HEADS, SAMPLERS, BACKENDS)
]


@pytest.fixture(autouse=True)
def rehearsed(monkeypatch):
    without_a_gpu(monkeypatch)


@pytest.mark.parametrize(("head", "sampler", "backend"), CASES)
def test_a_step_waits_for_nothing(head, sampler, backend):
    name, center_format = BACKENDS[backend]
    with META:
        classifier = Classifier(
            5000, 8, head=head, sampler=SAMPLERS[sampler], backend=name,
            center_format=center_format, precision="bf16" if name == "triton" else None,
        )  # fmt: skip
    classifier.to(META).train()  # what head and sampler make on the host
    sgd = CentersSGD(classifier, lr=0.1)
    labels = torch.zeros(8, dtype=torch.long, device=META)
    with GpuRules() as rules:
        for _ in range(2):
            x = torch.randn(8, 8, device=META, requires_grad=True)
            sgd.zero_grad()
            classifier(x, labels).loss.backward()
            sgd.step()
    assert x.grad is not None
    assert rules.blocking == 0


def test_the_rehearsal_finds_waits_and_tensors_of_the_host():
    x = torch.zeros(4, 4, device=META)
    for waits in (
        lambda: x.sum().item(),
        lambda: x.nonzero(),
        lambda: x[x > 0],
        lambda: bool(x.any()),
        lambda: x.__setitem__(x > 0, 1.0),
        lambda: x @ torch.zeros(4, 4),
        lambda: x[torch.zeros(2, dtype=torch.long)],
    ):
        with GpuRules(), pytest.raises((RuntimeError, NotImplementedError, AssertionError)):
            waits()
    with GpuRules() as rules:
        torch.zeros(3).to(META)
        torch.zeros(3).to(META, non_blocking=True)
        x.copy_(torch.zeros(4, 4), non_blocking=True)
        x.copy_(torch.zeros(4, 4))
    assert rules.blocking == 2
