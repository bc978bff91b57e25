"""Measured rows found, compared with predictions that do not know them, and shown."""

from __future__ import annotations

import pandas as pd
import pytest

from frcore.planning import Device, Workload, get_device, plan_step
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


def test_what_was_computed_from_is_believed_more_than_what_was_asked_for(tmp_path):
    write(tmp_path, {"precision": "bf16", "operands": "fp32"})
    (row,) = measured_rows(tmp_path, H200)
    assert row.workload.precision == "fp32"


@pytest.mark.parametrize(
    ("subject", "backend"),
    [("dense", "dense"), ("naive", "dense"), ("insightface", "partial_fc_v2"), ("triton", "fused"),
     ("streamed", "fused"), ("liger", "fused")],
)  # fmt: skip
def test_what_a_subject_is_planned_as(tmp_path, subject, backend):
    write(tmp_path, {"subject": subject, "state": "split"})
    (row,) = measured_rows(tmp_path, H200)
    assert row.workload.backend == backend
    assert row.workload.state == ("split" if backend == "fused" else "fp32")


def test_rows_of_a_processor_are_found_by_its_name(tmp_path):
    """benchmarks/bench_loss.py writes no column for a GPU."""
    cpu = Device("cpu", ("A processor",), {"fp32": 1.0}, 1.0, 1.0, 1.0, "nothing")
    row = {"gpu_name": None, "cpu": "A processor", "backend": "dense", "precision": None}
    write(tmp_path, row | {"rss_extra_mib": 512.0}, name="cpu/bench_loss.csv")
    (found,) = measured_rows(tmp_path, cpu)
    assert (found.extra_gib, found.workload.precision) == (0.5, "fp32")
    assert measured_rows(tmp_path, H200) == []


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
