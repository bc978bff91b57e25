"""What figures with a panel or a line for each method show of a study with very many of them.

Forty panels can be read, four hundred cannot, and drawing them takes longer than all else. Tables,
rows and the figures that put all methods into few panels keep everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from frcore.results.summary import Method, Summary
from frcore.study.parts import Component

MANY = 64
"""Up to so many methods are all shown."""

HEADS, SAMPLERS, BENCHMARKS = 8, 3, 4
"""The most that are shown where there are more methods."""


def selection(summary: Summary, *, all_methods: bool = False) -> tuple[Summary, str]:
    """A summary of the heads, samplers and benchmarks that are shown, and a note on the others.

    Those with the highest main numbers are shown, and what the others are compared with: the
    sampler `full`; of the benchmarks the first. They stay in the study's order.

    Args:
        summary: of the study.
        all_methods: leave out benchmarks alone, for figures with a panel for each.
    """
    study = summary.study
    if len(summary.methods) <= MANY:
        return summary, ""
    chosen: dict[str, Any] = {"benchmarks": dict(list(study.benchmarks.items())[:BENCHMARKS])}
    if not all_methods:
        chosen |= {
            f"{kind}s": _chosen(getattr(study, f"{kind}s"), most, partial(_score, summary, kind))
            for kind, most in (("head", HEADS), ("sampler", SAMPLERS))
        }
    left_out = [
        f"{len(some)} of {len(every)} {name}"
        for name, some in chosen.items()
        if len(some) < len(every := getattr(study, name))
    ]
    note = f"Shown: {', '.join(left_out)}, the best of them; the tables have all."
    if all_methods:
        note = f"Shown: {', '.join(left_out)}; the tables have all."
    shown = summary.of_part(study.model_copy(update=chosen))
    return shown, note if left_out else ""


def _chosen(
    components: Sequence[Component], most: int, score: Callable[[str], float]
) -> tuple[Component, ...]:
    if len(components) <= most:
        return tuple(components)
    ranked = sorted(components, key=lambda one: (one.name != "full", -score(one.label)))
    kept = {one.label for one in ranked[:most]}
    return tuple(one for one in components if one.label in kept)


def _score(summary: Summary, kind: str, label: str) -> float:
    """The mean over benchmarks of the highest number that a head or sampler reaches."""
    own: list[Method] = [one for one in summary.trained if getattr(one, kind) == label]
    best = [
        max((summary.cell(method, column).value or 0.0 for method in own), default=0.0)
        for column in summary.main_columns()
    ]
    return float(np.mean(best)) if best else 0.0
