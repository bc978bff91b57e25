"""Disturbed rows and lack of memory, in the table of cost, in figures and in the answer."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from frcore.reporting.figures.cost import accuracy_cost
from frcore.reporting.figures.identities import memory, throughput
from frcore.reporting.figures.marks import RING
from frcore.reporting.page.answer import answer
from frcore.reporting.tables.cost import cost_table
from frcore.reporting.tables.overview import overview_table
from frcore.results.cost import comparable_identities, conditions, is_disturbed
from frcore.results.rows import Rows
from frcore.results.summary import Summary
from tests.reporting.made import Made

WHY = "other programs took 1.5 of 2 cores"


@pytest.fixture(scope="module")
def disturbed(complete: Made) -> Rows:
    """The complete study, with arcface over all centres disturbed at 10,000 identities."""
    frame = complete.rows.measurement.copy()
    held_up = (frame["measurement"] == "arcface-full") & (frame["identities"] == 10_000)
    frame["disturbed"] = frame["disturbed"].mask(held_up, WHY)
    frame["attempts"] = frame["attempts"].mask(held_up, 3)
    assert held_up.sum() == 1
    return dataclasses.replace(complete.rows, measurement=frame)


def ringed_points(figure) -> list[tuple[float, float]]:
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for ax in figure.axes
        for line in ax.get_lines()
        if line.get_markersize() == RING and len(line.get_xdata())
    ]


def test_heads_are_compared_at_the_most_identities_that_all_were_timed_at(complete: Made):
    frame = complete.rows.measurement.copy()
    counts = sorted(frame["identities"].unique())
    assert comparable_identities(complete.rows) == counts[-1]
    one = (frame["measurement"] == "arcface-full") & (frame["identities"] == counts[-1])
    frame.loc[one, "step_ms"] = float("nan")
    rows = dataclasses.replace(complete.rows, measurement=frame)
    assert comparable_identities(rows) == counts[-2]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"disturbed": None, "attempts": 1, "steady": True}, ("", "")),
        ({"disturbed": pd.NA, "attempts": pd.NA, "steady": pd.NA}, ("", "")),  # an older version's
        ({}, ("", "")),
        ({"disturbed": WHY, "attempts": 3}, ("disturbed", "3 attempts")),
        ({"disturbed": WHY, "attempts": 1}, ("disturbed", "")),
        ({"disturbed": None, "attempts": 2}, ("", "2 attempts")),
        ({"disturbed": WHY, "attempts": 1, "steady": False}, ("disturbed, not steady", "")),
    ],
)
def test_conditions(row, told):
    assert conditions(pd.Series(row, dtype=object)) == told
    assert is_disturbed(pd.Series(row, dtype=object)) == ("disturbed" in told[0])


@pytest.mark.slow
def test_the_table_says_which_rows_are_disturbed(complete: Made, disturbed: Rows):
    clean = cost_table(complete.study, complete.rows)
    assert "conditions" not in [heading.text for heading in clean.headings]
    table = cost_table(complete.study, disturbed)
    titles = [heading.text for heading in table.headings]
    assert titles.index("conditions") == titles.index("step [ms]") + 1 == 4
    told = {tuple(c.text for c in row[:3]): (row[4].text, row[4].detail) for row in table.rows}
    assert told.pop(("arcface", "full", "10,000")) == ("disturbed", "3 attempts")
    assert set(told.values()) == {("", "")}
    assert f"Disturbed: arcface + full at 10,000: {WHY}." in table.notes
    assert any(
        note.startswith(f"1 of {len(table.rows)} rows were measured") for note in table.notes
    )


@pytest.mark.slow
def test_disturbed_points_are_ringed(complete: Made, disturbed: Rows, summary: Summary):
    frame = disturbed.measurement
    [row] = frame[frame["disturbed"].notna()].to_dict("records")
    for figure, column in ((memory, "rss_extra_mib"), (throughput, "images_per_second")):
        assert ringed_points(figure(complete.study, complete.rows)) == []
        found = ringed_points(figure(complete.study, disturbed))
        assert found == [(10_000, pytest.approx(row[column]))]
    figure = accuracy_cost(dataclasses.replace(summary, rows=disturbed))
    times = [x for x, _ in ringed_points(figure)]
    assert times == [pytest.approx(row["step_ms"])] * len(figure.axes)
    assert ringed_points(accuracy_cost(summary)) == []


def test_the_answer_says_how_many_times_are_disturbed(
    complete: Made, disturbed: Rows, summary: Summary
):
    assert "disturbed" not in " ".join(answer(summary).sentences)
    told = Summary(complete.study, disturbed, summary.scores)
    assert "; 1 of the 4 measurements were disturbed" in answer(told).sentences[1]


def test_the_first_table_marks_disturbed_times(complete: Made, disturbed: Rows, summary: Summary):
    table = overview_table(Summary(complete.study, disturbed, summary.scores))
    marked = [row for row in table.rows if any("disturbed" in cell.detail for cell in row)]
    assert [[cell.text for cell in row[:2]] for row in marked] == [["arcface", "full"]]
    assert any(note.startswith("1 of 12 rows were measured") for note in table.notes)
    assert table.data["cost.disturbed"].notna().sum() == 1
    clean = overview_table(summary)
    assert "disturbed" not in str(clean.rows)


@pytest.mark.slow
def test_a_figure_says_what_was_asked_where_memory_ended(broken: Made):
    texts = [text.get_text() for ax in memory(broken.study, broken.rows).axes for text in ax.texts]
    assert texts == ["OOM at C = 10,000\n(9,663,676,416 bytes asked)"]
