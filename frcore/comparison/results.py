"""What a comparison found, as it is written and read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from frcore.comparison.spec import Rule
from frcore.comparison.verdict import Exit, Outcome, Pace, Verdict, judge
from frcore.results.summary import Column, Method


@dataclass(frozen=True)
class Number:
    """One number of one method: candidate − baseline, all as proportions.

    Attributes:
        backbone, head, sampler: the method, by label; the head is the candidate's.
        key: the number, such as `templates.tar.0.001`.
        title: the same for people.
        candidate, baseline: means over their seeds; None where there is no value.
        seeds: how many on each side.
        difference, low, high: with the interval that holds for all numbers together.
        level: of this interval by itself.
        method: how it was made.
        verdict: what it says under the rule.
        why: why it was not compared.
    """

    backbone: str
    head: str
    sampler: str
    key: str
    title: str
    candidate: float | None
    baseline: float | None
    seeds: tuple[int, int]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    method: str = ""
    verdict: Verdict = "not compared"
    why: str = ""

    @property
    def name(self) -> str:
        """For sentences."""
        return f"{self.title}, {self.head} + {self.sampler} on {self.backbone}"

    @classmethod
    def of(
        cls, method: Method, column: Column, candidate: float | None, baseline: float | None,
        seeds: tuple[int, int], *, why: str = "",
    ) -> Number:  # fmt: skip
        """A number of a method in a column that has no verdict yet."""
        return cls(**vars(method), key=column.key, title=column.title, candidate=candidate,
                   baseline=baseline, seeds=seeds, why=why)  # fmt: skip

    def judged(
        self, rule: Rule, difference: float, low: float, high: float, *, level: float, method: str
    ) -> Number:
        """The same number with the interval of its difference and the verdict of it."""
        verdict = judge(low, high, rule.tolerance / 100)
        return replace(self, difference=difference, low=low, high=high, level=level, method=method,
                       verdict=verdict, why="")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """One measured point: candidate / baseline.

    Attributes:
        head, sampler, identities: which point; the head is the candidate's.
        candidate_ms, baseline_ms: medians.
        ratio, low, high: of the medians, and from the quick steps of the one to the slow steps of
            the other.
        memory: what was read of memory; "" if nothing.
        candidate_mib, baseline_mib, memory_ratio: of that reading.
        verdict: what the span says.
        why: why the times were not compared.
    """

    head: str
    sampler: str
    identities: int
    candidate_ms: float | None = None
    baseline_ms: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    memory: str = ""
    candidate_mib: float | None = None
    baseline_mib: float | None = None
    memory_ratio: float | None = None
    verdict: Pace = "not compared"
    why: str = ""

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
        conditions: what differs between the two sides besides the head, or what is not known.
        notes: how the numbers were made.
    """

    numbers: Sequence[Number]
    costs: Sequence[Cost]
    outcome: Outcome
    conditions: Sequence[str] = ()
    notes: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """JSON-able, as docs/formats.md has it."""
        return {
            **self.facts,
            "outcome": self.outcome.word,
            "exit_code": int(self.outcome.code),
            "failures": list(self.outcome.failures),
            "gaps": list(self.outcome.gaps),
            "numbers": [asdict(number) for number in self.numbers],
            "costs": [asdict(cost) for cost in self.costs],
            "conditions": list(self.conditions),
            "notes": list(self.notes),
        }

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Comparison:
        """What `as_record` made.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        rest = dict(record)
        rest.pop("outcome")  # follows from the code
        code, failures, gaps = (rest.pop(name) for name in ("exit_code", "failures", "gaps"))
        return cls(
            [Number(**{**row, "seeds": tuple(row["seeds"])}) for row in rest.pop("numbers")],
            [Cost(**row) for row in rest.pop("costs")],
            Outcome(Exit(code), tuple(failures), tuple(gaps)),
            tuple(rest.pop("conditions")),
            tuple(rest.pop("notes")),
            rest,
        )
