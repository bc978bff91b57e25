"""Committed reference figures and the README's table from them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from frcore.errors import UserError
from frcore.reporting.docs.reference import KEPT, block, keep, markers, update_page, with_block


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """What `keep` reads of a finished study."""
    root = tmp_path / "study"
    for name in KEPT:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n")
    rows = {"commit": ["abc", "abc"], "seconds": [7.0, 9.0], "cpu": "A CPU", "version_torch": "2"}
    pd.DataFrame(rows).to_csv(root / "rows" / "training.csv", index=False)
    (root / "rows" / "measurement.csv").write_text("step_ms\n1.5\n")
    (root / "complete").touch()
    return root


def test_the_readme_is_renewed_and_keeps_its_other_text(finished: Path, tmp_path: Path):
    reference = tmp_path / "results" / "reference" / "cpu" / "quick"
    keep(finished, reference)
    readme = tmp_path / "README.md"
    begin, end = markers("quick")
    readme.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    update_page(readme, reference)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "content of tables/accuracy.md" in text
    assert "2 trainings of about 8 s" in text
    assert "results/reference/cpu/quick/accuracy_cost.svg" in text
    update_page(readme, reference)
    assert readme.read_text() == text


def test_the_first_table_is_shown_where_it_was_kept(finished: Path, tmp_path: Path):
    (finished / "tables" / "overview.md").write_text("accuracy and cost")
    keep(finished, tmp_path / "quick")
    assert "accuracy and cost" in block(tmp_path / "quick", "quick")
    assert "content of tables/accuracy.md" not in block(tmp_path / "quick", "quick")


def test_an_unfinished_study_is_not_kept(finished: Path, tmp_path: Path):
    (finished / "complete").unlink()
    with pytest.raises(UserError, match="the study has to finish first"):
        keep(finished, tmp_path / "kept")


def test_rows_of_uncommitted_code_are_not_kept(finished: Path, tmp_path: Path):
    table = finished / "rows" / "training.csv"
    table.write_text(table.read_text().replace("abc", "abc+", 1))
    with pytest.raises(UserError, match="code with uncommitted changes"):
        keep(finished, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_readme_without_markers_is_refused():
    with pytest.raises(UserError, match="needs the markers"):
        with_block("nothing here", "new", "quick")


@pytest.mark.parametrize(
    ("page", "studies"),
    [("README.md", ["quick"]), ("docs/results.md", ["heads", "conflict", "arcface_gradient"])],
)
def test_pages_show_the_committed_rows(page: str, studies: list[str], repository: Path):
    text = (repository / page).read_text(encoding="utf-8")
    up = "../" * page.count("/")
    for study in studies:
        reference = repository / "results" / "reference" / "cpu" / study
        assert block(reference, f"{up}results/reference/cpu/{study}") in text
