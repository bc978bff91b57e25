"""Metrics of weighted pairs, for many sets of weights at once: what a bootstrap evaluates.

Shapes: P pairs, R replicates. A metric is bound to the scores once (sorting, choosing thresholds)
and then maps integer weights_PR to values_R. With all weights 1 it is the plain metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError
from frcore.evaluation.checks import BoolArray, FloatArray, IntArray, as_labels, as_scores
from frcore.evaluation.metrics import tar_at_far
from frcore.evaluation.verification import fold_of_pair, verification_accuracy

Weights = NDArray[np.floating[Any]]
Values = NDArray[np.float64]


class BoundMetric(Protocol):
    """A metric of given scores: its value, and its values under weights."""

    value: float

    def __call__(self, weights_PR: Weights) -> Values:
        """Values (R,); NaN where a replicate has no weight on one kind of pair."""
        ...


class Metric(Protocol):
    """What `frcore.evaluation.uncertainty` puts an interval on; a proportion in [0, 1]."""

    def bind(self, scores: ArrayLike, same: ArrayLike) -> BoundMetric:
        """Check scores (P,) and labels (P,) and prepare them."""
        ...


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Verification accuracy, with thresholds that stay as chosen on the unweighted pairs.

    Re-choosing the threshold in each replicate would hardly move the interval (accuracy is flat at
    the threshold that maximises it) and would judge a replicate's pairs with a threshold that
    copies of the same people chose.

    Attributes:
        folds: as in `verification_accuracy`; the metric is the mean over folds. None: one mean.
        threshold: accept iff score ≥ threshold. None: chosen on the other folds. Where each pair
            has its own (other runs, other folds), subtract it from the scores and give 0.0.
    """

    folds: int | ArrayLike | None = 10
    threshold: float | None = None

    def bind(self, scores: ArrayLike, same: ArrayLike) -> BoundMetric:
        """See `Metric.bind`."""
        array = as_scores(scores, "pair")
        labels = as_labels(same, array.size)
        if self.threshold is not None:
            correct = (array >= self.threshold) == labels
        elif self.folds is not None:
            correct = verification_accuracy(array, labels, self.folds).correct
        else:
            raise UserError("Accuracy needs `threshold`, or `folds` to choose it on; both are None")
        share = np.full(array.size, 1 / array.size)
        if self.folds is not None:
            _, fold, sizes = np.unique(
                fold_of_pair(self.folds, array.size), return_inverse=True, return_counts=True
            )
            share = 1 / (sizes.size * sizes[fold])
        return _BoundAccuracy(correct, labels, share)


class _BoundAccuracy:
    """1 − Σ over genuine and impostor pairs of their fixed share × their weighted error rate.

    The shares stay those of the protocol, which fixes them by design: a replicate that happens to
    weigh genuine pairs more must not count that as noise.
    """

    def __init__(self, correct: BoolArray, same: BoolArray, share: NDArray[np.float64]):
        # Errors are summed, not right decisions, so that a perfect accuracy is exactly 1.
        self.value = 1 - float(share @ ~correct)
        # Four rows: weight of wrong genuine, all genuine, wrong impostor, all impostor.
        masks = np.stack([same & ~correct, same, ~same & ~correct, ~same])
        self._rows = masks * share
        self._shares = self._rows[[1, 3]].sum(axis=1)

    def __call__(self, weights_PR: Weights) -> Values:
        sums = self._rows.astype(weights_PR.dtype) @ weights_PR
        with np.errstate(invalid="ignore"):
            rates = sums[[0, 2]].astype(np.float64) / sums[[1, 3]]
        return 1 - self._shares @ rates


@dataclass(frozen=True)
class TarAt:
    """TAR at a FAR, conservatively read; the threshold is chosen again under each set of weights.

    The threshold comes from the very impostors that are resampled, and TAR depends on it to first
    order: keeping it would leave out most of the uncertainty at low FAR.
    """

    far: float

    def bind(self, scores: ArrayLike, same: ArrayLike) -> BoundMetric:
        """See `Metric.bind`. Raises UnresolvableFAR where the impostors are too few."""
        if not self.far < 1:
            raise UserError(f"FAR {self.far} was asked for; it must be below 1, e.g. 1e-3")
        array = as_scores(scores, "pair")
        return _BoundTar(array, as_labels(same, array.size), self.far)


class _BoundTar:
    def __init__(self, scores: FloatArray, same: BoolArray, far: float):
        self.value = tar_at_far(scores[same], scores[~same], far).tar
        self._far = far
        genuine, impostor = np.flatnonzero(same), np.flatnonzero(~same)
        self._genuine = genuine[np.argsort(-scores[genuine], kind="stable")]
        self._impostor = impostor[np.argsort(-scores[impostor], kind="stable")]
        # accepted[j]: genuine pairs strictly above the impostor of rank j.
        ascending = scores[self._genuine][::-1]
        barred = scores[self._impostor]
        self._accepted: IntArray = genuine.size - np.searchsorted(ascending, barred, side="right")

    def __call__(self, weights_PR: Weights) -> Values:
        genuine_GR = weights_PR[self._genuine]
        impostor_total = weights_PR.sum(axis=0, dtype=np.float64) - genuine_GR.sum(
            axis=0, dtype=np.float64
        )
        rank = self._barred_rank(weights_PR, impostor_total)
        cumulative = np.cumsum(genuine_GR, axis=0, out=genuine_GR)
        accepted = self._accepted[rank]
        columns = np.arange(rank.size)
        weight = np.where(accepted > 0, cumulative[np.maximum(accepted - 1, 0), columns], 0.0)
        with np.errstate(invalid="ignore"):
            tar = weight / cumulative[-1].astype(np.float64)
        return np.where(impostor_total > 0, tar, np.nan)

    def _barred_rank(self, weights_PR: Weights, total: NDArray[np.float64]) -> IntArray:
        """Rank of the first impostor that may not be accepted, for each replicate (R,)."""
        allowed = np.floor(self._far * total)
        with np.errstate(invalid="ignore"):
            allowed += (allowed + 1) / total <= self._far
        # Weights are 1 on average, so the sums cross long before four times the expected depth.
        depth = min(self._impostor.size, int(4 * self._far * self._impostor.size) + 200)
        while True:
            crossed = np.cumsum(weights_PR[self._impostor[:depth]], axis=0) > allowed
            if depth == self._impostor.size or crossed[-1].all():
                return np.argmax(crossed, axis=0)
            depth = self._impostor.size
