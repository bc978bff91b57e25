"""The heads and samplers, with parameters, that the contract tests run over."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor

from frcore.classifier import Classifier
from frcore.heads import HEADS, build_head
from frcore.samplers import build_sampler

HEAD_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    # Every registered head with its defaults ("arcface": full, linear); then the dialects.
    **{name: (name, {}) for name in HEADS},
    "normface-64": ("normface", {"scale": 64.0}),
    "cosface-m.5-s30": ("cosface", {"margin": 0.5, "scale": 30.0}),
    **{
        f"arcface-{gradient}-{beyond}": ("arcface", {"gradient": gradient, "beyond_pi": beyond})
        for gradient, beyond in product(("full", "detached"), ("linear", "cos", "clip"))
        if (gradient, beyond) != ("full", "linear")
    },
    "arcface-easy": ("arcface", {"easy_margin": True}),
    "arcface-m2": ("arcface", {"margin": 2.0, "scale": 16.0}),
    "arcface-m0": ("arcface", {"margin": 0.0}),
}

SAMPLER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full", {}),
    "partial_fc-0": ("partial_fc", {"rate": 0.0}),
    "partial_fc-.6": ("partial_fc", {"rate": 0.6}),
    "partial_fc-1": ("partial_fc", {"rate": 1.0}),
    "broadface-0": ("broadface", {"size": 0}),
    # 7: three batches of 4 leave the queue's cursor in its middle, for the resume.
    "broadface-7": ("broadface", {"size": 7}),
    "broadface-7-raw": ("broadface", {"size": 7, "compensate": False}),
    "broadface-2": ("broadface", {"size": 2}),  # smaller than the batch
    "broadface-7-over-partial_fc": (
        "broadface",
        {"size": 7, "over": {"name": "partial_fc", "rate": 0.6}},
    ),
}


def slow_sampler(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `SlowClassifier` that mean the same sampler."""
    if name == "broadface":
        inner = parameters.get("over", {"name": "full"})
        return {
            "queue_size": parameters["size"],
            "compensate": parameters.get("compensate", True),
            "rate": inner.get("rate", 1.0),
        }
    return {"rate": parameters.get("rate", 1.0)}


def make_classifier(
    head: str, sampler: str = "full", *, num_classes: int = 8, dim: int = 4, seed: int = 0
) -> Classifier:
    """A classifier of the named cases, in float64."""
    head_name, head_parameters = HEAD_CASES[head]
    sampler_name, sampler_parameters = SAMPLER_CASES[sampler]
    return Classifier(
        num_classes,
        dim,
        head=build_head(head_name, num_classes=num_classes, **head_parameters),
        sampler=build_sampler(sampler_name, **sampler_parameters),
        seed=seed,
    ).double()


def batches(count: int, *, num_classes: int = 8, dim: int = 4, size: int = 4) -> list:
    """Random batches: norms from small to large, repeated labels, float64."""
    generator = torch.Generator().manual_seed(7)
    out: list[tuple[Tensor, Tensor]] = []
    for _ in range(count):
        x = torch.randn(size, dim, generator=generator, dtype=torch.float64)
        x *= torch.tensor([0.1, 1.0, 5.0, 20.0], dtype=torch.float64)[:size, None]
        labels = torch.randint(num_classes, (size,), generator=generator)
        labels[-1] = labels[0]
        out.append((x, labels))
    return out
