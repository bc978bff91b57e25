"""Which true difference an interval would find nine times in ten."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import optimize, special, stats

POWER = 0.9
"""How often a difference is found that a study is said to find: nine times in ten."""

NODES = 64
"""At which the estimated spread over seeds is integrated."""


def fewest(size: Callable[[int], float], goal: float, numbers: range) -> int | None:
    """The smallest of `numbers` whose size is at most `goal`; None if none is. More is never worse.

    >>> fewest(lambda n: 1 / n, 0.26, range(1, 10)), fewest(lambda n: 1 / n, 0.1, range(1, 10))
    (4, None)
    """
    place = bisect_left(numbers, True, key=lambda number: size(number) <= goal)
    return numbers[place] if place < len(numbers) else None


class Errors(NamedTuple):
    """What an interval of a difference is made of; variances in squared proportions.

    Attributes:
        people: of the test people, as far as the spread over seeds does not have it.
        seeds: of the mean over seeds, from their spread on these test people.
        freedom_people, freedom_seeds: degrees of freedom of the two.
    """

    people: float
    seeds: float
    freedom_people: int
    freedom_seeds: float

    def planned(self, *, seeds: tuple[int, int] = (1, 1), people: float = 1.0) -> Errors:
        """The same with more of one thing, cautiously: more seeds add their own degrees of freedom
        alone, and more people leave the spread over seeds as it is.

        Args:
            seeds: how many there are, and would be, no fewer.
            people: times as many.
        """
        now, then = seeds
        more = max(round((self.freedom_people + 1) * people) - 1, 1)
        return Errors(
            self.people / people, self.seeds * now / then, more, self.freedom_seeds + then - now
        )

    def half_width(self, level: float) -> float:
        """Half of the interval at `level`."""
        return float(self._half(level, 1.0))

    def _half(self, level: float, ratio: np.ndarray | float) -> np.ndarray | float:
        """The same where the estimated variance over seeds is `ratio` times the true one."""
        upper = (1 + level) / 2
        people = float(special.stdtrit(max(self.freedom_people, 1), upper)) ** 2 * self.people
        if not self.seeds:
            return math.sqrt(people)
        seeds = float(special.stdtrit(max(self.freedom_seeds, 1), upper)) ** 2 * self.seeds
        # Half widths of independent parts add in quadrature (Zou & Donner 2008, MOVER).
        return np.sqrt(people + seeds * ratio)

    def power(self, difference: float, level: float) -> float:
        """How often the interval lies above 0 if the true difference is this, above 0."""
        half = self._half(level, _ratios(max(self.freedom_seeds, 1)))
        error = math.sqrt(self.people + self.seeds) or 1e-12
        return float(np.mean(special.ndtr((difference - half) / error)))

    def detectable(self, level: float, power: float = POWER) -> float:
        """The smallest true difference that is found that often.

        >>> round(Errors(1.0, 0.0, 10**6, 1).detectable(0.95), 3)  # 1.960 + 1.282
        3.242
        """
        error = math.sqrt(self.people + self.seeds)
        if not error:
            return 0.0
        high = error
        while self.power(high, level) < power:
            high *= 2
        return float(optimize.brentq(lambda d: self.power(d, level) - power, 0.0, high))


@lru_cache(maxsize=256)
def _ratios(freedom: int) -> np.ndarray:
    """What an estimated variance may be of the true one, in equally frequent steps."""
    return np.asarray(stats.chi2.ppf((np.arange(NODES) + 0.5) / NODES, freedom) / freedom)
