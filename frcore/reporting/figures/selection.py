"""Which methods are shown in figures with a panel or line per method if a study has very many.

Forty panels are readable, four hundred are not, and drawing them takes longer than everything else.
Tables, rows and figures with all methods in a few panels keep everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from frcore.results.summary import Method, Summary
from frcore.study.parts import Component

MANY = 64
"""Up to this many methods are all shown."""

HEADS, SAMPLERS, BENCHMARKS = 8, 3, 4
"""How many of each are shown if there are more methods."""


def selection(summary: Summary, *, all_methods: bool = False) -> tuple[Summary, str]:
    """A summary of the heads, samplers and benchmarks that are shown, and a note on the others.

    Those with the best main numbers are shown, plus the sampler `full` as a reference; of the
    benchmarks the first ones. They keep the study's order.

    Args:
        summary: of the study.
        all_methods: omit only benchmarks, for figures with one panel per benchmark.
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
    note = f"Shown: {', '.join(left_out)}, the best of them; the tables list all."
    if all_methods:
        note = f"Shown: {', '.join(left_out)}; the tables list all."
    shown = Summary(study.model_copy(update=chosen), summary.rows, summary.scores)
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
    """The mean over benchmarks of a head's or sampler's best number."""
    own: list[Method] = [one for one in summary.trained if getattr(one, kind) == label]
    best = [
        max((summary.cell(method, column).value or 0.0 for method in own), default=0.0)
        for column in summary.main_columns()
    ]
    return float(np.mean(best)) if best else 0.0
