"""The cost of the candidate's step relative to the baseline's, from measured rows.

A ratio is that of two medians. Its span goes from the 20th percentile of one side over the 80th of
the other to the reverse: it shows how much step times vary within each measurement. It is not a
confidence interval, as consecutive steps on one machine are not independent.
"""

from __future__ import annotations

import pandas as pd

from frcore.comparison.verdict import judge_pace
from frcore.records.comparison import ComparedCost
from frcore.results.cost import MEMORY, is_disturbed, memory_column

SAME = ("device", "cpu", "gpu_name", "batch_size", "dim", "loss_precision", "inside_timer")
"""What two measurements must have in common for their ratio to be about the heads."""


def costs(
    candidate: pd.DataFrame, baseline: pd.DataFrame, max_slowdown: float | None
) -> list[ComparedCost]:
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


def _cost(row: pd.Series, found: pd.DataFrame, max_slowdown: float | None) -> ComparedCost:
    cost = ComparedCost(
        head=str(row["head"]), sampler=str(row["sampler"]), identities=int(row["identities"])
    )
    if found.empty:
        return cost.but(why="the baseline was not measured at this point")
    both = pd.DataFrame([row, found.iloc[0]], index=["candidate", "baseline"]).astype(object)
    both = both.where(both.notna(), None)
    one, other = both["step_ms"]
    cost = cost.but(candidate_ms=one, baseline_ms=other)
    for side, measured in both.iterrows():
        if measured["status"] != "ok":
            told = measured["reason"] if measured["status"] in ("oom", "failed") else ""
            return cost.but(why=f"{side}: {told or measured['status']}")
    differing = [name for name in SAME if name in both and both[name].nunique(dropna=False) > 1]
    if differing:
        return cost.but(why=f"measured with different {', '.join(differing)}")
    cost = _with_memory(cost, both)
    times = both[["step_ms", "step_ms_low", "step_ms_high"]].astype(float)
    if not (times > 0).all(axis=None):
        return cost.but(why="no step time")
    (_, low, high), (_, other_low, other_high) = times.to_numpy().tolist()
    span = low / other_high, high / other_low
    cost = cost.but(ratio=one / other, low=span[0], high=span[1])
    for side, measured in both.iterrows():
        if is_disturbed(measured):
            return cost.but(why=f"{side} disturbed: {measured['disturbed']}")
    return cost.but(verdict=judge_pace(*span, max_slowdown))


def _with_memory(cost: ComparedCost, both: pd.DataFrame) -> ComparedCost:
    column = memory_column(both)
    if column is None or not (both[column] > 0).all():
        return cost
    one, other = both[column].astype(float)
    return cost.but(memory=MEMORY[column], candidate_mib=one, baseline_mib=other,
                    memory_ratio=one / other)  # fmt: skip
