"""The heads and samplers, with parameters, that the contract tests run over, and in which tier.

The fast tier has every head by name and one head of each kind where more than the head takes part;
the slow tier adds the dialects; the whole grid of heads and samplers is in the tier "grid".
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from frcore.classifier import Classifier
from frcore.heads import HEADS, build_head
from frcore.heads.base import Head
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
    "arcface-plain": ("arcface", {"beyond_pi": "plain"}),
    "arcface-easy": ("arcface", {"easy_margin": True}),
    "arcface-m2": ("arcface", {"margin": 2.0, "scale": 16.0}),
    "arcface-m0": ("arcface", {"margin": 0.0}),
    **{
        f"adacos-{statistics}-{angle}": ("adacos", {"statistics": statistics, "angle": angle})
        for statistics, angle in (
            ("restarted", "median"),
            ("constant", "lower_median"),
            ("batch_mean", "lower_median"),
            ("batch_mean", "quarter_pi"),
        )
    },
    "adacos-lagged": ("adacos", {"statistics": "lagged"}),
    "adacos-max": ("adacos", {"max_scale": 2.6}),  # between s(0) and what these batches ask for
    # The norms of these batches are 0.1 to 20: two of the rows inside [l_a, u_a], one at each end.
    **{
        f"magface-{kind}-{easy}": (
            "magface",
            {"margin_type": kind, "l_a": 0.5, "u_a": 10.0, "easy_margin": easy, "lambda_g": 2.0},
        )
        for kind, easy in (("arc", True), ("arc", False), ("cos", True))
    },
    "magface-plain": (
        "magface",
        {"l_a": 0.5, "u_a": 10.0, "easy_margin": False, "beyond_pi": "plain"},
    ),
    "magface-cos": ("magface", {"margin_type": "cos"}),
    "magface-strict": ("magface", {"easy_margin": False, "l_m": 0.1, "u_m": 0.3, "scale": 30.0}),
    "adaface-ema1": ("adaface", {"ema": 1.0}),
    # A quality that takes the opposed row beyond π.
    **{
        f"adaface-{edges}": ("adaface", {"ema": 0.9, "h": 1.0, "margin": 0.6, "edges": edges})
        for edges in ("clip", "none")
    },
    **{
        f"elasticface-{kind}-{plus}": (
            "elasticface",
            {"margin_type": kind, "plus": plus},
        )
        for kind, plus in product(("arc", "cos"), ("off", "intended", "published"))
        if (kind, plus) != ("arc", "off")
    },
    "elasticface-m.3": ("elasticface", {"margin": 0.3, "sigma": 0.2, "scale": 30.0}),
    "combined-cm2": ("combined", {"m1": 0.9, "m2": 0.4, "m3": 0.15}),
    **{
        f"combined-{beyond}": ("combined", {"m1": 1.4, "m2": 0.4, "m3": 0.15, "beyond_pi": beyond})
        for beyond in ("clip", "fold")
    },
    "combined-linear": ("combined", {"beyond_pi": "linear"}),
    "combined-detached": ("combined", {"m1": 1.4, "gradient": "detached"}),
    # λ falls to its floor within the steps of the contract, and ψ counts against cos θ.
    "sphereface-fast": (
        "sphereface",
        {"lambda_base": 3.0, "gamma": 1.0, "power": 2.0, "lambda_min": 0.5},
    ),
    "sphereface-m3": ("sphereface", {"margin": 3.0, "annealing": False}),
    **{
        f"sphereface-1.7-{beyond}": (
            "sphereface",
            {"margin": 1.7, "scale": 30.0, "annealing": False, "beyond_pi": beyond},
        )
        for beyond in ("fold", "cos", "clip")
    },
    "sphereface-opensphere": (
        "sphereface",
        {"margin": 1.7, "scale": 30.0, "annealing": False, "gradient": "detached"},
    ),
    **{
        f"mv_softmax-{kind}-{weighting}-{easy}": (
            "mv_softmax",
            {"margin_type": kind, "weighting": weighting, "easy_margin": easy},
        )
        for kind, weighting, easy in (
            ("am", "fixed", "positive"),
            ("am", "adaptive", "margin"),
            ("am", "adaptive", "off"),
            ("arc", "adaptive", "positive"),
            ("arc", "fixed", "off"),
        )
    },
    "curricularface-tface": ("curricularface", {"ema": 0.1}),
    "curricularface-text": ("curricularface", {"ema": 0.99, "scale": 16.0, "beyond_pi": "cos"}),
    "curricularface-clip": ("curricularface", {"ema": 0.5, "beyond_pi": "clip"}),
    "sphereface2-C-detached": ("sphereface2", {"gradient": "detached"}),
    "sphereface2-A": ("sphereface2", {"variant": "A", "margin": 0.5}),
    "sphereface2-A-detached": (
        "sphereface2",
        {"variant": "A", "gradient": "detached", "balance": 0.8, "scale": 64.0, "exponent": 2.5},
    ),
    "uniface-mb": ("uniface", {"negative_weight": 0.7, "margin": 0.45, "bias_rate": 0.6}),
    "uniface-clamp": ("uniface", {"clamp": True}),
}

SAMPLER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("full", {}),
    "partial_fc-0": ("partial_fc", {"rate": 0.0}),
    "partial_fc-.6": ("partial_fc", {"rate": 0.6}),
    "partial_fc-1": ("partial_fc", {"rate": 1.0}),
    # 2: the neighbours are searched again in the middle of the steps, and at a resume they are not.
    "partial_fc-hard": (
        "partial_fc",
        {"rate": 0.6, "negatives": "hard", "neighbours": 2, "refresh": 2},
    ),
    "filter-zero": ("interclass_filter", {"threshold": 0.2}),
    "filter-drop": ("interclass_filter", {"threshold": 0.2, "mode": "drop"}),
    "filter-all": ("interclass_filter", {"threshold": -1.0, "mode": "drop"}),
    "broadface-0": ("broadface", {"size": 0}),
    # 7: three batches of 4 leave the queue's cursor in its middle, for the resume.
    "broadface-7": ("broadface", {"size": 7}),
    "broadface-7-raw": ("broadface", {"size": 7, "compensate": False}),
    "broadface-7-late": ("broadface", {"size": 7, "warmup": 2}),
    "broadface-2": ("broadface", {"size": 2}),  # smaller than the batch
    "broadface-7-over-partial_fc": (
        "broadface",
        {"size": 7, "over": {"name": "partial_fc", "rate": 0.6}},
    ),
    "broadface-7-over-filter-over-partial_fc": (
        "broadface",
        {
            "size": 7,
            "over": {
                "name": "interclass_filter",
                "threshold": 0.2,
                "over": {"name": "partial_fc", "rate": 0.6},
            },
        },
    ),
}

ALL_THERE_IS = "broadface-7-over-filter-over-partial_fc"
"""Columns, rows and entries are all sampled."""


def kind_of(head: Head) -> tuple[Any, ...]:
    """What a backend, a sampler or an optimiser can see of a head: where it acts, not by what."""
    acts = ("attach", "update", "observe", "negative", "penalty", "row_loss")
    return (
        head.normalizes_centers,
        head.reduction,
        bool(head.statistics),
        bool(list(head.parameters())),
        *(getattr(type(head), name) is not getattr(Head, name) for name in acts),
    )


def _kinds() -> list[str]:
    """One head of each kind, that with the most parameters."""
    names = sorted(HEADS, key=lambda name: len(HEADS.properties(name)))
    return sorted({kind_of(build_head(name, num_classes=8)): name for name in names}.values())


KINDS = _kinds()
"""A new head of a new kind is among them by itself."""

CASES = [pytest.param(case, marks=() if case in HEADS else pytest.mark.slow) for case in HEAD_CASES]
"""Heads in the fast tier, dialects in the slow one."""


def pairs(fast: Collection[tuple[str, str]], slow: Collection[tuple[str, str]] = ()) -> list[Any]:
    """Heads and samplers: every head under every sampler, every case under those named here."""
    grid = [*fast, *slow, *product(HEADS, SAMPLER_CASES)]
    return [
        pytest.param(
            *pair,
            marks=() if pair in fast else pytest.mark.slow if pair in slow else pytest.mark.grid,
        )
        for pair in dict.fromkeys(grid)
    ]


def slow_sampler(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `SlowClassifier` that mean the same sampler."""
    own = {key: value for key, value in parameters.items() if key not in ("over", "name")}
    if name == "full":
        return {}
    if name == "partial_fc":
        hard = own.get("negatives") == "hard"
        return {
            "rate": own["rate"],
            "hard": (own["neighbours"], own["refresh"]) if hard else None,
        }
    over = parameters.get("over", {"name": "full"})
    inner = slow_sampler(over["name"], over)
    if name == "interclass_filter":
        return {**inner, "entry_filter": (own["threshold"], own.get("mode", "zero"))}
    return {
        **inner,
        "queue_size": own["size"],
        "compensate": own.get("compensate", True),
        "warmup": own.get("warmup", 0),
    }


def make_classifier(
    head: str,
    sampler: str = "full",
    *,
    num_classes: int = 8,
    dim: int = 4,
    seed: int = 0,
    backend: str = "dense",
    tile: int | None = None,
) -> Classifier:
    """A classifier of the named cases, in float64; `tile` is of a backend that has tiles."""
    head_name, head_parameters = HEAD_CASES[head]
    sampler_name, sampler_parameters = SAMPLER_CASES[sampler]
    classifier = Classifier(
        num_classes,
        dim,
        head=build_head(head_name, num_classes=num_classes, **head_parameters),
        sampler=build_sampler(sampler_name, **sampler_parameters),
        backend=backend,
        seed=seed,
    ).double()
    if tile is not None:
        classifier.backend = partial(classifier.backend, tile=tile)
    return classifier


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
