"""Every result file is opened once, by `collect`; tables and the summary open none of them."""

from collections import Counter
from pathlib import Path

import pytest

from frcore.reporting.tables.all import all_tables
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from tests.reporting.made import Made


def test_each_file_is_read_once(complete: Made, monkeypatch: pytest.MonkeyPatch):
    opened: Counter[str] = Counter()
    original = Path.read_text

    def counted(self: Path, *args: object, **options: object) -> str:
        opened[str(self)] += self.is_relative_to(complete.root)
        return original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", counted)
    rows = collect(complete.study, complete.root)
    there = {str(path) for kind in ("json", "jsonl") for path in complete.root.rglob(f"*.{kind}")}
    assert there <= set(opened)
    assert {opened[path] for path in there} == {1}
    opened.clear()
    all_tables(Summary(complete.study, rows, Scores(complete.root, rows)))
    assert not +opened
