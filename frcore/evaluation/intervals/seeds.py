"""The spread over training seeds: each method's own, moderated by that of all methods together.

Two seeds of one method say next to nothing about its spread (Student's t with one degree of
freedom: 12.7 standard errors); eighteen methods of two seeds together say nearly all (2.1), if all
spread alike. How alike they are is estimated too, as is usual where many things are compared with
few replicates each (the moderated t of Smyth 2004, for genes): the methods' true variances are
drawn from a scaled inverse χ² with `prior` degrees of freedom, and each method's variance is its
own seeds' weighted against `prior` further ones of the common variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Values = NDArray[np.float64]

PRIORS = np.geomspace(1.0, 1000.0, 61)
"""Degrees of freedom that are considered; with 1,000 all methods spread alike."""

UNLIKELY = 1.0
"""The smallest prior is taken whose log-likelihood is at most so far from the largest. The most
likely one trusts the other methods too much: with two seeds each it often is infinite though the
spreads differ (`docs/decisions/0028-power.md`)."""

LEAST = 0.7
"""The common variance is at least this times the pooled one: seeds that agree exactly, as
proportions of few trials may, must not make it vanish."""


@dataclass(frozen=True)
class SeedSpread:
    """The spread over seeds of all groups of runs.

    Attributes:
        deviation: standard deviation of a run about its group's mean, pooled over groups.
        freedom: degrees of freedom, Σ (seeds − 1) over groups.
        groups: number of groups with two or more seeds.
        prior: how many degrees of freedom the other groups are worth to one.
        centre: the variance that the groups have in common.
    """

    deviation: float
    freedom: int
    groups: int
    prior: float
    centre: float

    def variance(self, values: Sequence[float]) -> float:
        """The moderated variance over seeds of a group with these values; they may be one."""
        squares = float(np.var(values)) * len(values)
        return (self.prior * self.centre + squares) / (self.prior + len(values) - 1)

    def combined(
        self, parts: Sequence[tuple[float, Sequence[float]]], least: float = 0.0
    ) -> tuple[float, float]:
        """A weighted sum of the groups' variances, and its degrees of freedom.

        The prior's count once, since it is the same for all groups, and those of the groups' own
        seeds as for independent variances (Satterthwaite 1946); never more than all have.

        Args:
            parts: of each group its weight and values.
            least: no variance is taken to be less.
        """
        own = np.array([len(values) - 1 for _, values in parts])
        terms = np.array([w * max(self.variance(values), least) for w, values in parts])
        total = float(terms.sum())
        if not total or not own.all():
            return total, min(self.prior, self.freedom)
        return total, min(self.prior + total**2 / float((terms**2 / own).sum()), self.freedom)


def seed_spread(groups: Sequence[Sequence[float]]) -> SeedSpread | None:
    """The spread over seeds, from all groups.

    An effect of a seed that is common to all groups counts as noise, although it cancels in a
    difference; that errs on the wide side (in the kept studies by 5 % of the deviation at most).

    Args:
        groups: values of the runs of each group; groups of one run carry no information and are
            left out.

    Returns:
        None if no group has two runs.

    >>> found = seed_spread([[1.0, 3.0], [5.0, 7.0], [9.0]])
    >>> round(found.deviation, 3), found.freedom, found.groups
    (1.414, 2, 2)
    """
    several = [np.asarray(group, dtype=np.float64) for group in groups if len(group) > 1]
    if not several:
        return None
    freedoms = np.array([group.size - 1 for group in several])
    squares = np.array([float(np.square(group - group.mean()).sum()) for group in several])
    pooled = float(squares.sum() / freedoms.sum())
    prior, centre = _prior(squares, freedoms)
    return SeedSpread(float(np.sqrt(pooled)), int(freedoms.sum()), len(several), prior, centre)


def _prior(squares_K: Values, freedoms_K: NDArray[np.int_]) -> tuple[float, float]:
    """The prior's degrees of freedom and its variance, by the likelihood of the sums of squares.

    The deviations of a group are multivariate t with `prior` degrees of freedom, so that seeds
    which agree exactly do not make the likelihood infinite, as a variance of 0 would.
    """
    pooled = float(squares_K.sum() / freedoms_K.sum())
    if not pooled:
        return float(PRIORS[-1]), 0.0
    priors_P, ratio_K = PRIORS[:, np.newaxis], squares_K / pooled
    # Each prior's likelihood is largest where its derivative changes sign, or at an end.
    low_P, high_P = np.full(PRIORS.size, LEAST), np.full(PRIORS.size, 2.0)
    for _ in range(30):
        middle_P = np.sqrt(low_P * high_P)
        known_PK = ratio_K / (priors_P * middle_P[:, np.newaxis] + ratio_K)
        rising_P = ((priors_P + freedoms_K) * known_PK).sum(axis=1) > freedoms_K.sum()
        low_P, high_P = np.where(rising_P, middle_P, low_P), np.where(rising_P, high_P, middle_P)
    scale_P1 = priors_P * low_P[:, np.newaxis]
    half_PK = (priors_P + freedoms_K) / 2
    likelihood_P = (
        special.gammaln(half_PK) - special.gammaln(priors_P / 2)
        - freedoms_K / 2 * np.log(scale_P1) - half_PK * np.log1p(ratio_K / scale_P1)
    ).sum(axis=1)  # fmt: skip
    chosen = int(np.argmax(likelihood_P >= likelihood_P.max() - UNLIKELY))
    return float(PRIORS[chosen]), float(low_P[chosen] * pooled)
