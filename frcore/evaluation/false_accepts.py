"""How many false accepts a number rests on, and whether that is enough for an interval.

At a FAR that allows k of n impostor pairs to be accepted, the threshold is an order statistic: the
score of rank k. For n independent impostors the true FAR there follows Beta(k + 1, n − k), with
mean (k + 1)/(n + 1): at k = 1 it is on average twice the requested FAR, so TAR is biased upwards,
and a share e^−k of all samples has no impostor at all above the true threshold. Up to k = 3 that is
more than the 2.5 % that a 95 % interval may miss on one side, so for such a sample no lower end but
0 would be valid; at the levels of simultaneous comparisons (99.7 % each for eighteen methods) it
takes twice as many. Impostor pairs also share people, so there are effectively fewer than k scores.

How often intervals cover the truth at each k is simulated by `python -m benchmarks.coverage` (the
table is in docs/evaluation.md): 95 % intervals cover it in 65 to 81 % of the sets at k = 1, in 88
to 95 % at k = 3, and about as often as they claim from k = 6 on; ten leaves a margin.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from frcore.errors import UserError
from frcore.evaluation.metrics import allowed_false_accepts

PAIR_FARS = (1e-2, 1e-3)
"""FARs of pair benchmarks in addition to the headline's (`fars_of_pairs`)."""

MIN_FALSE_ACCEPTS = 10
"""An estimate whose FAR (or FPIR) allows fewer false accepts gets no interval, mark or verdict."""


def why_no_interval(
    far: float, impostors: int, *, rate: str = "FAR", unit: str = "impostor pairs"
) -> str:
    """Why a number at a FAR has no interval; "" if it may have one.

    Args:
        far, impostors, rate, unit: as for `allowed_false_accepts`.

    >>> why_no_interval(1e-3, 10_000)
    ''
    >>> print(why_no_interval(1e-3, 1200))
    FAR 0.001 allows 1 false accept of 1,200 impostor pairs, too few for an interval (at least 10)
    """
    try:
        allowed = allowed_false_accepts(far, impostors, rate=rate, unit=unit)
    except UserError as error:
        return str(error)
    if allowed >= MIN_FALSE_ACCEPTS:
        return ""
    accepts = "false accept" if allowed == 1 else "false accepts"
    return (
        f"{rate} {far:g} allows {allowed} {accepts} of {impostors:,} {unit}, "
        f"too few for an interval (at least {MIN_FALSE_ACCEPTS})"
    )


def lowest_far(impostors: int, fars: Iterable[float]) -> float | None:
    """The lowest of `fars` at which a number may have an interval: a benchmark's headline.

    >>> lowest_far(1200, [1e-1, 1e-2, 1e-3]), lowest_far(40, [1e-1, 1e-2])
    (0.01, None)
    """
    return min((far for far in fars if not why_no_interval(far, impostors)), default=None)


def fars_of_pairs(impostors: int, usual: Sequence[float]) -> list[float]:
    """The FARs of a pair benchmark, given its number of impostor pairs, highest first.

    The first of `usual` always, the others if they can be resolved, and the lowest power of ten at
    which a number may have an interval.

    >>> fars_of_pairs(1200, (1e-2, 1e-3)), fars_of_pairs(300, (1e-2, 1e-3))
    ([0.01, 0.001], [0.1, 0.01])
    >>> fars_of_pairs(1_000_000, (1e-2, 1e-3)), fars_of_pairs(0, (1e-2, 1e-3))
    ([0.01, 0.001, 1e-05], [0.01])
    """
    powers = [float(f"1e-{digits}") for digits in range(1, 2 + int(np.log10(max(impostors, 1))))]
    headline = lowest_far(impostors, powers)
    chosen = {far for place, far in enumerate(usual) if place == 0 or far * impostors >= 1}
    return sorted(chosen | ({headline} if headline is not None else set()), reverse=True)
