"""From intervals to verdicts and exit codes."""

from __future__ import annotations

import doctest

import pytest

from frcore.comparison import tables, verdict
from frcore.comparison.spec import Rule
from frcore.comparison.verdict import Exit, judge, outcome
from frcore.results import summary


@pytest.mark.parametrize("module", [verdict, summary, tables])
def test_examples(module):
    tested = doctest.testmod(module)
    assert tested.attempted
    assert tested.failed == 0


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_no_interval_with_zero_inside_is_told_apart(tolerance):
    for low, high in [(-0.5, 0.0), (0.0, 0.5), (-0.1, 0.1), (0.0, 0.0)]:
        assert judge(low, high, tolerance) in ("not told apart", "within tolerance")


def test_where_nothing_is_tolerated_nothing_is_within_tolerance():
    assert judge(0.0, 0.5, 0.0) != "within tolerance"
    assert judge(0.0, 0.5, 0.01) == "within tolerance"


def test_a_regression_fails_and_a_doubt_fails_only_when_strict():
    found = [("a", "better"), ("b", "not told apart"), ("c", "lower")]
    assert outcome(found, [], [], Rule(tolerance=1)).code == Exit.PASSED
    strict = outcome(found, [], [], Rule(tolerance=1, strict=True))
    assert strict.code == Exit.FAILED
    assert [text[0] for text in strict.failures] == ["b", "c"]
    assert outcome([*found, ("d", "regression")], [], [], Rule()).code == Exit.FAILED


def test_what_is_missing_does_not_pass():
    assert outcome([("a", "better")], [], ["a run failed"], Rule()).code == Exit.INCOMPLETE
    assert outcome([], [], [], Rule()).code == Exit.INCOMPLETE
    both = outcome([("a", "regression")], [], ["a run failed"], Rule())
    assert both.code == Exit.FAILED, "a regression is one whatever else is missing"


def test_speed_fails_only_where_a_limit_is_given():
    assert outcome([("a", "better")], [("s", "slower")], [], Rule()).code == Exit.PASSED
    limit = Rule(max_slowdown=1.2)
    assert outcome([("a", "better")], [("s", "too slow")], [], limit).code == Exit.FAILED
    assert outcome([("a", "better")], [("s", "slower")], [], limit).code == Exit.PASSED
    for cost in ([], [("s", "not compared")]):
        assert outcome([("a", "better")], cost, [], limit).code == Exit.INCOMPLETE
