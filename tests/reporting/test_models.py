"""Reports of studies with models trained elsewhere: alone, and beside trained ones."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from frcore.reporting.outputs import paths
from frcore.reporting.tables.all import all_tables
from frcore.reporting.tables.cost import missing_table
from frcore.results.rows import NONE, collect
from frcore.results.scores import Scores
from frcore.results.summary import Method, Summary
from frcore.study import expansion
from tests.reporting.made import Made
from tests.reporting.tree import Tree, make_study

pytestmark = pytest.mark.slow

TRAINING = ("train", "backbones", "heads", "samplers", "training", "measurement")
MODELS = [
    {"label": label, "kind": "onnx", "file": f"{label}.onnx", "colour": "RGB", "mean": 127.5,
     "std": 128, "trained_on": "a million people", "licence": "MIT"}
    for label in ("other", "third")
]  # fmt: skip


def made(root: Path, **changes) -> Made:
    study = make_study(models=MODELS, **changes)
    tree = Tree(study, root, skill={"arcface": 0.5, "softmax": 0.05, "other": 0.6, "third": 0.1})
    if study.trains:
        tree.everything()
    for label, benchmark in expansion.model_benchmarks(study):
        tree.evaluate(label, benchmark)
    return Made(study, root)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Made:
    nothing = dict.fromkeys(TRAINING[1:4], ()) | {"train": None, "training": None,
                                                  "measurement": None}  # fmt: skip
    return made(tmp_path_factory.mktemp("alone") / "toy", **nothing)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Made:
    return made(tmp_path_factory.mktemp("both") / "toy")


def summary_of(found: Made) -> Summary:
    return Summary(found.study, found.rows, Scores(found.root, found.rows))


@pytest.mark.slow
def test_every_file_is_written(alone, both):
    for found in (alone, both):
        for name, path in paths(found.reported).items():
            assert path.stat().st_size > 0, name


def test_models_alone_are_ranked_among_themselves(alone):
    summary = summary_of(alone)
    assert summary.methods == [Method.of_model("other"), Method.of_model("third")]
    tables = all_tables(summary)
    accuracy = tables["accuracy"]
    assert accuracy.headings[0].text == "model"
    assert [row[0].text for row in accuracy.rows] == ["other", "third"]
    assert accuracy.rows[0][1].mark == "best"
    assert accuracy.rows[1][1].mark == ""
    assert {d.verdict for d in summary.differences(summary.main_columns()[0])} == {"best", "lower"}
    assert "Nothing is missing." in tables["missing"].notes


@pytest.mark.slow
def test_a_page_of_models_alone_speaks_of_no_training(alone):
    assert "Nothing was trained: this is based on 2 of 2 models" in alone.page
    assert "On pairs, other has the highest accuracy" in alone.page
    for part in ('id="training"', 'id="angles"', 'id="cost"', "training runs"):
        assert part not in alone.page
    assert "trained on: a million people; licence: MIT" in alone.page


@pytest.mark.slow
def test_beside_trained_ones_models_have_rows_and_no_rank(both):
    summary = summary_of(both)
    accuracy = all_tables(summary)["accuracy"]
    assert [h.text for h in accuracy.headings[:2]] == ["head, or model", "sampler"]
    last = accuracy.rows[-2]
    assert [cell.text for cell in last[:2]] == ["other", NONE]
    assert all(cell.mark == "" for cell in last)
    assert "seeds)" not in last[2].detail
    assert "arcface" in both.page
    assert any("Trained elsewhere" in note for note in accuracy.notes)
    assert "Trained elsewhere, on other data: other" in both.page
    compared = {d.method for c in summary.main_columns() for d in summary.differences(c)}
    assert compared == set(summary.trained)


@pytest.mark.slow
def test_models_change_nothing_about_the_trained_ones(both, tmp_path):
    without = make_study()
    tree = Tree(without, tmp_path / "toy", skill={"arcface": 0.5, "softmax": 0.05}).everything()
    rows = collect(without, tree.root)
    plain = Summary(without, rows, Scores(tree.root, rows))
    summary = summary_of(both)
    for column in plain.columns:
        assert plain.differences(column) == summary.differences(column)
        for method in plain.methods:
            assert plain.cell(method, column) == summary.cell(method, column)


def test_an_interval_of_a_model_has_no_part_for_seeds(both):
    summary = summary_of(both)
    column = summary.main_columns()[0]
    assert "seeds" in summary.cell(summary.trained[0], column).method
    model = summary.cell(Method.of_model("other"), column)
    assert "seeds" not in model.method
    assert model.seeds == ()
    assert model.low < model.value < model.high or model.value == 1


@pytest.mark.slow
def test_rows_of_a_model_have_its_label_and_no_seed(both):
    frame = pd.read_parquet(both.reported / "rows/evaluation.parquet")
    own = frame[frame["run"] == "other"]
    assert set(own["backbone"]) == {"other"}
    assert set(own["head"]) == set(own["sampler"]) == {NONE}
    assert own["seed"].isna().all()
    assert set(pd.read_parquet(both.reported / "rows/training.parquet")["run"]) == set(
        expansion.runs(both.study)
    )


def test_an_evaluation_that_is_missing_or_of_another_file_is_told(tmp_path):
    study = make_study(models=MODELS)
    tree = Tree(study, tmp_path / "toy").everything()
    for label, benchmark in expansion.model_benchmarks(study)[1:]:
        tree.evaluate(label, benchmark)
    changed = make_study(models=[MODELS[0], {**MODELS[1], "mean": 0}])
    rows = collect(changed, tree.root).evaluation
    status = rows[rows["head"] == NONE].drop_duplicates(["run", "benchmark"])["status"].tolist()
    assert status == ["not run", "ok", "stale", "stale"]
    assert "other · pairs" in missing_table(collect(changed, tree.root)).csv
