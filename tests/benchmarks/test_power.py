"""The simulation of false alarms and power: in small, and its table in the docs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.power import CSV, PAGE, SCENARIOS, SIMULATION, simulated, summary


@pytest.mark.slow
def test_a_much_worse_head_is_found_and_equal_ones_are_not():
    small = {"heads": 3, "samplers": 1}
    for scenario, expected in ((replace(SCENARIOS[0], **small), 0),
                               (replace(SCENARIOS[0], worse=2.0, **small), 8)):  # fmt: skip
        rows = pd.DataFrame(summary(scenario, simulated(scenario, range(8))))
        now = rows[(rows["judged"] == "now") & (rows["number"] == "accuracy")].iloc[0]
        assert abs(now["different"] - expected) <= 1


def test_the_page_has_the_committed_table_and_no_more_alarms_than_said(repository: Path):
    frame = pd.read_csv(repository / CSV.relative_to(CSV.parents[3]))
    assert SIMULATION.block(frame) in (repository / PAGE.relative_to(PAGE.parents[1])).read_text(
        "utf-8"
    )
    whole = frame[frame["judged"].eq("now") & frame["number"].eq("any of all")]
    equal = whole[whole["scenario"].eq("equal heads")].iloc[0]
    assert equal["repetitions"] >= 1000
    # Joint intervals of 95 %: the lower end of what was seen may not be above 5 %.
    assert equal["different_low"] <= 0.05
