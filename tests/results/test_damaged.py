"""Result files that are cut, of another shape or of another version: the report names each."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from frcore.records.evaluation import EvaluationRecord
from frcore.records.measurement import MeasurementRecord
from frcore.records.run import FailureRecord
from frcore.reporting.report import report
from frcore.reporting.tables.all import all_tables
from frcore.results.reading import read, read_events
from frcore.results.rows import Rows, collect
from frcore.results.scores import Scores, load_scores
from frcore.results.summary import Summary
from tests.reporting.made import Made
from tests.reporting.page.test_page import Reader
from tests.reporting.tree import Tree, make_study

RUN = "tiny-arcface-full-s0"
EVALUATION = f"evaluation/{RUN}/pairs.json"
MEASUREMENT = "measurement/arcface-full.json"


@pytest.fixture
def copy(complete: Made, tmp_path) -> Path:
    root = tmp_path / "toy"
    shutil.copytree(complete.root, root)
    return root


def change(path: Path, *keys, value) -> None:
    """Put a value into a JSON file, at the place that the keys name."""
    whole = json.loads(path.read_text())
    inner = whole
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(whole))


def status(rows: Rows, table: str, name: str) -> tuple[str, str]:
    frame = getattr(rows, table)
    key = {"evaluation": "run", "training": "run", "measurement": "measurement"}[table]
    first = frame[(frame[key] == name) & (frame["status"] != "ok")].iloc[0]
    return first["status"], first["reason"]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("rows",), "no list", "rows"),
        (("rows", 0, "value"), "0.9", "rows.0.value"),
        (("rows", 0, "value"), float("nan"), "rows.0.value"),
        (("rows", 0, "low"), 1e300, "rows.0.low"),
        (("rows", 0, "n"), 10**30, "rows.0.n"),
        (("rows", 0), None, "rows.0"),
        (("environment",), [1], "environment"),
        (("notes",), "one", "notes"),
    ],
)
def test_an_evaluation_of_another_shape_is_unreadable(complete, copy, keys, value, said):
    change(copy / EVALUATION, *keys, value=value)
    found, reason = status(collect(complete.study, copy), "evaluation", RUN)
    assert found == "unreadable"
    assert said in reason
    assert "delete it and run again" in reason


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("keys", "value"),
    [(("rows", 0, "step_ms"), None), (("rows", 0, "step_ms"), -1.0), (("rows", 0), 3),
     (("rows", 0, "power_watts"), "much"), (("rows", 0, "temperature_celsius"), "hot"),
     (("rows", 0, "others_cores"), [1])],
)  # fmt: skip
def test_a_measurement_without_its_time_is_not_measured(complete, copy, keys, value):
    change(copy / MEASUREMENT, *keys, value=value)
    assert not read(copy / MEASUREMENT, MeasurementRecord).usable
    assert status(collect(complete.study, copy), "measurement", "arcface-full")[0] == "unreadable"


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "\x00", "[" * 100_000, '{"a": ' + "9" * 5000 + "}"]
)
def test_what_is_no_json_object_is_unreadable(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert read(path, EvaluationRecord).status == "unreadable"


def test_bytes_that_are_no_text_are_shown_as_escapes(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"error": "caf\udce9.png", "diagnosis": {"a": ["\ud83d\ude42"]}}))
    found = read(path, FailureRecord).record
    assert found == FailureRecord(error="caf[U+DCE9].png", diagnosis={"a": ["🙂"]})


def test_lines_that_are_no_events_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = ['{"event": "step", "step": 1, "loss": NaN}', "3", '{"event": "step"}',
             '{"event": "epoch", "epoch": 1, "target_histogram": "x"}', '{"event": "end"}',
             '{"event": "st']  # fmt: skip
    path.write_text("\n".join(lines))
    assert [event["event"] for event in read_events(path)] == ["step", "end"]


def test_damaged_scores_are_missing_scores(tmp_path):
    whole = {"scores": np.ones(50, np.float32), "same": np.arange(50) % 2 == 0,
             "identity_a": np.arange(50), "identity_b": np.arange(50)}  # fmt: skip
    path, rng = tmp_path / "a.npz", np.random.default_rng(0)
    np.savez(path, **whole)
    assert load_scores(path) is not None
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        arrays = load_scores(path)
        assert arrays is None or arrays["scores"].shape == arrays["same"].shape
    np.savez(path, **{**whole, "same": np.ones(49)})
    assert load_scores(path) is None


def test_the_arrays_that_runs_share_are_held_once(tmp_path):
    known: dict = {}
    shared = {"same": np.arange(50) % 2 == 0, "identity_a": np.arange(50),
              "identity_b": np.arange(50)}  # fmt: skip
    loaded = []
    for run in range(2):
        np.savez(tmp_path / f"{run}.npz", scores=np.full(50, run, np.float32), **shared)
        loaded.append(load_scores(tmp_path / f"{run}.npz", known))
    other = {**shared, "same": np.arange(50) % 2 == 1}
    np.savez(tmp_path / "2.npz", scores=np.ones(50, np.float32), **other)
    loaded.append(load_scores(tmp_path / "2.npz", known))
    assert loaded[0]["same"] is loaded[1]["same"]
    assert not np.array_equal(loaded[0]["scores"], loaded[1]["scores"])
    np.testing.assert_array_equal(loaded[2]["same"], other["same"])


@pytest.mark.slow
def test_every_kind_of_absence_is_named_with_its_reason(tmp_path):
    """The study half failed; nothing stale or damaged may look measured."""
    study = make_study(heads=["arcface", "softmax", "cosface"], measurement={
        "identities": [100, 1000], "batch_size": 16})  # fmt: skip
    root = tmp_path / "toy"
    tree = Tree(study, root, pairs=80).everything()
    tree.fail("tiny-arcface-full-s0", "loss is NaN at step 7")
    tree.fail("tiny-arcface-full-s1", "CUDA out of memory: asked for 9 GiB")
    tree.fail("tiny-arcface-partial_fc-s0", "label 9 >= num_classes 8 in train.rec record 17")
    change(root / "runs/tiny-arcface-partial_fc-s1/run.json", "spec_hash", value="0" * 12)
    (root / "runs/tiny-softmax-full-s0/result.json").unlink()
    result = root / "runs/tiny-softmax-full-s1/result.json"
    result.write_text(result.read_text()[:40])
    shutil.rmtree(root / "runs/tiny-softmax-partial_fc-s0")
    (root / "evaluation/tiny-softmax-partial_fc-s1/pairs.json").unlink()
    change(root / "evaluation/tiny-cosface-full-s0/pairs.json", "run_spec_hash", value="0" * 12)
    (root / "evaluation/tiny-cosface-full-s1/pairs.npz").write_bytes(b"PK\x03\x04 cut")
    change(root / "measurement/arcface-full.json", "rows", 1, "status", value="failed")
    change(root / "measurement/arcface-full.json", "rows", 1, "error", value="the driver died")
    change(root / "measurement/softmax-full.json", "spec_hash", value="0" * 12)

    page = Reader(report(study, root).read_text(encoding="utf-8"))
    text = " ".join(page.text.split())
    for reason in ("loss is NaN at step 7", "asked for 9 GiB", "record 17", "stale",
                   "training started and has not finished", "result.json cannot be read",
                   "not run", "the driver died", "not prepared"):  # fmt: skip
        assert reason in text, reason

    rows = collect(study, root)
    summary = Summary(study, rows, Scores(root, rows))
    missing = all_tables(summary)["missing"].data
    assert len(missing[missing["what"] == "training"]) == 7
    assert {"failed", "stale", "unfinished", "unreadable", "not run"} <= set(missing["status"])
    assert "5 of 12 training runs" in text
    assert "3 failed" in text
    # What has no usable run has no number, in any table.
    values = rows.evaluation.groupby("run")["value"].count()
    for run in ("arcface-full-s0", "arcface-full-s1", "arcface-partial_fc-s1", "softmax-full-s1"):
        assert values[f"tiny-{run}"] == 0
    stale = rows.measurement[rows.measurement["measurement"] == "softmax-full"]
    assert stale["step_ms"].isna().all()
