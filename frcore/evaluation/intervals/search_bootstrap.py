"""The bootstrap over people for 1:N searches.

People are drawn with replacement, and each search weighs as often as its probe's person was drawn;
the galleries stay as they are, so the interval is about which people come and not about who is
enrolled. All searches of a person, in all galleries, are drawn together: a probe is a mated search
of one gallery and a non-mated one of the other. Thresholds of TPIR are found again in each
replicate. No weight is a product of two counts, so no part of the variance is counted three times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError
from frcore.evaluation.false_accepts import why_no_interval
from frcore.evaluation.identification import Searches, rank_share, refuse_fpir
from frcore.evaluation.inputs import BoolArray, IntArray
from frcore.evaluation.intervals.draws import PairSet, Values, draw_counts
from frcore.evaluation.intervals.estimates import SharedReplicates, Units, refuse_few_replicates
from frcore.evaluation.intervals.ranked import Ranked
from frcore.evaluation.intervals.resampling import MIN_IDENTITIES
from frcore.evaluation.intervals.weighted import TarAt


@dataclass(frozen=True)
class RankShare:
    """The share of mated searches whose mate is among the first `rank` candidates."""

    rank: int

    def value(self, searches: Searches) -> float:
        """The plain metric."""
        return rank_share(searches, self.rank)

    def values(self, searches: Searches, weights: SearchWeights) -> Values:
        """Its values when searches have weights (r,)."""
        mated = np.flatnonzero(searches.mated)
        weight = weights.genuine(mated)
        right = weight[searches.rank[mated] <= self.rank]
        with np.errstate(invalid="ignore"):
            return right.sum(axis=0, dtype=np.float64) / weight.sum(axis=0, dtype=np.float64)


@dataclass(frozen=True)
class TpirAt:
    """TPIR at an FPIR, the threshold found again under each set of weights."""

    fpir: float

    def value(self, searches: Searches) -> float:
        """The plain metric."""
        refuse_fpir(searches, self.fpir)
        return Ranked(*searches.scores()).tar_at_fars([self.fpir])[0].tar

    def values(self, searches: Searches, weights: SearchWeights) -> Values:
        """Its values when searches have weights (r,)."""
        return TarAt(self.fpir).bind(*searches.scores())(weights)


SearchMetric = RankShare | TpirAt


def few_false_positives(galleries: Sequence[Searches], metric: SearchMetric) -> str:
    """Why a metric has no interval: some gallery's threshold allows too few false positives."""
    if not isinstance(metric, TpirAt):
        return ""
    fewest = min(int((~one.mated).sum()) for one in galleries)
    return why_no_interval(metric.fpir, fewest, rate="FPIR", unit="non-mated searches")


@dataclass
class SearchWeights:
    """Weights of searches, as `frcore.evaluation.intervals.draws.ThresholdWeights` gives those of
    pairs."""

    drawn_IR: NDArray[np.float32]
    person: IntArray
    mated: BoolArray
    genuine_alike: ClassVar = False

    @property
    def replicates(self) -> int:
        """How many."""
        return self.drawn_IR.shape[1]

    def genuine(self, searches: IntArray) -> NDArray[Any]:
        """Weights of these searches (n, r)."""
        return np.take(self.drawn_IR, self.person[searches], axis=0)

    impostor = genuine

    @property
    def genuine_total(self) -> Values:
        """The weight of all mated searches (r,)."""
        return self.genuine_sum(np.flatnonzero(self.mated))

    def genuine_sum(self, searches: IntArray) -> Values:
        """The weight of these searches (r,)."""
        counts = np.bincount(self.person[searches], minlength=len(self.drawn_IR))
        return counts.astype(np.float64) @ self.drawn_IR

    def impostor_sum(self, searches: PairSet) -> Values:
        """The weight of all non-mated searches (r,), or of these."""
        return self.genuine_sum(
            np.flatnonzero(~self.mated) if searches.pairs is None else searches.pairs
        )


class SearchBootstrap(SharedReplicates):
    """The replicates of each run's search metric, a mean over galleries, under the same draws.

    Args:
        searches: run -> the searches of each gallery; every run with the same probes in one order.
        metrics: run -> `RankShare(k)` or `TpirAt(fpir)`.
        groups, replicates, rng_seed: as for
        `frcore.evaluation.intervals.bootstrap.SharedBootstrap`.

    Raises:
        UserError: runs whose searches differ in their people, too few people or replicates, or what
            the metric refuses, or allows too few false positives (`few_false_positives`).
    """

    def __init__(
        self,
        searches: Mapping[str, Sequence[Searches]],
        *,
        metrics: Mapping[str, SearchMetric],
        groups: Sequence[Sequence[str]] = (),
        replicates: int = 1000,
        rng_seed: int = 0,
    ):
        refuse_few_replicates(replicates)
        first = next(iter(searches.values()))
        _refuse_other_searches(searches)
        for metric in dict.fromkeys(metrics.values()):
            if why := few_false_positives(first, metric):
                raise UserError(why)
        names, person = np.unique(
            np.concatenate([one.person for one in first]), return_inverse=True
        )
        people = np.split(person, np.cumsum([one.person.size for one in first])[:-1])
        if names.size < MIN_IDENTITIES:
            raise UserError(
                f"{names.size} people are too few for a bootstrap over people, which needs at "
                f"least {MIN_IDENTITIES}; use a larger benchmark"
            )
        drawn = _draw(names.size, replicates, rng_seed)
        weights = [
            SearchWeights(drawn, codes, one.mated) for codes, one in zip(people, first, strict=True)
        ]
        values, replicated = {}, {}
        for run, galleries in searches.items():
            values[run] = float(np.mean([metrics[run].value(one) for one in galleries]))
            parts = [metrics[run].values(*both) for both in zip(galleries, weights, strict=True)]
            replicated[run] = np.mean(parts, axis=0)
        super().__init__(
            values, replicated, None, _units(people, first), groups=groups, rng_seed=rng_seed
        )


def _refuse_other_searches(searches: Mapping[str, Sequence[Searches]]) -> None:
    tables = [[(one.person, one.mated) for one in galleries] for galleries in searches.values()]
    for other in tables[1:]:
        same = len(other) == len(tables[0]) and all(
            np.array_equal(a, b)
            for one, two in zip(tables[0], other, strict=True)
            for a, b in zip(one, two, strict=True)
        )
        if not same:
            raise UserError("runs were judged on different searches; evaluate them anew")


def _draw(people: int, replicates: int, rng_seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(np.random.SeedSequence(rng_seed).spawn(1)[0])
    return draw_counts(rng, people, np.full(replicates, people)).astype(np.float32)


def _units(people: Sequence[IntArray], searches: Sequence[Searches]) -> Units:
    """People, and the share of combinations of two mated searches that are of one person."""
    every = np.concatenate(people)
    mated = every[np.concatenate([one.mated for one in searches])]
    sizes = np.bincount(mated)
    return Units(
        people=np.unique(every).size,
        carrying=int(np.count_nonzero(sizes)),
        overlap=float(np.square(sizes.astype(np.float64)).sum() / mated.size**2),
        trials=every.size,
    )
