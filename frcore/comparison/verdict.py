"""From numbers to verdicts, and from verdicts to whether the run fails.

The rule is that of docs/decisions/0013-what-fails-a-comparison.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from frcore.comparison.spec import Rule
from frcore.records.comparison import ComparedCost, ComparedNumber, Pace, Verdict
from frcore.results.column import Column, Method


def said(verdict: Verdict | Pace) -> str:
    """A verdict as displayed."""
    return "statistically tied" if verdict == "not told apart" else verdict


def number_of(
    method: Method, column: Column, candidate: float | None, baseline: float | None,
    seeds: tuple[int, int],
) -> ComparedNumber:  # fmt: skip
    """A number of a method in a column, without a verdict yet."""
    return ComparedNumber(**vars(method), key=column.key, title=column.title, candidate=candidate,
                          baseline=baseline, seeds=seeds)  # fmt: skip


def judged(
    number: ComparedNumber, rule: Rule, difference: float, low: float, high: float, *,
    level: float, method: str,
) -> ComparedNumber:  # fmt: skip
    """The same number with the interval of its difference and the resulting verdict."""
    verdict = judge(low, high, rule.tolerance / 100)
    return number.but(difference=difference, low=low, high=high, level=level, method=method,
                      verdict=verdict, why="")  # fmt: skip


def name_of(found: ComparedNumber | ComparedCost) -> str:
    """What was compared, for sentences."""
    if isinstance(found, ComparedCost):
        return f"{found.identities:,} identities, {found.head} + {found.sampler}"
    return f"{found.title}, {found.head} + {found.sampler} on {found.backbone}"


class Exit(IntEnum):
    """Exit codes of `frcore compare`; 2 is a user error, as everywhere."""

    PASSED = 0
    FAILED = 3
    INCOMPLETE = 4


def judge(low: float, high: float, tolerance: float) -> Verdict:
    """The verdict from the interval of candidate − baseline; all three are proportions.

    `lower` is a certain loss that may be within the tolerance.

    >>> [judge(*ends, 0.01) for ends in [(0.01, 0.03), (-0.005, 0.03), (-0.02, 0.03)]]
    ['better', 'within tolerance', 'not told apart']
    >>> [judge(*ends, 0.01) for ends in [(-0.03, -0.005), (-0.03, -0.011)]]
    ['lower', 'regression']
    """
    if low > 0:
        return "better"
    if high < -tolerance:
        return "regression"
    if tolerance > 0 and low >= -tolerance:
        return "within tolerance"
    return "lower" if high < 0 else "not told apart"


def judge_pace(low: float, high: float, max_slowdown: float | None) -> Pace:
    """The verdict on the time of a step from the span of candidate / baseline.

    >>> [judge_pace(*span, 1.5) for span in [(0.7, 0.9), (0.9, 1.2), (1.1, 1.6), (1.6, 1.9)]]
    ['faster', 'not told apart', 'slower', 'too slow']
    """
    if max_slowdown is not None and low > max_slowdown:
        return "too slow"
    if low > 1:
        return "slower"
    return "faster" if high < 1 else "not told apart"


@dataclass(frozen=True)
class Outcome:
    """Whether a comparison passes.

    Attributes:
        code: of the process.
        failures: why it failed, one sentence each.
        gaps: what could not be compared.
    """

    code: Exit
    failures: list[str]
    gaps: list[str]

    @property
    def word(self) -> str:
        """As displayed."""
        return self.code.name.lower()


def outcome(
    accuracy: Sequence[tuple[str, Verdict]],
    cost: Sequence[tuple[str, Pace]],
    gaps: Sequence[str],
    rule: Rule,
) -> Outcome:
    """All verdicts together.

    Args:
        accuracy: name and verdict of each number that counts.
        cost: name and verdict of each measured point.
        gaps: what should have been compared but could not be.
        rule: what fails a comparison.
    """
    failures = [f"{name}: regression" for name, verdict in accuracy if verdict == "regression"]
    if rule.strict:
        failures += [
            f"{name}: a loss above {rule.tolerance:g} points cannot be ruled out (strict)"
            for name, verdict in accuracy
            if verdict in ("lower", "not told apart")
        ]
    failures += [
        f"{name}: a step takes more than {rule.max_slowdown:g} times the baseline's"
        for name, pace in cost
        if pace == "too slow"
    ]
    if rule.max_slowdown is not None:
        # A limit that nothing was checked against does not count as met.
        gaps = [*gaps, *(f"{name}: speed not compared" for name, p in cost if p == "not compared")]
        gaps += [] if cost else ["no speed was compared"]
    if not any(verdict != "not compared" for _, verdict in accuracy):
        gaps = [*gaps, "no number was compared"]
    code = Exit.FAILED if failures else Exit.INCOMPLETE if gaps else Exit.PASSED
    return Outcome(code, failures, list(gaps))
