"""Comparisons over results that are written as the stages would, with differences known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from frcore.comparison.spec import ComparisonSpec, comparison_of
from frcore.study import expansion
from frcore.study.config import Study
from tests.reporting.tree import Tree


def spec_of(study: Study, **settings: Any) -> ComparisonSpec:
    """A comparison without the check of parameters, which needs torch."""
    return comparison_of(study, settings, check=lambda study: study)


@dataclass
class Drawn(Tree):
    """Scores with a part of each person, of each run (its seed), and of each run and pair.

    What a head is worth is `skill`; equal skills are equal heads, whatever their seeds make of it.
    """

    draw: int = 0
    seed_spread: float = 0.05

    def scores(self, name: str, benchmark: str) -> dict[str, np.ndarray]:
        people = np.random.default_rng([self.draw, 0, *benchmark.encode()])
        own = np.random.default_rng([self.draw, 1, *benchmark.encode(), *name.encode()])
        count = self.pairs // 4
        same = np.arange(self.pairs) % 2 == 0
        a = people.integers(0, count, self.pairs)
        b = np.where(same, a, (a + people.integers(1, count, self.pairs)) % count)
        easy, hard = people.normal(0, 0.1, count), people.normal(0, 0.1, self.pairs)
        skill = self.skill[expansion.runs(self.study)[name].head.label]
        skill += own.normal(0, self.seed_spread)
        scores = same * skill + easy[a] + easy[b] + hard + own.normal(0, 0.1, self.pairs)
        return {
            "scores": scores.astype(np.float32), "same": same, "identity_a": a, "identity_b": b,
            "fold": np.repeat(np.arange(10), self.pairs // 10),
            "subset_unseen": np.ones(self.pairs, dtype=bool),
        }  # fmt: skip

    def judged(self) -> Drawn:
        """Runs and evaluations, no measurements."""
        for name in expansion.runs(self.study):
            self.run(name)
            for benchmark in self.study.benchmarks:
                self.evaluate(name, benchmark)
        return self
