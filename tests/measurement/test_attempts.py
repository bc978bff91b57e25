from __future__ import annotations

import pytest

from frcore.measurement.attempts import until_clean


def row(disturbed=None, status="ok", **known):
    return {"status": status, "disturbed": disturbed, **known}


def taken(*rows, most=3):
    left = list(rows)
    kept, others = until_clean(lambda: left.pop(0), most, sleep=lambda _: None)
    return kept, others, len(left)


def test_a_clean_row_is_measured_once():
    kept, others, left = taken(row(step_ms=2.0), row())
    assert (kept["attempts"], kept["step_ms"], others, left) == (1, 2.0, [], 1)


def test_the_first_clean_one_stands_though_a_disturbed_one_was_faster():
    kept, others, left = taken(row("heat", step_ms=1.0), row(step_ms=2.0), row())
    assert (kept["attempts"], kept["step_ms"], left) == (2, 2.0, 1)
    assert [other["disturbed"] for other in others] == ["heat"]


@pytest.mark.parametrize("column", ["other_processes", "throttled_ms", "waited_percent",
                                    "others_cores"])  # fmt: skip
def test_where_none_is_clean_the_least_disturbed_stands_marked(column):
    rows = [row("x", step_ms=k, **{column: seen}) for k, seen in enumerate((2.0, 0.5, 3.0))]
    kept, others, _ = taken(*rows)
    assert (kept["disturbed"], kept["attempts"], kept[column]) == ("x", 3, 0.5)
    assert [other[column] for other in others] == [2.0, 3.0]


def test_a_row_with_numbers_goes_before_one_without():
    kept, others, _ = taken(row("company"), row(status="failed"))
    assert (kept["status"], kept["attempts"]) == ("ok", 2)
    assert [other["status"] for other in others] == ["failed"]


def test_a_lack_of_memory_with_company_on_the_board_is_tried_again():
    kept, _, _ = taken(row("1 other process on the board", "oom", other_processes=1), row())
    assert kept["status"] == "ok"


def test_a_failure_is_not_repeated():
    assert taken(row(status="failed"), row())[2] == 1
