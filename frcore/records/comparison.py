"""`comparison/<candidate>-vs-<baseline>.json`. All values are proportions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Strict

from frcore.records.base import Environment, Number, Record, Text

Verdict = Literal[
    "better", "within tolerance", "not told apart", "lower", "regression", "not compared"
]
Pace = Literal["faster", "not told apart", "slower", "too slow", "not compared"]


class ComparedNumber(Record):
    """One of `numbers`: one number of one method."""

    backbone: str
    """label"""
    head: str
    """the candidate's label"""
    sampler: str
    """label, or `mean over samplers`"""
    key: str
    """the number, such as `templates.tar.0.001`"""
    title: str
    """the same for people"""
    candidate: Number
    """mean over seeds; null where there is no value"""
    baseline: Number
    """the same"""
    seeds: Annotated[tuple[int, int], Strict(False)]
    """how many on each side"""
    difference: Number = None
    """candidate − baseline"""
    low: Number = None
    """of its interval, so that all intervals hold together"""
    high: Number = None
    """the same"""
    level: Number = None
    """of this interval by itself"""
    method: str = ""
    """how the interval was made"""
    verdict: Verdict = "not compared"
    """`better`, `within tolerance`, `not told apart` (statistically tied), `lower`, `regression`,
    `not compared`"""
    why: str = ""
    """why it was not compared"""


class ComparedCost(Record):
    """One of `costs`: one sampler and number of identities."""

    head: str
    """the candidate's label"""
    sampler: str
    """label"""
    identities: int
    """class centres"""
    candidate_ms: Number = None
    """median step"""
    baseline_ms: Number = None
    """median step"""
    ratio: Number = None
    """of the medians, candidate / baseline"""
    low: Number = None
    """quick steps of the candidate by slow steps of the baseline"""
    high: Number = None
    """slow steps of the candidate by quick steps of the baseline"""
    memory: str = ""
    """which reading"""
    candidate_mib: Number = None
    """of that reading"""
    baseline_mib: Number = None
    """of that reading"""
    memory_ratio: Number = None
    """candidate / baseline"""
    verdict: Pace = "not compared"
    """`faster`, `not told apart` (statistically tied), `slower`, `too slow`, `not compared`"""
    why: str = ""
    """why it was not compared"""


def _known(code: int) -> int:
    if code not in (0, 3, 4):
        raise ValueError(f"no exit code of a comparison: {code}")
    return code


class ComparisonRecord(Record):
    """`<candidate>-vs-<baseline>.json`; [compare.md](compare.md) says how the values come about."""

    id: Text = None
    """`<candidate>-vs-<baseline>`"""
    spec_hash: Text = None
    """of the comparison"""
    study: Text = None
    """its name"""
    candidate: dict[str, Any] | None = None
    """the head with its parameters; null where it is every head"""
    baseline: dict[str, Any] | None = None
    """the same; null where it is kept rows"""
    against: Text = None
    """the folder of kept rows, or null"""
    rule: dict[str, Any] = Field(default_factory=dict)
    """`tolerance` (points), `strict`, `max_slowdown`, `metrics`"""
    runs: list[str] = Field(default_factory=list)
    """what was compared, so that the study's report does not call them strays"""
    measurements: list[str] = Field(default_factory=list)
    """the same"""
    environment: Environment | None = None
    """where it was compared"""
    outcome: str
    """`passed`, `failed`, `incomplete`"""
    exit_code: Annotated[int, AfterValidator(_known)]
    """of the command: 0, 3, 4"""
    failures: list[str]
    """why it failed, a sentence each"""
    gaps: list[str]
    """what could not be compared, a sentence each"""
    numbers: list[ComparedNumber]
    """one per method and number"""
    costs: list[ComparedCost]
    """one per sampler and number of identities"""
    conditions: list[str]
    """what differs between the two sides besides the head"""
    notes: list[str]
    """how the intervals were made"""
