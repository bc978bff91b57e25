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
    """label of the backbone"""
    head: str
    """label of the candidate"""
    sampler: str
    """label, or `mean over samplers`"""
    key: str
    """name of the number, such as `templates.tar.0.001`"""
    title: str
    """the same in words"""
    candidate: Number
    """mean over seeds; null without a value"""
    baseline: Number
    """mean over seeds; null without a value"""
    seeds: Annotated[tuple[int, int], Strict(False)]
    """number of seeds on each side"""
    difference: Number = None
    """candidate − baseline"""
    low: Number = None
    """lower end of its interval; all intervals hold jointly"""
    high: Number = None
    """upper end"""
    level: Number = None
    """level of this interval on its own"""
    detectable: Number = None
    """the true loss that such an interval finds nine times in ten"""
    method: str = ""
    """how the interval was computed"""
    verdict: Verdict = "not compared"
    """`better`, `within tolerance`, `not told apart` (statistically tied), `lower`, `regression`,
    `not compared`"""
    why: str = ""
    """why it was not compared"""


class ComparedCost(Record):
    """One of `costs`: one sampler and number of identities."""

    head: str
    """label of the candidate"""
    sampler: str
    """label of the sampler"""
    identities: int
    """number of class centres"""
    candidate_ms: Number = None
    """median step time of the candidate"""
    baseline_ms: Number = None
    """median step time of the baseline"""
    ratio: Number = None
    """ratio of the medians, candidate / baseline"""
    low: Number = None
    """fast steps of the candidate / slow steps of the baseline"""
    high: Number = None
    """slow steps of the candidate / fast steps of the baseline"""
    memory: str = ""
    """which memory reading is compared"""
    candidate_mib: Number = None
    """that reading of the candidate"""
    baseline_mib: Number = None
    """that reading of the baseline"""
    memory_ratio: Number = None
    """candidate / baseline"""
    verdict: Pace = "not compared"
    """`faster`, `not told apart` (statistically tied), `slower`, `too slow`, `not compared`"""
    why: str = ""
    """why it was not compared"""


def _known(code: int) -> int:
    if code not in (0, 3, 4):
        raise ValueError(f"not an exit code of a comparison: {code}")
    return code


class ComparisonRecord(Record):
    """`<candidate>-vs-<baseline>.json`; [compare.md](compare.md) explains the values."""

    id: Text = None
    """`<candidate>-vs-<baseline>`"""
    spec_hash: Text = None
    """hash of the comparison's spec"""
    study: Text = None
    """name of the study"""
    candidate: dict[str, Any] | None = None
    """the head with its parameters; null if every head is compared"""
    baseline: dict[str, Any] | None = None
    """the head with its parameters; null when comparing with kept rows"""
    against: Text = None
    """the folder of kept rows, or null"""
    rule: dict[str, Any] = Field(default_factory=dict)
    """`tolerance` (points), `strict`, `max_slowdown`, `metrics`, `pool`"""
    runs: list[str] = Field(default_factory=list)
    """the compared runs, so that the study's report does not list them as strays"""
    measurements: list[str] = Field(default_factory=list)
    """the compared measurements, for the same reason"""
    environment: Environment | None = None
    """where the comparison was made"""
    outcome: str
    """`passed`, `failed`, `incomplete`"""
    exit_code: Annotated[int, AfterValidator(_known)]
    """exit code of the command: 0, 3, 4"""
    failures: list[str]
    """reasons for failing, one sentence each"""
    gaps: list[str]
    """what could not be compared, one sentence each"""
    numbers: list[ComparedNumber]
    """one per method and number"""
    costs: list[ComparedCost]
    """one per sampler and number of identities"""
    conditions: list[str]
    """differences between the two sides besides the head"""
    notes: list[str]
    """how the intervals were computed"""
