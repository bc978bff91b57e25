"""The smallest difference between two models that a test set can show, from published shares.

Two models answer the same n trials, with eA and eB errors. What tells them apart are the D trials
that only one of them gets wrong (McNemar 1947): under equality each is a coin toss, so that
k = |eA − eB| of D is judged by the exact binomial test. Tables print k and not D, but D is bounded:

- D = k if every error of the better model is also one of the other. Nothing makes the test more
  sensitive, and below six trials it is never significant at 5 %: 2 · 2⁻⁵ = 0.0625.
- D = eA + eB − 2 eA eB / n if the errors are independent. The variance of the difference is then
  that of two unpaired samples; hard trials are hard for both models, which makes D smaller.

Trials that share a person are dependent. The design effect (Kish 1965), the true variance over the
binomial one, divides all counts; it lies near 1 + (m − 1)ρ for m trials for each person, so with
ρ = 1 the people are the sample.
"""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np
from scipy import special

from frcore.evaluation.intervals.detectable import POWER

ALPHA = 0.05
"""Two-sided level of one comparison."""


def mcnemar(difference: Any, discordant: Any) -> Any:
    """The exact two-sided p-value of McNemar's test, arrays or numbers.

    The binomial distribution is continued to counts that are not whole, as a design effect makes
    them.

    Args:
        difference: k, of the error counts.
        discordant: D ≥ k, trials that only one model gets wrong.

    >>> [round(float(mcnemar(k, k)), 4) for k in (0, 5, 6)]
    [1.0, 0.0625, 0.0312]
    """
    fewer = (np.asarray(discordant, float) - difference) / 2
    with np.errstate(invalid="ignore"):
        tail = special.betainc(discordant - fewer, fewer + 1, 0.5)
    return np.where(np.asarray(difference) > 0, np.minimum(1.0, 2 * tail), 1.0)


def independent(errors: Any, others: Any, trials: Any) -> Any:
    """D, the discordant trials, if the errors of two models are independent."""
    return errors + others - 2.0 * errors * others / trials


def never() -> int:
    """The smallest k that the test can find at all."""
    return next(k for k in range(1, 100) if mcnemar(k, k) <= ALPHA)


def resolvable(value: float, trials: int, effect: float = 1.0) -> float:
    """The smallest significant loss from a share of `value`, if errors are independent.

    Args:
        value: the better model's share, 0 to 1.
        trials: n.
        effect: the design effect.

    Returns:
        A share; NaN if no loss is significant.
    """
    errors = round((1 - value) * trials)
    losses = range(1, trials - errors + 1)

    def significant(loss: int) -> bool:
        discordant = independent(errors, errors + loss, trials)
        return bool(mcnemar(loss / effect, discordant / effect) <= ALPHA)

    place = bisect.bisect_left(losses, True, key=significant)
    return losses[place] / trials if place < len(losses) else float("nan")


def found_often(value: float, trials: int, effect: float = 1.0) -> float:
    """The loss found nine times in ten, errors independent, by the normal approximation."""
    factor = special.ndtri(1 - ALPHA / 2) + special.ndtri(POWER)
    return float(factor * np.sqrt(2 * value * (1 - value) * effect / trials))
