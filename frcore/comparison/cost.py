"""The cost of the candidate's step relative to the baseline's, from measured rows.

A ratio is that of two medians. Its span goes from the 20th percentile of one side over the 80th of
the other to the reverse: it shows how much step times vary within each measurement. It is not a
confidence interval, as consecutive steps on one machine are not independent.
"""

from __future__ import annotations

import pandas as pd

from frcore.comparison.results import Cost
from frcore.comparison.verdict import judge_pace
from frcore.results.cost import MEMORY, is_disturbed, memory_column

SAME = ("device", "cpu", "gpu_name", "batch_size", "dim", "loss_precision", "inside_timer")
"""What two measurements must have in common for their ratio to be about the heads."""


def costs(
    candidate: pd.DataFrame, baseline: pd.DataFrame, max_slowdown: float | None
) -> list[Cost]:
    """One per sampler and number of identities of the candidate.

    Args:
        candidate: measurement rows of one head.
        baseline: measurement rows to divide by, also of one head.
        max_slowdown: as in `frcore.comparison.spec.Rule`.
    """
    same = ["sampler", "identities"]
    return [
        _cost(row, baseline[(baseline[same] == row[same]).all(axis=1)], max_slowdown)
        for _, row in candidate.iterrows()
    ]


def _cost(row: pd.Series, found: pd.DataFrame, max_slowdown: float | None) -> Cost:
    cost = Cost(
        head=str(row["head"]), sampler=str(row["sampler"]), identities=int(row["identities"])
    )
    if found.empty:
        return cost.but(why="the baseline was not measured at this point")
    other = found.iloc[0]
    sides = {"candidate": row, "baseline": other}
    cost = cost.but(candidate_ms=_value(row, "step_ms"), baseline_ms=_value(other, "step_ms"))
    for side, measured in sides.items():
        if measured["status"] != "ok":
            told = measured["reason"] if measured["status"] in ("oom", "failed") else ""
            return cost.but(why=f"{side}: {told or measured['status']}")
    if differing := [name for name in SAME if not _equal(row.get(name), other.get(name))]:
        return cost.but(why=f"measured with different {', '.join(differing)}")
    cost = _with_memory(cost, pd.DataFrame([row, other]))
    times = [
        _value(side, f"step_ms{end}") for side in (row, other) for end in ("", "_low", "_high")
    ]
    if not all(times):
        return cost.but(why="no step time")
    median, low, high, other_median, other_low, other_high = (time or 0.0 for time in times)
    span = low / other_high, high / other_low
    cost = cost.but(ratio=median / other_median, low=span[0], high=span[1])
    for side, measured in sides.items():
        if is_disturbed(measured):
            return cost.but(why=f"{side} disturbed: {measured['disturbed']}")
    return cost.but(verdict=judge_pace(*span, max_slowdown))


def _with_memory(cost: Cost, both: pd.DataFrame) -> Cost:
    column = memory_column(both)
    if column is None or not (both[column] > 0).all():
        return cost
    one, other = both[column].astype(float)
    return cost.but(memory=MEMORY[column], candidate_mib=one, baseline_mib=other,
                   memory_ratio=one / other)  # fmt: skip


def _value(row: pd.Series, name: str) -> float | None:
    value = row.get(name)
    return None if value is None or pd.isna(value) else float(value)


def _equal(one: object, other: object) -> bool:
    """Whether two cells agree; two missing values do."""
    absent = [cell is None or bool(pd.isna(cell)) for cell in (one, other)]  # type: ignore[call-overload]
    return all(absent) if any(absent) else one == other
