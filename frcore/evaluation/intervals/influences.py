"""The metrics that have intervals: their value, and the influence of each person's trials on it.

A metric is a function of shares: of wrong or of accepted decisions among genuine and among impostor
pairs. To first order its deviation is that of each share times the metric's slope in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from frcore.errors import UserError
from frcore.evaluation.identification import Searches, rank_share, refuse_fpir
from frcore.evaluation.inputs import BoolArray
from frcore.evaluation.intervals.people import Influence, People, Products, Values
from frcore.evaluation.metrics import allowed_false_accepts
from frcore.evaluation.ranked import Ranked
from frcore.evaluation.verification import fold_of_pair, verification_accuracy

NEARBY = 2.0
"""The slope of the ROC is taken over this many standard errors of the FAR to either side."""


class Metric(Protocol):
    """A share in [0, 1] that `frcore.evaluation.intervals.uncertainty` gives an interval."""

    def value(self, ranked: Ranked) -> float:
        """The metric of these scores."""
        ...

    def influence(self, ranked: Ranked, people: People) -> Influence:
        """The influence of the trials on the value."""
        ...


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Verification accuracy, with the thresholds that were chosen on these pairs.

    Other people would have led to other thresholds, but that hardly changes the interval: accuracy
    is flat at the threshold that maximises it. The shares of genuine and impostor pairs, and of
    folds, are fixed by the protocol.

    Attributes:
        folds: as in `verification_accuracy`; the metric is the mean over folds. None: one mean.
        threshold: accept iff score ≥ threshold. None: chosen on the other folds. Where each pair
            has its own (other runs, other folds), subtract it from the scores and give 0.0.
    """

    folds: int | ArrayLike | None = 10
    threshold: float | None = None

    def value(self, ranked: Ranked) -> float:
        """The accuracy, as the mean over folds."""
        wrong, share = self._wrong(ranked)
        # Errors are summed, not correct decisions, so that a perfect accuracy is exactly 1.
        return 1 - float(share @ wrong)

    def influence(self, ranked: Ranked, people: People) -> Influence:
        """The influence of pairs, through the error rates of both kinds."""
        (wrong, share), same = self._wrong(ranked), ranked.same
        weights = share if np.ptp(share) else None
        genuine = people.genuine(np.flatnonzero(wrong & same), weights)
        impostor = people.impostor(np.flatnonzero(wrong & ~same), weights)
        return impostor.scaled(-share[~same].sum(), -share[same].sum() * genuine)

    def _wrong(self, ranked: Ranked) -> tuple[BoolArray, Values]:
        """Which decisions are wrong, and the weight of each pair in the mean over folds (P,)."""
        scores, same = ranked.scores, ranked.same
        if self.threshold is not None:
            wrong = (scores >= self.threshold) != same
        elif self.folds is not None:
            wrong = ~verification_accuracy(scores, same, self.folds).correct
        else:
            raise UserError("Accuracy needs `threshold`, or `folds` to choose it on; both are None")
        if self.folds is None:
            return wrong, np.full(same.size, 1 / same.size)
        fold = fold_of_pair(self.folds, same.size)
        _, place, sizes = np.unique(fold, return_inverse=True, return_counts=True)
        return wrong, 1 / (sizes.size * sizes[place])


@dataclass(frozen=True)
class TarAt:
    """TAR at a FAR, by the conservative rule.

    The threshold comes from the very impostors whose choice is uncertain, and TAR depends on it to
    first order: if these people's FAR is too low by δ at the true threshold, TAR is read where the
    FAR is δ too high. So the influence of an impostor pair is its influence on the FAR, times minus
    the slope of the ROC. The slope is a ratio of two densities at the threshold; it is estimated by
    the rise of the ROC itself from `NEARBY` standard errors of the FAR below to as many above, the
    range within which the threshold may move (as in Woodruff's intervals of quantiles, 1952).
    """

    far: float

    def value(self, ranked: Ranked) -> float:
        """TAR at the FAR; raises UnresolvableFAR if there are too few impostors."""
        if not self.far < 1:
            raise UserError(f"FAR {self.far} is out of range; give one below 1, e.g. 1e-3")
        return ranked.tar_at_fars([self.far])[0].tar

    def influence(self, ranked: Ranked, people: People) -> Influence:
        """The influence of genuine pairs at the threshold, and of impostor pairs through it."""
        impostors = ranked.impostors
        allowed = min(allowed_false_accepts(self.far, impostors), impostors - 1)
        accepted = ranked.impostors_above(allowed)
        far, together = people.impostor(accepted), people.together or people
        both = Products.of([far if together is people else together.impostor(accepted)])
        reach = NEARBY * both.variance(np.ones(1), together.overlap) ** 0.5 * impostors
        low = max(min(int(allowed - reach), allowed - 1), 0)
        high = min(int(np.ceil(allowed + reach)), impostors - 1)
        rise = ranked.genuine_above(high).size - ranked.genuine_above(low).size
        slope = (rise / ranked.genuine.size) / (max(high - low, 1) / impostors)
        return far.scaled(-slope, people.genuine(ranked.genuine_above(allowed)))


@dataclass(frozen=True)
class RankShare:
    """The share of mated searches whose mate is among the first `rank` candidates."""

    rank: int

    def value(self, searches: Searches) -> float:
        """`rank_share` of these searches."""
        return rank_share(searches, self.rank)

    def influence(self, searches: Searches, people: People) -> Influence:
        """The influence of the mated searches."""
        found = np.flatnonzero(searches.mated & (searches.rank <= self.rank))
        return Influence.of_people(people.genuine(found))


@dataclass(frozen=True)
class TpirAt:
    """TPIR at an FPIR: `TarAt` of mated and non-mated searches."""

    fpir: float

    def value(self, searches: Searches) -> float:
        """The TPIR of these searches."""
        refuse_fpir(searches, self.fpir)
        return TarAt(self.fpir).value(Ranked(*searches.scores()))

    def influence(self, searches: Searches, people: People) -> Influence:
        """The influence of all searches."""
        return TarAt(self.fpir).influence(Ranked(*searches.scores()), people)


SearchMetric = RankShare | TpirAt
