"""Metrics of weighted pairs, for many sets of weights at once: what a bootstrap evaluates.

Shapes: P pairs, r replicates. A metric is bound to the scores once (sorting, choosing thresholds)
and then maps `frcore.evaluation.intervals.draws.Weights` to values (r,). With all weights 1 it is
the plain metric. Only the weights that matter are asked for: for TAR those of the genuine pairs
and, from the highest impostor score down, as many as it takes to reach the false accepts that are
allowed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.errors import UserError
from frcore.evaluation.inputs import BoolArray, IntArray
from frcore.evaluation.intervals.draws import ALL, PairSet, ThresholdWeights, Values, Weights
from frcore.evaluation.intervals.ranked import Ranked
from frcore.evaluation.intervals.resampling import People
from frcore.evaluation.metrics import allowed_false_accepts
from frcore.evaluation.verification import fold_of_pair, verification_accuracy

CHUNK = 2**18
"""Weights (pairs × replicates) asked for at once: 1 MiB, which a core's cache holds."""

STEP = 64
"""Impostor pairs that are weighed before it is asked which replicates are past their threshold."""

REACH, MARGIN = 8.0, 100
"""How far windows reach, in standard deviations and in pairs: past it is less than one replicate
in 10¹⁰, and nothing is lost where it happens, the search then starts from the highest score."""


@dataclass(frozen=True)
class Window:
    """Where among the impostor pairs, the highest first, thresholds are looked for.

    Attributes:
        first, last: from rank `first` on, up to `last`, pairs are weighed one by one.
        alone: these pairs.
        above: the pairs before `first`, of which only the sum is asked for.
    """

    first: int
    last: int
    alone: IntArray
    above: PairSet


class BoundMetric(Protocol):
    """A metric of given scores: its value, and its values under weights."""

    value: float

    def windows(self, people: People) -> tuple[Window, Window] | None:
        """Where to look with people drawn and with couples drawn; None: it asks for sums of all."""
        ...

    def __call__(self, weights: Weights, window: Window | None = None) -> Values:
        """Values (r,); NaN where a replicate has no weight on one kind of pair."""
        ...


class Metric(Protocol):
    """What `frcore.evaluation.intervals.uncertainty` puts an interval on; a proportion in [0,
    1]."""

    def bind(self, scores: ArrayLike | Ranked, same: ArrayLike) -> BoundMetric:
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

    def bind(self, scores: ArrayLike | Ranked, same: ArrayLike) -> BoundMetric:
        """See `Metric.bind`."""
        ranked = Ranked.of(scores, same)
        array, labels = ranked.scores, ranked.same
        if self.threshold is not None:
            correct = (array >= self.threshold) == labels
        elif self.folds is not None:
            correct = verification_accuracy(array, labels, self.folds).correct
        else:
            raise UserError("Accuracy needs `threshold`, or `folds` to choose it on; both are None")
        share = np.full(array.size, 1 / array.size)
        if self.folds is not None:
            share = _shares(fold_of_pair(self.folds, array.size).tobytes())
        return _BoundAccuracy(correct, labels, share)


@functools.lru_cache(maxsize=8)
def _shares(fold: bytes) -> NDArray[np.float64]:
    """The share of each pair where every fold counts alike (P,), from int64 folds."""
    _, place, sizes = np.unique(
        np.frombuffer(fold, dtype=np.int64), return_inverse=True, return_counts=True
    )
    return 1 / (sizes.size * sizes[place])


class _BoundAccuracy:
    """1 − Σ over genuine and impostor pairs of their fixed share × their weighted error rate.

    The shares stay those of the protocol, which fixes them by design: a replicate that happens to
    weigh genuine pairs more must not count that as noise.
    """

    def __init__(self, correct: BoolArray, same: BoolArray, share: NDArray[np.float64]):
        # Errors are summed, not right decisions, so that a perfect accuracy is exactly 1.
        self.value = 1 - float(share @ ~correct)
        self._wrong, self._same, self._share = ~correct, same, share

    @property
    def pairs(self) -> int:
        """How many."""
        return self._same.size

    def windows(self, people: People) -> None:
        """See `BoundMetric`."""

    def __call__(self, weights: Weights, window: Window | None = None) -> Values:
        return self.together([self], weights)[0]

    @staticmethod
    def together(bound: Sequence[_BoundAccuracy], weights: Weights) -> list[Values]:
        """The values of several, whose pairs are the same."""
        # Runs of one protocol share their shares: one row for all pairs, one each for the wrong.
        shares = {one._share.tobytes(): one._share for one in bound}
        places = {key: len(bound) + place for place, key in enumerate(shares)}
        rows = np.stack([*(one._share * one._wrong for one in bound), *shares.values()])
        same = bound[0]._same
        genuine, impostor = weights.genuine_sums(rows * same), weights.impostor_sums(rows * ~same)
        found = []
        for place, one in enumerate(bound):
            every = places[one._share.tobytes()]
            with np.errstate(invalid="ignore"):
                missed = genuine[place] / genuine[every]
                accepted = impostor[place] / impostor[every]
            of_genuine, of_impostor = one._share[same].sum(), one._share[~same].sum()
            found.append(1 - of_genuine * missed - of_impostor * accepted)
        return found


ROWS = 2**24
"""Values (metrics × pairs) that are summed at once: 128 MiB."""


