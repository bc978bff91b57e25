"""Ratios of measured steps."""

from __future__ import annotations

import pandas as pd
import pytest

from frcore.comparison.cost import costs


def rows(step: float, **changes: object) -> pd.DataFrame:
    """Two measured points; the second takes ten times as long."""
    row = {"head": "a", "sampler": "full", "status": "ok", "reason": "", "cpu": "A CPU",
           "device": "cpu", "batch_size": 8, "dim": 16, "inside_timer": "all", "gpu_name": None,
           "allocated_peak_mib": None, "rss_extra_mib": 100 * step,
           "rss_peak_mib": 900.0}  # fmt: skip
    times = [{"identities": n, "step_ms": k * step, "step_ms_low": 0.9 * k * step,
              "step_ms_high": 1.2 * k * step} for n, k in ((100, 1), (1000, 10))]  # fmt: skip
    return pd.DataFrame([{**row, **time, **changes} for time in times])


def test_ratios_and_their_span():
    first, second = costs(rows(3.0), rows(2.0, head="b"), None)
    assert (first.identities, second.identities) == (100, 1000)
    assert first.ratio == pytest.approx(1.5)
    assert first.low == pytest.approx(2.7 / 2.4)
    assert first.high == pytest.approx(3.6 / 1.8)
    assert first.verdict == "slower"
    assert (first.candidate_mib, first.baseline_mib) == (300, 200)
    assert first.memory_ratio == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, "slower"), (1.2, "slower"), (1.1, "too slow")]
)
def test_the_limit_is_held_against_the_whole_span(limit, verdict):
    assert {cost.verdict for cost in costs(rows(3.0), rows(2.0), limit)} == {verdict}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cpu": "Another"}, "measured with different cpu"),
        ({"batch_size": 4, "dim": 8}, "different batch_size, dim"),
        ({"status": "oom", "reason": "9 GiB were requested"}, "baseline: 9 GiB"),
        ({"identities": 7}, "was not measured at this point"),
        ({"step_ms_low": None}, "no step time"),
    ],
)
def test_what_cannot_be_compared_says_why(changes, why):
    for cost in costs(rows(3.0), rows(2.0, **changes), 1.1):
        assert cost.verdict == "not compared"
        assert why in cost.why


def test_a_disturbed_row_is_shown_and_not_judged():
    (first, _) = costs(rows(3.0), rows(2.0, disturbed="other programs used 0.9 cores"), 1.1)
    assert first.ratio == pytest.approx(1.5)
    assert first.verdict == "not compared"
    assert first.why == "baseline disturbed: other programs used 0.9 cores"
