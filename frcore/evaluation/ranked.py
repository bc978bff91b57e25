"""Scores in descending order: all genuine pairs, and the highest impostor pairs.

A threshold at a low FAR depends only on the few highest impostor scores, so of millions of them
only the tail is sorted; it grows on demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from frcore.evaluation.inputs import BoolArray, FloatArray, IntArray, as_labels, as_scores
from frcore.evaluation.metrics import TarAtFar, allowed_false_accepts, points_of_highest


class Ranked:
    """Validated scores (P,) and labels (P,), with their order."""

    def __init__(self, scores: ArrayLike, same: ArrayLike):
        self.scores: FloatArray = as_scores(scores, "pair")
        self.same: BoolArray = as_labels(same, self.scores.size)
        self._tail: IntArray = np.empty(0, dtype=np.int64)

    @classmethod
    def of(cls, scores: ArrayLike | Ranked, same: ArrayLike) -> Ranked:
        """`scores` themselves if they are ranked already."""
        return scores if isinstance(scores, Ranked) else cls(scores, same)

    @cached_property
    def impostors(self) -> int:
        """How many impostor pairs there are."""
        return int(self.same.size - np.count_nonzero(self.same))

    @cached_property
    def genuine(self) -> IntArray:
        """The genuine pairs, the highest score first (G,)."""
        rows = np.flatnonzero(self.same)
        return rows[np.argsort(-self.scores[rows], kind="stable")]

    def tar_at_fars(self, fars: Sequence[float]) -> list[TarAtFar]:
        """`frcore.evaluation.metrics.tar_at_fars`, reusing the sorted scores."""
        allowed = [allowed_false_accepts(far, self.impostors) for far in fars]
        highest = self._highest(max(allowed, default=0) + 1)
        scores = self.scores
        return points_of_highest(
            scores[self.genuine], scores[highest], self.impostors, fars, allowed
        )

    def impostors_above(self, count: int) -> IntArray:
        """The impostor pairs above that of rank `count` (0 = highest): `count`, or fewer with ties.

        `count` is less than the number of impostor pairs.
        """
        highest = self._highest(count + 1)
        # searchsorted needs ascending values, hence the negative of this descending order.
        return highest[: np.searchsorted(-self.scores[highest], -self.scores[highest[count]])]

    def genuine_above(self, count: int) -> IntArray:
        """The genuine pairs above the impostor pair of rank `count`."""
        barred = self.scores[self._highest(count + 1)[count]]
        return self.genuine[: np.searchsorted(-self.scores[self.genuine], -barred)]

    def _highest(self, depth: int) -> IntArray:
        """At least the `depth` impostor pairs with the highest scores, highest first."""
        depth = min(depth, self.impostors)
        if self._tail.size < depth:
            high = ~self.same
            if depth < self.impostors:
                barred = self.scores[high]
                barred.partition(barred.size - depth)
                # All ties with the last one are included: the tail never splits a tie.
                high &= self.scores >= barred[barred.size - depth]
                del barred
            rows = np.flatnonzero(high)
            self._tail = rows[np.argsort(-self.scores[rows], kind="stable")]
        return self._tail
