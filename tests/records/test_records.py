"""What a record refuses, what it lets pass, and that its file is what was given."""

import json
import math

import pytest
from pydantic import ValidationError

from frcore.records.base import MOST, first_problem
from frcore.records.diagnostics import CosineHistogram
from frcore.records.evaluation import EvaluationRecord, NumberRow
from frcore.records.measurement import MeasuredRow, MeasurementRecord
from frcore.records.metrics import EVENTS, EpochEvent, StepEvent
from frcore.records.run import ResultRecord

NUMBER = {"metric": "tar", "subset": "all", "value": 0.5}


def test_the_file_is_what_was_given(tmp_path):
    record = EvaluationRecord(run="a-s0", rows=[NumberRow(**NUMBER, n=3)], notes=["ü"])
    written = record.write(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == written
    assert EvaluationRecord.model_validate(written) == record
    assert list(written)[:3] == ["run", "spec_hash", "run_spec_hash"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("value", "0.5"), ("value", math.nan), ("value", math.inf), ("low", -1e300), ("n", 2.5),
     ("n", 2 * MOST), ("n", True), ("metric", None), ("note", 3)],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_with_its_place(field, value):
    with pytest.raises(ValidationError) as caught:
        EvaluationRecord.model_validate({"rows": [NUMBER, {**NUMBER, field: value}]})
    assert first_problem(caught.value).startswith(f"rows.1.{field}")


def test_what_other_versions_write_passes():
    assert NumberRow.model_validate({**NUMBER, "later": [1]}).se_test is None
    assert ResultRecord.model_validate({}).final_loss is None


@pytest.mark.parametrize("time", [None, 0.0, -1.0])
def test_a_measured_row_has_a_time(time):
    row = {"status": "ok", "identities": 10, "step_ms": time}
    with pytest.raises(ValidationError, match="needs a step time"):
        MeasurementRecord.model_validate({"rows": [row]})
    MeasurementRecord.model_validate({"rows": [{**row, "status": "oom"}]})
    assert MeasuredRow(identities=10).status == "ok"  # before it was measured


def test_a_histogram_has_a_count_per_bin():
    with pytest.raises(ValidationError, match="does not match the bin edges"):
        CosineHistogram(edges=[-1.0, 0.0, 1.0], pairs=[1], same_person=None)


def test_a_line_holds_what_was_given():
    assert StepEvent(step=3, loss=1.5).line() == {"event": "step", "step": 3, "loss": 1.5}
    epoch = EpochEvent(epoch=1, centers=None).line()
    assert epoch == {"event": "epoch", "epoch": 1, "centers": None}
    assert {kind: model.kind for kind, model in EVENTS.items()} == {
        "start": "start", "step": "step", "epoch": "epoch",
    }  # fmt: skip
