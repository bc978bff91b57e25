"""Measured rows found, compared with predictions that do not know them, and shown."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.planning import Workload, get_device, plan_step
from frcore.planning.measured import compare, efficiency, measured_rows

H200 = get_device("h200")
ROW = {
    "subject": "frcore", "backend": "triton", "head": "cosface", "state": "split", "rate": 1.0,
    "identities": 10**6, "batch_size": 1024, "dim": 512, "precision": "bf16", "status": "ok",
    "gpu_name": "NVIDIA H200", "step_ms": 10.0, "allocated_peak_mib": 3072.0,
}  # fmt: skip


def write(folder, *changes, name="nvidia-h200/steps-b1024-d512.csv"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([ROW | change for change in changes]).to_csv(path, index=False)
    return folder


def test_usable_rows_of_the_device_alone(tmp_path):
    write(
        tmp_path,
        {},
        {"status": "oom", "step_ms": None},
        {"gpu_name": "NVIDIA A100-SXM4-80GB"},
        {"gpu_name": None},
        {"state": "a format of tomorrow"},
        {"disturbed": "1 other process on the board"},
    )
    (row,) = measured_rows(tmp_path, H200)
    assert row.workload == Workload(10**6, state="split")
    assert (row.subject, row.head, row.step_ms, row.memory_gib) == ("triton", "cosface", 10.0, 3.0)
    assert measured_rows(tmp_path / "nowhere", H200) == []


def test_rows_of_a_study_count_with_the_full_softmax(tmp_path):
    study = {"subject": None, "rate": None, "state": None, "precision": None, "backend": "dense"}
    study |= {"step_ms": 100.0}
    write(tmp_path, study | {"sampler": "full"}, study | {"sampler": "partial_fc"},
          name="gpu/study/measurement.csv")  # fmt: skip
    (row,) = measured_rows(tmp_path, H200)
    assert (row.workload.backend, row.workload.precision, row.workload.rate) == (
        "dense",
        "fp32",
        1.0,
    )


@pytest.mark.parametrize(
    ("asked", "precision"), [(None, "bf16"), ("fp32", "fp32"), ("bf16", "bf16")]
)
def test_rows_of_a_study_say_format_and_precision(tmp_path, asked, precision):
    study = {"subject": None, "rate": None, "state": None, "precision": None, "sampler": "full"}
    study |= {"backend": "triton", "center_format": "split", "loss_precision": asked}
    write(tmp_path, study, name="gpu/study/measurement.csv")
    (row,) = measured_rows(tmp_path, H200)
    assert (row.workload.state, row.workload.precision) == ("split", precision)


def test_committed_reference_rows_are_read(repository):
    """Whatever is committed must not break the command."""
    for row in measured_rows(repository / "results/reference", H200):
        assert row.step_ms > 0


def test_a_row_is_predicted_from_the_others_of_its_kind(tmp_path):
    bound = plan_step(Workload(10**6, state="split"), H200).step_ms
    write(
        tmp_path,
        {"step_ms": 2 * bound},
        {"step_ms": 4 * bound, "head": "arcface"},
        {"step_ms": 8 * bound, "backend": "streamed", "head": "arcface"},
    )
    rows = measured_rows(tmp_path, H200)
    assert efficiency(rows[:2], H200) == pytest.approx((1 / 2 + 1 / 4) / 2)
    first, second, alone = compare(rows, H200)
    assert first.predicted_ms == pytest.approx(4 * bound)
    assert (first.error, second.error) == (pytest.approx(1.0), pytest.approx(-0.5))
    assert (alone.others, alone.predicted_ms) == (0, alone.bound_ms)
    assert alone.error == pytest.approx(1 / 8 - 1)
    assert alone.efficiency == pytest.approx(1 / 8)


def run(*arguments: str):
    return CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "80"})


def test_command_says_that_nothing_was_measured(tmp_path):
    result = run(
        "--identities", "30e6", "--gpus", "8", "--rate", "0.1", "--reference", str(tmp_path)
    )
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "No measured rows" in text
    assert "30,000,000 identities on 8 × h200" in text
    assert "the trainer keeps all classes on one GPU" in text
    assert max(map(len, result.output.splitlines())) <= 80


def test_command_shows_errors_of_prediction_against_every_row(tmp_path):
    bound = plan_step(Workload(10**6, state="split"), H200).step_ms
    write(tmp_path, {"step_ms": 2 * bound}, {"step_ms": 4 * bound, "head": "arcface"})
    options = ("--identities", "1e6", "--state", "split", "--reference", str(tmp_path))
    text = " ".join(run(*options).output.split())
    assert "+100 %" in text
    assert "-50 %" in text
    assert "2 measured row(s) of triton, bf16: 14.2 ms" in text  # 5.31 ms / 0.375
    assert "No measured rows" not in text
    record = json.loads(run(*options, "--json").output)
    assert record["fitted_ms"]["triton, bf16"]["total_ms"] == pytest.approx(bound / 0.375)
    assert [row["error"] for row in record["measured"]] == pytest.approx([1.0, -0.5])


def test_command_as_json(tmp_path):
    options = ("--identities", "1e6", "--state", "fp32_shadow", "--json", "--reference")
    record = json.loads(run(*options, str(tmp_path)).output)
    assert record["step_ms"] == pytest.approx(5.31, rel=0.001)
    assert record["is_lower_bound"] is True
    assert record["measured"] == []
    assert record["shape"]["precision"] == "bf16"
    dense = json.loads(run("--identities", "1e6", "--backend", "dense", "--json").output)
    assert dense["is_lower_bound"] is False
    assert dense["shape"]["precision"] == "fp32"


def test_heads_add_their_pass(tmp_path):
    def ms(head):
        output = run("--identities", "1e6", "--head", head, "--json", "--reference", str(tmp_path))
        return json.loads(output.output)["step_ms"]

    assert ms("adacos") == pytest.approx(1.25 * ms("curricularface"), rel=0.01)
