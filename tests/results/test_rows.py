import csv
import json

import pandas as pd
import pytest

from frcore.evaluation.false_accepts import MIN_FALSE_ACCEPTS
from frcore.results.rows import collect, csv_text, why_few
from frcore.study import expansion
from tests.reporting.made import HOSTILE, Made
from tests.reporting.tree import Tree, make_study


def test_one_row_per_number_run_and_measured_point(complete: Made):
    rows = complete.rows
    # 8 runs × (1 accuracy + 3 FARs); 8 runs; 4 measurements × 3 numbers of identities.
    assert (len(rows.evaluation), len(rows.training), len(rows.measurement)) == (32, 8, 12)
    assert not rows.strays


def test_numbers_are_those_of_the_files(complete: Made):
    for _, row in complete.rows.evaluation.iterrows():
        path = complete.root / "evaluation" / row["run"] / f"{row['benchmark']}.json"
        record = json.loads(path.read_text())
        [same] = [
            number
            for number in record["rows"]
            if number["metric"] == row["metric"]
            and (number["far"] == row["far"] or (number["far"] is None and pd.isna(row["far"])))
        ]
        for key in ("value", "threshold", "n", "impostors", "false_accepts"):
            assert (pd.isna(row[key]) and same[key] is None) or row[key] == same[key]
        # An earlier version's interval on two false accepts is not taken over.
        few = same["false_accepts"] is not None and same["false_accepts"] < MIN_FALSE_ACCEPTS
        for key in ("low", "high"):
            assert pd.isna(row[key]) if few or same[key] is None else row[key] == same[key]


def test_rows_carry_their_provenance(complete: Made):
    row = complete.rows.training.iloc[0]
    assert row["spec_hash"] == expansion.runs(complete.study)[row["run"]].hash
    assert row["commit"] == "0123456789ab"
    assert row["data_sha256"] == "d" * 64
    assert row["version_torch"] == "2.9.0"
    assert row["device"] == "cpu"
    assert {"gpu_name", "gpu_driver", "gpu_power_limit_watts"} <= set(row.index)


def test_a_gpu_and_its_power_limit_are_columns(tmp_path):
    study = make_study(seeds=[0], heads=["arcface"], samplers=["full"])
    tree = Tree(study, tmp_path).everything()
    path = tree.root / "measurement/arcface-full.json"
    record = json.loads(path.read_text())
    record["environment"]["gpu"] = {"name": "H200", "power_limit_watts": 700.0, "mig": False}
    path.write_text(json.dumps(record))
    row = collect(study, tmp_path).measurement.iloc[0]
    assert (row["gpu_name"], row["gpu_power_limit_watts"]) == ("H200", 700.0)


def test_the_state_of_a_run_is_that_of_its_last_epoch(tmp_path):
    study = make_study(seeds=[0], heads=["arcface"], samplers=["full"])
    tree = Tree(study, tmp_path, epochs=(0, 1, 2)).everything()
    [path] = tree.root.glob("runs/*/metrics.jsonl")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        if event["event"] == "epoch":
            event["scale"] = 10.0 + event["epoch"]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert collect(study, tmp_path).training["scale"].tolist() == [12.0]


def test_a_mean_over_galleries_has_as_few_false_accepts_as_its_smallest():
    number = {"run": "a", "benchmark": "ijb", "metric": "tpir", "subset": "all", "far": None,
              "fpir": 0.01, "value": 0.5}  # fmt: skip
    rows = pd.DataFrame([{**number, "impostors": count} for count in (500, 5000, None)])
    assert all("5 false accepts of 500" in why for why in why_few(rows))
    assert not why_few(rows[1:2]).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluation", "training", "measurement"])
def test_files_hold_the_rows(complete: Made, name: str):
    frame = getattr(complete.rows, name)
    folder = complete.reported / "rows"
    pd.testing.assert_frame_equal(pd.read_parquet(folder / f"{name}.parquet"), frame)
    text = pd.read_csv(folder / f"{name}.csv")
    assert list(text.columns) == list(frame.columns)
    assert len(text) == len(frame)


def test_missing_parts_are_rows_with_a_reason(broken: Made):
    training = broken.rows.training.set_index("run")
    assert training.loc["tiny-arcface-full-s0", "status"] == "failed"
    assert training.loc["tiny-arcface-full-s0", "reason"] == f"{HOSTILE} | lower the rate"
    assert training.loc["tiny-softmax-full-s0", "status"] == "stale"
    assert "stale" in training.loc["tiny-softmax-full-s0", "reason"]
    evaluation = broken.rows.evaluation.set_index(["run", "benchmark"])
    unreadable = evaluation.loc[[("tiny-softmax-partial_fc-s0", "pairs")]].iloc[0]
    assert unreadable["status"] == "unreadable"
    failed = evaluation.loc[[("tiny-arcface-full-s0", "pairs")]].iloc[0]
    assert (failed["status"], pd.isna(failed["value"])) == ("failed", True)
    assert broken.rows.strays == ("runs/tiny-old-full-s0",)


def test_memory_that_ran_out_is_a_row(broken: Made):
    points = broken.rows.measurement.set_index(["measurement", "identities"])
    assert points.loc[("arcface-full", 10000), "status"] == "oom"
    assert points.loc[("arcface-full", 1000), "status"] == "ok"
    assert points.loc[("softmax-full", 100), "status"] == "not run"


def test_nothing_there_at_all(tmp_path):
    study = make_study()
    rows = collect(study, tmp_path / "absent")
    assert set(rows.training["status"]) == {"not run"}
    assert len(rows.evaluation) == 16  # 8 runs × 2 benchmarks
    assert len(rows.measurement) == 12


def test_a_run_that_was_interrupted_is_unfinished(tmp_path):
    study = make_study()
    Tree(study, tmp_path).run("tiny-arcface-full-s0")
    (tmp_path / "runs/tiny-arcface-full-s0/result.json").unlink()
    training = collect(study, tmp_path).training.set_index("run")
    assert training.loc["tiny-arcface-full-s0", "status"] == "unfinished"


@pytest.mark.parametrize("key", ["spec_hash", "run_spec_hash"])
def test_an_evaluation_of_another_version_is_stale(tmp_path, key):
    study = make_study()
    Tree(study, tmp_path).everything()
    path = tmp_path / "evaluation/tiny-arcface-full-s0/pairs.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: "0" * 12}))
    rows = collect(study, tmp_path).evaluation
    stale = rows[rows["status"] == "stale"]
    assert list(stale["run"]) == ["tiny-arcface-full-s0"]
    assert list(stale["benchmark"]) == ["pairs"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_text_in_csv_is_no_formula_and_numbers_keep_their_sign(start):
    frame = pd.DataFrame({f"{start}heading": [f"{start}cmd|' /C calc'!A0", "plain"], "x": [-1, 2]})
    [heading, first, second] = csv.reader(csv_text(frame).splitlines(keepends=True))
    assert heading[0][0] == "'"
    assert first == [f"'{start}cmd|' /C calc'!A0", "-1"]
    assert second == ["plain", "2"]


@pytest.mark.slow
def test_hostile_texts_reach_csv_as_text(broken: Made):
    for path in (broken.reported / "rows").glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert not [cell for cell in cells if cell[:1] in "=+@" and cell[:1]]
