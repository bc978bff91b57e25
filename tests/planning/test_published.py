"""Published tables and their predictions; values by hand from the counts of docs/planning.md."""

from __future__ import annotations

import pytest

from frcore.planning.published import PublishedStep, predict, time_line
from frcore.reporting.docs.component_docs import with_region
from frcore.reporting.docs.planning_docs import planning_regions, published_steps


def test_the_rows_are_the_published_ones():
    """The first and last lines of InsightFace's docs/speed_benchmark.md."""
    rows = published_steps()
    assert len(rows) == 19
    assert PublishedStep(125_000, 1.0, 5306, 4824) in rows
    assert PublishedStep(5_500_000, 1.0, 32_188, 1389) in rows
    assert PublishedStep(29_000_000, 0.1, 32_324, 1855) in rows


def test_a_row_by_hand():
    """125,000 / 8 = 15,625 centres on each GPU, which sees 1,024 rows of 512 numbers.

    Memory: 8·512 + 40·1,024 + 4·512 = 47,104 bytes for each, and 4 MiB of embeddings. Time:
    6·1,024·512 FLOP at 15.7 TFLOP/s and 204·1,024 + 156·512 = 288,768 bytes at 900 GB/s for each.
    """
    row = PublishedStep(125_000, 1.0, 5306, 4824)
    assert row.planned_mib == pytest.approx(15_625 * 47_104 / 2**20 + 4)
    assert row.step_ms == pytest.approx(212.3, abs=0.05)
    compute, memory = 15_625 * 3_145_728 / 15.7e9, 15_625 * 288_768 / 900e6
    assert row.plan.split_ms[:2] == pytest.approx((compute, memory))


def test_no_row_is_predicted_from_its_own_table():
    rows = published_steps()
    changed = [PublishedStep(row.identities, row.rate, 1.0, 1.0) if row.rate == 1 else row
               for row in rows]  # fmt: skip
    before, after = ({one.row.identities: one for one in predict(some) if one.row.rate == 1}
                     for some in (rows, changed))  # fmt: skip
    for identities, one in before.items():
        assert after[identities].memory_mib == pytest.approx(one.memory_mib)
        assert after[identities].step_ms == pytest.approx(one.step_ms)


def test_the_rest_is_what_the_other_smallest_row_has_besides():
    rows = published_steps()
    largest = next(one for one in predict(rows) if one.row.identities == 29_000_000)
    other = PublishedStep(125_000, 1.0, 5306, 4824)
    rest = 5306 - other.planned_mib
    assert largest.memory_mib == pytest.approx(largest.row.planned_mib + rest)


def test_a_line_through_two_rows():
    rows = [PublishedStep(10**6, 1.0, 0, 1024), PublishedStep(2 * 10**6, 1.0, 0, 512)]
    slope, rest = time_line(rows)  # 1 s and 2 s, and the plan doubles
    assert slope * rows[0].plan.step_ms == pytest.approx(1000)
    assert rest == pytest.approx(0, abs=1e-6)


def test_predictions_are_as_good_as_the_page_says():
    found = predict(published_steps())
    assert min(one.memory_error for one in found) > -0.04
    assert max(one.memory_error for one in found) < 0.18
    assert max(abs(one.time_error) for one in found) < 0.13


def test_the_page_is_in_step(repository):
    page = (repository / "docs/planning.md").read_text(encoding="utf-8")
    renewed = page
    for name, region in planning_regions(repository / "results/reference").items():
        renewed = with_region(renewed, region, name)
    assert page == renewed, "run `frcore docs`"
