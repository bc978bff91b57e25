"""Rows and table of a study that measures in several processes."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from frcore.reporting.tables.cost import cost_table, missing_table
from frcore.reporting.tables.scaling import scaling_table
from frcore.results.rows import Rows, collect
from frcore.study.config import Study
from tests.reporting.made import Made
from tests.reporting.tree import Tree, make_study, measured


@pytest.fixture(scope="module")
def scaled(tmp_path_factory) -> tuple[Study, Rows]:
    """ArcFace in one and two processes, weak: without 2,000 identities, and 20,000 do not fit."""
    root = tmp_path_factory.mktemp("scaled")
    study = make_study(
        seeds=[0], heads=["arcface"], samplers=["full"],
        measurement={"identities": [100, 1000, 10000], "batch_size": 16, "processes": [1, 2],
                     "scaling": "weak"},
    )  # fmt: skip
    tree = Tree(study, root)
    tree.measure("arcface-full")
    path = tree.root / "measurement/arcface-full.json"
    record = json.loads(path.read_text())
    several = {"processes": 2, "efficiency": 0.75, "network_percent": 12.5}
    record["rows"] += [
        {**measured(200, 1.3, None), **several},
        {**measured(20_000, 1.3, 20_000), "processes": 2},
    ]
    path.write_text(json.dumps(record))
    return study, collect(study, tree.root)


def test_one_process_s_rows_stay_apart(scaled):
    _, rows = scaled
    assert rows.measurement["identities"].tolist() == [100, 1000, 10_000]
    assert rows.measurement["processes"].tolist() == [1, 1, 1]
    points = zip(rows.scaling["identities"], rows.scaling["processes"], strict=True)
    assert list(points) == [(100, 1), (200, 2), (1000, 1), (2000, 2), (10_000, 1), (20_000, 2)]
    assert rows.of_several_processes["status"].tolist() == ["ok", "not run", "oom"]


def test_the_table_has_efficiency_and_network(scaled):
    study, rows = scaled
    table = scaling_table(study, rows)
    titles = [heading.text for heading in table.headings]
    shown = [dict(zip(titles, [cell.text for cell in row], strict=True)) for row in table.rows]
    assert (shown[1]["processes"], shown[1]["efficiency [%]"]) == ("2", "75.0")
    assert (shown[0]["network [%]"], shown[1]["network [%]"]) == ("—", "12.5")
    assert shown[5]["step [ms]"] == "OOM at C = 20,000"
    assert any("Weak scaling" in note for note in table.notes)
    assert len(cost_table(study, rows).rows) == 3


def test_what_is_missing_is_named_with_its_processes(scaled):
    _, rows = scaled
    missing = missing_table(rows).data
    measurements = missing[missing["what"] == "measurement"]
    assert measurements["name"].tolist() == ["arcface-full · 2000 · 2", "arcface-full · 20000 · 2"]


def test_a_study_in_one_process_has_no_such_table(complete: Made):
    table = scaling_table(complete.study, complete.rows)
    assert (table.rows, complete.rows.scaling.empty) == ([], True)
    assert list(pd.Series(table.notes).str.contains("one process only")) == [True]
