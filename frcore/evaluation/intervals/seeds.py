"""The spread over training seeds: estimated from all methods together, if it may be.

Two seeds of one method say next to nothing about their spread (Student's t with one degree of
freedom: 12.7 standard errors); eighteen methods of two seeds together say nearly all (2.1). That is
right only if all methods spread alike, so it is tested first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

REFUSED_BELOW = 0.05
"""Spreads are not pooled if equal ones would look so different less often than this."""

DRAWS = 20_000
"""Of the test's distribution; its 5 % point is known to ± 0.15 %."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class SeedSpread:
    """The spread over seeds, pooled over all groups of runs.

    Attributes:
        deviation: standard deviation of a run about its group's mean.
        freedom: degrees of freedom, Σ (seeds − 1) over groups.
        groups: number of groups with two or more seeds.
        equal: how often groups of equal spread would look as different as these, or more.
    """

    deviation: float
    freedom: int
    groups: int
    equal: float = 1.0

    @property
    def may_be_pooled(self) -> bool:
        """Whether the groups do not contradict an equal spread."""
        return self.equal >= REFUSED_BELOW


def seed_spread(groups: Sequence[Sequence[float]]) -> SeedSpread | None:
    """The pooled within-group standard deviation, as in an analysis of variance.

    An effect of a seed that is common to all groups counts as noise, although it cancels in a
    difference; that errs on the wide side (in the kept studies by 5 % of the deviation at most).

    Args:
        groups: values of the runs of each group; groups of one run carry no information and are
            left out.

    Returns:
        None if no group has two runs.

    >>> seed_spread([[1.0, 3.0], [5.0, 7.0], [9.0]])
    SeedSpread(deviation=1.4142135623730951, freedom=2, groups=2, equal=1.0)
    """
    several = [np.asarray(group, dtype=np.float64) for group in groups if len(group) > 1]
    if not several:
        return None
    freedoms = np.array([group.size - 1 for group in several])
    variances = np.array([float(group.var(ddof=1)) for group in several])
    pooled = float(freedoms @ variances / freedoms.sum())
    equal = equal_variances(variances, freedoms)
    return SeedSpread(float(np.sqrt(pooled)), int(freedoms.sum()), len(several), equal)


def equal_variances(variances: Values, freedoms: NDArray[np.int_]) -> float:
    """How often equal true variances would give sample variances that differ as much, or more.

    The statistic is Σ ν (s²/s̄² − 1)², the locally most powerful one among those that depend on
    neither location nor scale (John 1971 for one sample); its distribution is drawn. Bartlett's
    takes logarithms, and two seeds may well give the same value; Levene's and Fligner's compare
    deviations within a group, which with two seeds are one number (`docs/decisions/0028-power.md`).

    Args:
        variances: sample variances (K,).
        freedoms: degrees of freedom of each (K,).
    """
    if variances.size < 2 or not variances.any():
        return 1.0
    drawn = _drawn(tuple(sorted(freedoms.tolist())))
    found = _unequal(variances, freedoms) * (1 - 1e-9)  # rounding must not decide a tie
    return float((1 + np.count_nonzero(drawn >= found)) / (1 + drawn.size))


@lru_cache(maxsize=32)
def _drawn(freedoms: tuple[int, ...]) -> Values:
    """The statistic of equal variances, `DRAWS` times; the same ones at every call."""
    own = np.array(freedoms)
    chi_squares = np.random.default_rng(0).chisquare(own, (DRAWS, own.size))
    return _unequal(chi_squares / own, own)


def _unequal(variances: Values, freedoms: NDArray[np.int_]) -> Values:
    mean = (variances @ freedoms / freedoms.sum())[..., np.newaxis]
    return np.asarray(np.square(variances / mean - 1) @ freedoms)
