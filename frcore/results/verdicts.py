"""From the interval of a claim's number to a verdict, and what it would take where there is none.

The numbers are in the unit of the claim's test; those of ratios are logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from frcore.evaluation.intervals.detectable import POWER, Errors, fewest
from frcore.records.claims import Verdict
from frcore.study.claims import Test

MOST = 1000
"""No more seeds, or tenths of the people, are asked for."""


@dataclass(frozen=True)
class Measured:
    """A claim's number with its interval.

    Attributes:
        value, low, high: in the unit of the test.
        level: of the interval; None for the span of a time, or one reading.
        method: how the interval was computed.
        seeds: that all methods have.
        people, pairs: of the test set; None where the number is not about people.
        errors: what the interval is made of, in squared units; None where seeds do not change it.
    """

    value: float
    low: float
    high: float
    level: float | None = None
    method: str = ""
    seeds: int | None = None
    people: int | None = None
    pairs: int | None = None
    errors: Errors | None = None


def verdict_of_effect(
    low: float, high: float, smallest: float = 0.0, negligible: float | None = None
) -> Verdict:
    """The verdict on a claimed effect, larger than 0 in the claimed direction.

    Numbers without an interval, such as memory, have two equal ends.

    >>> [verdict_of_effect(*ends) for ends in [(0.1, 0.9), (-0.9, -0.1), (-0.1, 0.5)]]
    ['reproduced', 'not reproduced', 'cannot be told']
    >>> verdict_of_effect(0.1, 0.3, negligible=0.5), verdict_of_effect(0.1, 0.9, smallest=1.0)
    ('not reproduced', 'not reproduced')
    >>> verdict_of_effect(0.0, 0.0)
    'not reproduced'
    """
    if low == high:  # nothing is left to chance
        return "reproduced" if low > max(smallest, negligible or 0.0) else "not reproduced"
    if negligible is not None and -negligible <= low and high <= negligible:
        return "not reproduced"
    if low > smallest:
        return "reproduced"
    return "not reproduced" if high < smallest else "cannot be told"


def verdict_of_same(low: float, high: float, within: float) -> Verdict:
    """The verdict on a claim of no difference larger than `within`.

    >>> [verdict_of_same(*ends, 1.0) for ends in [(-0.5, 0.9), (1.1, 2.0), (0.5, 1.5)]]
    ['reproduced', 'not reproduced', 'cannot be told']
    """
    if -within <= low and high <= within:
        return "reproduced"
    return "not reproduced" if low > within or high < -within else "cannot be told"


def verdict(test: Test, found: Measured) -> Verdict:
    """The verdict of a test on its number."""
    low, high = _oriented(test, found)
    if test.is_same:
        return verdict_of_same(low, high, _in_scale(test, test.within) or 0.0)
    smallest = _in_scale(test, test.smallest) or 0.0
    return verdict_of_effect(low, high, smallest, _in_scale(test, test.negligible))


def bears_out(test: Test, found: Measured) -> float:
    """How far a number is on the claim's side: larger is more."""
    middle = found.value - (_reference(test) or 0.0)
    return -abs(middle) if test.is_same else test.direction * middle


def takes(test: Test, found: Measured) -> str:
    """What it would take to tell, where the verdict is that it cannot be told."""
    if found.errors is None or found.level is None:
        return "a measurement with a narrower span" if test.number.is_ratio else "another design"
    level, errors, seeds = found.level, found.errors, found.seeds or 1
    middle = found.value - (_reference(test) or 0.0)
    if test.is_same:
        goal = (_in_scale(test, test.within) or 0.0) - abs(middle)
        if goal <= 0:
            return "a larger `within`: the difference found is no smaller than what counts as none"
        times = " times" if test.number.is_ratio else ""
        aim = f"for an interval within {test.within:g}{times}, if the difference is as found"

        def size(one: Errors) -> float:
            return one.half_width(level)
    else:
        away = test.direction * middle - (test.smallest or 0.0)
        goal = test.negligible or abs(away)
        what = "" if test.negligible else ", as found,"
        unit = f" {test.number.unit}" if test.number.unit else ""
        aim = f"for {goal:.2g}{unit}{what} to be found {round(10 * POWER)} times in 10"

        def size(one: Errors) -> float:
            return one.detectable(level)

    ways = []
    more = _enough(lambda n: size(errors.planned(seeds=(seeds, n))), goal, seeds)
    if seeds > 1 and more is not None:
        ways.append(f"{max(more, seeds + 1):,} seeds")
    tenths = _enough(lambda n: size(errors.planned(people=n / 10)), goal, 10)
    if found.people is not None and tenths is not None and tenths > 10:
        ways.append(f"{round(found.people * tenths / 10):,} people")
    if seeds == 1:
        ways.append("several seeds")
    none = f"more than {MOST:,} seeds" + (" and more people" if found.people else "")
    return f"{' or '.join(ways) or none} {aim}"


def _enough(size: Callable[[int], float], goal: float, now: int) -> int | None:
    """The smallest number from `now` on that reaches the goal; None if none does."""
    return fewest(size, goal, range(now, now + MOST + 1)) if goal > 0 else None


def _reference(test: Test) -> float | None:
    """The value that a method by itself is compared with."""
    return next((v for v in (test.above, test.below, test.near) if v is not None), None)


def _oriented(test: Test, found: Measured) -> tuple[float, float]:
    """The interval about 0, in the claimed direction."""
    reference = _reference(test) or 0.0
    low, high = found.low - reference, found.high - reference
    return (low, high) if test.direction > 0 else (-high, -low)


def _in_scale(test: Test, value: float | None) -> float | None:
    return math.log(value) if value is not None and test.number.is_ratio else value
