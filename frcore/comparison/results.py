"""The findings of a comparison, as written and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from frcore.comparison.spec import Rule
from frcore.comparison.verdict import Exit, Outcome, judge
from frcore.records.comparison import ComparedCost, ComparedNumber, ComparisonRecord
from frcore.results.summary import Column, Method

FACTS = ("id", "spec_hash", "study", "candidate", "baseline", "against", "rule", "runs",
         "measurements", "environment")  # fmt: skip
"""The fields of a comparison's file that describe what was compared."""


class Number(ComparedNumber):
    """One number of one method: candidate − baseline."""

    @property
    def name(self) -> str:
        """For sentences."""
        return f"{self.title}, {self.head} + {self.sampler} on {self.backbone}"

    @classmethod
    def of(
        cls, method: Method, column: Column, candidate: float | None, baseline: float | None,
        seeds: tuple[int, int], *, why: str = "",
    ) -> Number:  # fmt: skip
        """A number of a method in a column, without a verdict yet."""
        return cls(**vars(method), key=column.key, title=column.title, candidate=candidate,
                   baseline=baseline, seeds=seeds, why=why)  # fmt: skip

    def judged(
        self, rule: Rule, difference: float, low: float, high: float, *, level: float, method: str
    ) -> Number:
        """The same number with the interval of its difference and the resulting verdict."""
        verdict = judge(low, high, rule.tolerance / 100)
        return self.but(difference=difference, low=low, high=high, level=level, method=method,
                        verdict=verdict, why="")  # fmt: skip


class Cost(ComparedCost):
    """One measured point: candidate / baseline."""

    @property
    def name(self) -> str:
        """For sentences."""
        return f"{self.identities:,} identities, {self.head} + {self.sampler}"


@dataclass(frozen=True)
class Comparison:
    """Everything that is written.

    Attributes:
        numbers: those that count; one per method × number.
        costs: one per measured point.
        outcome: whether it passes.
        conditions: differences between the two sides besides the head, known or possible.
        notes: how the numbers were computed.
    """

    numbers: Sequence[Number]
    costs: Sequence[Cost]
    outcome: Outcome
    conditions: Sequence[str] = ()
    notes: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def as_record(self) -> ComparisonRecord:
        """The content of the JSON file."""
        return ComparisonRecord(
            **self.facts,
            outcome=self.outcome.word,
            exit_code=int(self.outcome.code),
            failures=list(self.outcome.failures),
            gaps=list(self.outcome.gaps),
            numbers=list(self.numbers),
            costs=list(self.costs),
            conditions=list(self.conditions),
            notes=list(self.notes),
        )

    @classmethod
    def from_record(cls, record: ComparisonRecord) -> Comparison:
        """The comparison that `as_record` stored."""
        return cls(
            [Number(**number.model_dump()) for number in record.numbers],
            [Cost(**cost.model_dump()) for cost in record.costs],
            Outcome(Exit(record.exit_code), tuple(record.failures), tuple(record.gaps)),
            record.conditions,
            record.notes,
            {name: getattr(record, name) for name in FACTS},
        )
