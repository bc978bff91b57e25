"""`tables/claims.csv`: one row per claim of a study, with its verdict."""

from __future__ import annotations

from typing import Literal

from frcore.records.base import Count, Number, Record, Text

Verdict = Literal["reproduced", "not reproduced", "cannot be told", "needs"]


class ClaimRow(Record):
    """One claim. Numbers are in `unit`: differences in points or degrees, ratios for time and
    memory, all intervals of a study at a level at which they hold jointly at 95 %."""

    study: str
    """name of the study"""
    claim: str
    """name of the claim"""
    says: str
    """the claim"""
    source: str
    """paper and place"""
    published: str = ""
    """published evidence"""
    number: str = ""
    """what it is tested on"""
    tested: str = ""
    """what is compared, and what is expected"""
    shown: str = ""
    """which contrast the numbers are of; of several, the one that bears the claim out least"""
    values: str = ""
    """the number of each method or dose"""
    unit: str = ""
    """of the following numbers"""
    value: Number = None
    """difference, trend, ratio, or the number itself"""
    low: Number = None
    """lower end of its interval"""
    high: Number = None
    """upper end"""
    level: Number = None
    """level of this interval on its own; null for the span of a time"""
    method: str = ""
    """how the interval was computed"""
    seeds: Count = None
    """seeds that all compared methods have"""
    people: Count = None
    """test people; null where the number is not about people"""
    pairs: Count = None
    """test pairs"""
    verdict: Verdict
    """`reproduced`, `not reproduced`, `cannot be told`, `needs`"""
    why: str = ""
    """what it would take to tell, or what is needed, or why there is no interval"""
    commit: Text = None
    """commits of the compared runs"""
    cpu: Text = None
    """processors of the compared runs"""
