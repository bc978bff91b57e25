"""A step in several processes: what each measures, one row of it, and efficiency by hand."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
import torch
import torch.distributed as dist
from pydantic import ValidationError

from frcore.measurement import timing
from frcore.measurement.child import first_error, run_in_children
from frcore.measurement.load import HostWatch
from frcore.measurement.measure import measure
from frcore.measurement.ranks import joined
from frcore.measurement.scaling import efficiency, one_row
from frcore.measurement.steps import TrainingStep
from frcore.records.measurement import MeasuredRow, MeasurementRecord
from frcore.sharding import collectives
from tests.measurement.test_measure import make_spec


def row(processes=1, identities=1000, **known) -> MeasuredRow:
    return MeasuredRow(processes=processes, identities=identities, **known)


# --- the study ------------------------------------------------------------------------------------


def test_one_process_leaves_no_trace_in_a_spec():
    """The hash is of the version before there were several processes."""
    assert make_spec().hash == "e7904f57ceab"
    assert make_spec(processes=[1], scaling="strong").hash == "e7904f57ceab"
    assert make_spec(processes=[1, 2]).hash != "e7904f57ceab"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"processes": [2, 4]}, "begin with 1"),
        ({"processes": []}, "begin with 1"),
        ({"processes": [1, 4, 2]}, "growing"),
        ({"processes": [1, 2, 16], "batch_size": 8}, "each needs a row"),
        ({"scaling": "weak"}, "several numbers of processes"),
        ({"processes": [1, 2], "backbone": "tiny"}, "leave out backbone"),
    ],
)
def test_processes_that_cannot_be_compared_are_refused(changes, told):
    with pytest.raises(ValidationError, match=told):
        make_spec(**changes)


def test_weak_scaling_has_as_many_identities_for_each_process():
    given = make_spec(processes=[1, 4], scaling="weak").measurement
    assert [given.identities_of(1000, processes) for processes in (1, 4)] == [1000, 4000]
    given = make_spec(processes=[1, 4]).measurement
    assert given.identities_of(1000, 4) == 1000


# --- one row --------------------------------------------------------------------------------------


def test_efficiency_by_hand():
    alone = row(step_ms=12.0)
    # 4 processes take 4 ms for what they would ideally do in 3.
    assert efficiency(row(4, step_ms=4.0), alone) == pytest.approx(3 / 4)
    # 4 processes with four times the identities take 16 ms for what one does in 12.
    assert efficiency(row(4, 4000, step_ms=16.0), alone) == pytest.approx(12 / 16)
    assert efficiency(alone, alone) == pytest.approx(1)
    assert efficiency(row(4, status="oom"), alone) is None
    assert efficiency(row(4, step_ms=4.0), row(status="oom")) is None


def test_times_of_a_row_are_the_slowest_process_s_and_memory_is_that_of_the_largest():
    first = {"step_ms": 9.0, "step_ms_low": 8.5, "cpu_ms_per_step": 6.0, "rss_peak_mib": 300.0,
             "network_percent": 20.0, "others_cores": 0.1, "steady": True}  # fmt: skip
    second = {"step_ms": 10.0, "step_ms_low": 8.0, "cpu_ms_per_step": 7.0, "rss_peak_mib": 200.0,
              "network_percent": 30.0, "others_cores": 0.2, "steady": False,
              "disturbed": "waited; and waited"}  # fmt: skip
    both = one_row([row(2, rank=0, **first), row(2, rank=1, **second)])
    assert (both.step_ms, both.step_ms_low) == (10.0, 8.0)
    assert (both.rss_peak_mib, both.others_cores) == (300.0, 0.2)
    assert (both.cpu_ms_per_step, both.network_percent) == (13.0, 25.0)
    assert (both.steady, both.disturbed, both.rank) == (False, "waited; and waited", None)
    assert both.power_watts is None


def test_one_process_s_row_is_its_own():
    own = row(step_ms=9.0, steady=True, cpu_ms_per_step=4.0, disturbed="busy", notes="none")
    assert one_row([own]) == own


def test_the_share_of_collectives_by_hand(monkeypatch):
    """10 ms of work and a collective of 5 ms in each step, by a clock that only they move."""
    now = [100.0]

    def pass_by(seconds):
        now[0] += seconds

    monkeypatch.setattr(collectives.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(dist, "all_reduce", lambda *_: pass_by(0.005))
    group = object()

    def step():
        collectives.maximum(torch.ones(2), group)
        pass_by(0.010)

    assert timing.network_percent(step, 4, lambda: None) == pytest.approx(100 / 3)
    collectives.summed(torch.ones(2), group)  # and nobody's stopwatch runs on
    assert collectives._stopwatch is None


def test_work_of_the_other_processes_is_not_that_of_other_programs(monkeypatch):
    """Two processes of 3 s each keep two cores busy for 6 s within 4 s; 0.5 s is of others."""
    clock = {"wall": 0.0, "own": 0.0, "busy": 0.0}
    monkeypatch.setattr(time, "perf_counter", lambda: clock["wall"])
    monkeypatch.setattr(time, "process_time", lambda: clock["own"])
    times = type("Times", (tuple,), {"user": property(lambda self: self[0])})
    monkeypatch.setattr(psutil, "cpu_times", lambda: times((clock["busy"], 100.0 + clock["wall"])))
    watch = HostWatch()
    clock.update(wall=4.0, own=3.0, busy=6.5)
    assert watch.load(1, lambda own: own + 3.0)["others_cores"] == pytest.approx(0.5 / 4)


# --- processes ------------------------------------------------------------------------------------


def end_or_fail(rank: int, how: str) -> int:
    if rank == 0:
        time.sleep(0.5)
        raise RuntimeError("the other one is gone")
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("the cause")


@pytest.mark.slow
@pytest.mark.parametrize(("how", "told"), [("killed", "SIGKILL"), ("failed", "the cause")])
def test_the_first_error_is_the_cause(how, told):
    outcomes = run_in_children(end_or_fail, [(0, how), (1, how)], method="forkserver")
    assert len(outcomes) == 2
    assert told in first_error(outcomes).error


def states(spec_json: str, rank: int, size: int, store: str) -> list[float]:
    """Centres after five steps, and how many rows were here."""
    from pathlib import Path

    from frcore.study.expansion import MeasurementSpec

    spec = MeasurementSpec.model_validate_json(spec_json)
    torch.set_num_threads(1)
    with joined(rank, size, Path(store), "cpu") as ranks:
        step = TrainingStep(spec, 41, ranks=ranks)
        for _ in range(5):
            step()
        return [len(step.batches[0].label_N), *step.classifier.read_centers().flatten().tolist()]


@pytest.mark.slow
def test_the_steps_of_two_processes_move_the_centres_like_one_process_s(tmp_path):
    spec = make_spec("adacos", {"name": "broadface", "size": 24}, batch_size=7, dim=6)
    step = TrainingStep(spec, 41)
    for _ in range(5):
        step()
    store = str(tmp_path / "store")
    outcomes = run_in_children(
        states,
        [(spec.model_dump_json(), rank, 2, store) for rank in range(2)],
        method="forkserver",
    )
    assert [outcome.error for outcome in outcomes] == [None, None]
    rows = [outcome.value[0] for outcome in outcomes]
    assert sorted(rows) == [3, 4]
    expected = step.classifier.read_centers().flatten()
    for outcome in outcomes:
        torch.testing.assert_close(torch.tensor(outcome.value[1:]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_measurement_over_one_and_two_processes(tmp_path):
    spec = make_spec(identities=[60], processes=[1, 2], scaling="weak")
    record = MeasurementRecord.model_validate(measure(spec, tmp_path / "m.json"))
    alone, both = record.rows
    assert [(one.processes, one.identities, one.status) for one in record.rows] == [
        (1, 60, "ok"), (2, 120, "ok"),
    ]  # fmt: skip
    assert [(one.rank, one.identities) for one in record.ranks] == [(0, 120), (1, 120)]
    assert (alone.efficiency, alone.network_percent) == (pytest.approx(1), None)
    assert both.efficiency == pytest.approx(alone.step_ms / both.step_ms)
    assert both.step_ms == max(one.step_ms for one in record.ranks)
    assert all(0 < one.network_percent < 100 for one in record.ranks)
    assert len({one.warmup_steps for one in record.ranks}) == 1, "the same number of steps"
    assert "between 2 processes" in both.inside_timer
    assert "processes" not in alone.inside_timer


@pytest.mark.slow
def test_too_many_identities_for_two_processes_are_a_row_too(tmp_path):
    spec = make_spec(identities=[10**12, 40], processes=[1, 2])
    record = measure(spec, tmp_path / "m.json")
    assert [one["status"] for one in record["rows"]] == ["oom", "oom", "ok", "ok"]
    assert record["rows"][1]["rank"] is None
    assert record["rows"][1]["efficiency"] is None