def values_of(
    bound: Mapping[str, BoundMetric], windows: Mapping[str, Window | None], weights: Weights
) -> dict[str, Values]:
    """Values (r,) of each run's metric under the same weights; accuracies many at a time."""
    linear = {run: one for run, one in bound.items() if isinstance(one, _BoundAccuracy)}
    found = {run: one(weights, windows[run]) for run, one in bound.items() if run not in linear}
    runs = list(linear)
    several = max(1, ROWS // next(iter(linear.values())).pairs) if linear else 1
    for start in range(0, len(runs), several):
        some = runs[start : start + several]
        values = _BoundAccuracy.together([linear[run] for run in some], weights)
        found |= zip(some, values, strict=True)
    return {run: found[run] for run in bound}


def _column_sums(weight: NDArray[Any]) -> NDArray[Any]:
    """Σ over the rows of integer weights (n, r), exact below 2²⁴; a product is the fastest way."""
    return np.ones(len(weight), dtype=weight.dtype) @ weight


@dataclass(frozen=True)
class TarAt:
    """TAR at a FAR, conservatively read; the threshold is chosen again under each set of weights.

    The threshold comes from the very impostors that are resampled, and TAR depends on it to first
    order: keeping it would leave out most of the uncertainty at low FAR.
    """

    far: float

    def bind(self, scores: ArrayLike | Ranked, same: ArrayLike) -> _BoundTar:
        """See `Metric.bind`. Raises UnresolvableFAR where the impostors are too few."""
        if not self.far < 1:
            raise UserError(f"FAR {self.far} was asked for; it must be below 1, e.g. 1e-3")
        return _BoundTar(Ranked.of(scores, same), self.far)


class _BoundTar:
    def __init__(self, ranked: Ranked, far: float):
        self._ranked, self._far = ranked, far
        self._allowed = allowed_false_accepts(far, ranked.impostors)
        self._above = ranked.scores[ranked.genuine][::-1]
        self.value = ranked.tar_at_fars([far])[0].tar

    def windows(self, people: People) -> tuple[Window, Window]:
        """See `BoundMetric`.

        The weight W of the pairs above the threshold, less FAR × that of all, has the expectation 0
        and to first order the variance Σ (k_u − FAR · n_u)² over units u that are drawn, k and n
        the unit's pairs above and in all. Windows reach `REACH` standard deviations either way.
        """
        pairs = self._ranked.tail(self._allowed)[: self._allowed]
        above = np.bincount(people.couple[pairs], minlength=people.couples)
        excess = (above - self._far * people.couple_pairs).astype(np.float64)
        by_person = np.zeros(people.count)
        for side in (people.couple_a, people.couple_b):
            by_person += np.bincount(side, excess, people.count)
        return self._window(by_person), self._window(excess)

    def _window(self, excess: Values) -> Window:
        reach = int(REACH * float(np.sqrt(np.square(excess).sum()))) + MARGIN
        first = max(0, self._allowed - reach)
        last = min(self._allowed + reach, self._ranked.impostors)
        return self._window_of(first, last)

    def _window_of(self, first: int, last: int) -> Window:
        tail = self._ranked.tail(last)
        return Window(first, last, alone=tail[first:last], above=PairSet(tail[:first]))

    def __call__(self, weights: ThresholdWeights, window: Window | None = None) -> Values:
        total = weights.impostor_sum(ALL)
        allowed = np.floor(self._far * total)
        with np.errstate(invalid="ignore", divide="ignore"):
            allowed += (allowed + 1) / total <= self._far
        window = window or self._window_of(0, self._allowed + MARGIN)
        barred = self._barred_scores(weights, allowed, total > 0, window)
        accepted = self._above.size - np.searchsorted(self._above, barred, side="right")
        above, every = self._genuine_sums(weights, accepted)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, above / every, np.nan)

    def _barred_scores(
        self, weights: ThresholdWeights, allowed: Values, usable: BoolArray, window: Window
    ) -> NDArray[np.floating]:
        """The highest impostor score that may not be accepted, for each replicate (r,)."""
        barred = np.full(allowed.size, np.inf, dtype=self._ranked.scores.dtype)
        left = np.flatnonzero(usable)
        start, last = window.first, window.last
        passed = weights.impostor_sum(window.above) if start else np.zeros(allowed.size)
        if (passed > allowed)[left].any():
            start, passed = 0, np.zeros(allowed.size)
        while left.size:
            if start == last:
                last *= 2
            # Never past `last` before it must: of pairs beyond it no weights may be drawn.
            pairs = self._ranked.tail(last)[start : min(start + STEP, last)]
            weight = weights.impostor(pairs)
            after = passed + _column_sums(weight)
            crossed = after[left] > allowed[left]
            now = left[crossed]
            if now.size:
                within = np.cumsum(weight[:, now], axis=0) > (allowed - passed)[now]
                barred[now] = self._ranked.scores[pairs[np.argmax(within, axis=0)]]
                left = left[~crossed]
            passed, start = after, start + pairs.size
        return barred

    def _genuine_sums(self, weights: ThresholdWeights, accepted: IntArray) -> tuple[Values, Values]:
        """The weight of the `accepted` (r,) highest genuine pairs, and of all: (r,) each."""
        if weights.genuine_alike:
            return accepted.astype(np.float64), weights.genuine_total
        genuine = self._ranked.genuine
        # Replicates differ only in the pairs between the fewest and the most that are accepted.
        fewest, most = int(accepted.min()), int(accepted.max())
        above = weights.genuine_sum(genuine[:fewest])
        size = max(1, CHUNK // weights.replicates)
        for start in range(fewest, most, size):
            pairs = genuine[start : min(start + size, most)]
            weight = weights.genuine(pairs)
            weight *= np.arange(start, start + pairs.size)[:, None] < accepted
            above += _column_sums(weight)
        return above, weights.genuine_total
