"""The front by a slow search over all pairs, and what is statistically tied with it."""

from __future__ import annotations

import numpy as np
import pytest

from frcore.reporting.tables.pareto import pareto_front, standings
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Column, Method, Summary
from frcore.study import expansion
from tests.reporting.tree import Tree, make_study


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_as_cheap_and_better_than_the_front(seed):
    rng = np.random.default_rng(seed)
    methods = [Method("tiny", f"head{i}", "full") for i in range(12)]
    # Few different numbers, so that there are ties.
    costs = {m: float(rng.integers(1, 6)) for m in methods}
    values = {m: float(rng.integers(1, 6)) for m in methods}
    front = pareto_front(costs, values)
    places = {(costs[m], values[m]) for m in front}
    beaten = {
        (costs[m], values[m])
        for m in methods
        for o in methods
        if costs[o] <= costs[m]
        and values[o] >= values[m]
        and (costs[o], values[o]) != (costs[m], values[m])
    }
    everyone = {(costs[m], values[m]) for m in methods}
    assert places == everyone - beaten
    assert [costs[m] for m in front] == sorted(costs[m] for m in front)


def test_behind_is_what_the_paired_difference_tells_apart(tmp_path):
    study = make_study(heads=["arcface", "cosface", "softmax"], samplers=["full"], measurement=None)
    tree = Tree(study, tmp_path, skill={"arcface": 0.5, "cosface": 0.5, "softmax": 0.05})
    for name in expansion.runs(study):
        tree.run(name)
        tree.evaluate(name, "pairs")
    rows = collect(study, tmp_path)
    summary = Summary(study, rows, Scores(tmp_path, rows))
    column = Column("pairs", "accuracy", None, "all")
    arcface, cosface, softmax = summary.methods
    best, other = (arcface, cosface)
    if (summary.cell(cosface, column).value or 0) > (summary.cell(arcface, column).value or 0):
        best, other = other, best
    front, found = standings(summary, column, {best: 1.0, other: 2.0, softmax: 3.0})
    assert front == [best]
    assert found == {best: "front", other: "tied", softmax: "behind"}
    # The cheapest is on the front, however bad.
    front, found = standings(summary, column, {best: 1.0, other: 2.0, softmax: 0.5})
    assert front == [softmax, best]
    assert found[softmax] == "front"
