"""Methods on the Pareto front of accuracy and cost, and those statistically tied with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from frcore.results.summary import Column, Method, Summary

Standing = Literal["front", "tied", "behind"]


def pareto_front(costs: Mapping[Method, float], values: Mapping[Method, float]) -> list[Method]:
    """The methods for which no other is both as cheap and better, the cheapest first.

    Args:
        costs: by method; lower is better.
        values: by method; higher is better.

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
    """The front of a column, and each method's standing relative to it.

    A method behind the front is compared with the best one that costs no more, over the same pairs
    and seeds: `tied` if the interval of their difference contains 0.

    Args:
        summary: the study's numbers.
        column: the number to maximise.
        costs: of the methods to compare.
    """
    cells = {method: summary.cell(method, column).value for method in costs}
    values = {method: value for method, value in cells.items() if value is not None}
    front = pareto_front(costs, values)
    found: dict[Method, Standing] = dict.fromkeys(front, "front")
    for method in values:
        if method not in found:
            # The cheapest method is always on the front, so there is at least one.
            ahead = [one for one in front if costs[one] <= costs[method]][-1]
            verdict = summary.difference(column, ahead, method).verdict
            found[method] = "behind" if verdict == "lower" else "tied"
    return front, found
