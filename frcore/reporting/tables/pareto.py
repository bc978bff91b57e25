"""Which methods nobody beats at their cost, and which are statistically tied with those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from frcore.results.summary import Column, Method, Summary

Standing = Literal["front", "tied", "behind"]


def pareto_front(costs: Mapping[Method, float], values: Mapping[Method, float]) -> list[Method]:
    """The methods than which none is both as cheap and better, the cheapest first.

    Args:
        costs: what is to be low, of the same methods.
        values: what is to be high.

    >>> a, b, c = (Method("tiny", head, "full") for head in "abc")
    >>> [m.head for m in pareto_front({a: 1.0, b: 2.0, c: 3.0}, {a: 0.5, b: 0.4, c: 0.9})]
    ['a', 'c']
    """
    front: list[Method] = []
    for method in sorted(values, key=lambda m: (costs[m], -values[m])):
        if not front or values[method] > values[front[-1]]:
            front.append(method)
    return front


def standings(
    summary: Summary, column: Column, costs: Mapping[Method, float]
) -> tuple[list[Method], dict[Method, Standing]]:
    """The front of a column, and where each method stands to it.

    A method behind the front is compared with the best one that costs no more, over the same pairs
    and seeds: `tied` where the interval of their difference has 0 in it.

    Args:
        summary: the study's numbers.
        column: the number that is to be high.
        costs: of the methods to compare.
    """
    cells = {method: summary.cell(method, column).value for method in costs}
    values = {method: value for method, value in cells.items() if value is not None}
    front = pareto_front(costs, values)
    found: dict[Method, Standing] = dict.fromkeys(front, "front")
    for method in values:
        if method not in found:
            # The cheapest of all is on the front, so there is always one.
            ahead = [one for one in front if costs[one] <= costs[method]][-1]
            verdict = summary.difference(column, ahead, method).verdict
            found[method] = "behind" if verdict == "lower" else "tied"
    return front, found
