"""docs/literature.md is what `frcore docs` writes, and its new rows are those of their sources."""

from __future__ import annotations

import pytest

from frcore.reporting.docs.component_docs import literature_page
from frcore.reporting.docs.literature import audited, repeats
from frcore.reporting.tables.published_figures import published


@pytest.mark.slow
def test_the_page_is_in_step(repository):
    committed = (repository / "docs/literature.md").read_text(encoding="utf-8")
    fresh = literature_page(repository / "docs", repository / "results/reference")
    assert committed == fresh, "run `frcore docs`"
    # FRBench prints 99.77 to 99.82 for nine losses on one backbone: three pairs of 6,000 at most.
    assert "MS1M (85,742 ids) | CurricularFace 99.82 | 8 of 8 others | 36 | 0 | 0 |" in fresh


@pytest.mark.parametrize(
    ("paper", "rows"),
    [("FRBench", 45 * 8), ("HaiyuWu model zoo", 19 * 8), ("CVLface", 14 * 9), ("LVFace", 4 * 4),
     ("KappaFace", 74), ("InsightFace model zoo", 118)],
)  # fmt: skip
def test_each_collection_is_whole_and_names_file_and_commit(paper, rows):
    found = published()[published()["paper"] == paper]
    assert len(found) == rows
    assert found["source"].str.contains(r"@[0-9a-f]{7}").all()


def test_values_that_the_page_quotes_are_in_the_list():
    frame = published()
    same = frame[(frame["benchmark"] == "MFR-ALL") & (frame["train_data"] == "MS1MV3")
                 & (frame["backbone"].str.lower() == "r50")]  # fmt: skip
    assert {79.14, 80.533, 82.522} <= set(same["value"])
    assert repeats(frame) == [99.24, 99.20, 99.30, 99.27, 99.13]


def test_one_metric_has_one_name():
    frame = audited(published())
    assert {"accuracy"} | {f"TAR@FAR=1e-{n}" for n in range(3, 7)} == set(frame["metric"])
    assert "AgeDB" not in set(frame["benchmark"])
