"""What processes tell each other where one fails, ends or hangs; torch's stores carry it."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from frcore.errors import UserError
from frcore.training.lost import Alarm, LostError, Notes, OtherFailedError, is_of_another
from frcore.training.processes import _culprit

CLOSED = RuntimeError("[pair.cc:547] gloo: Connection closed by peer [127.0.0.1]:22690")
LATE = RuntimeError("gloo: Timed out waiting 6000ms for recv operation to complete")


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[Notes]:
    """Of three processes."""
    monkeypatch.setattr("frcore.training.lost.AFTER_SECONDS", 0.05)
    store = dist.HashStore()
    return [Notes(store, rank, 3, minutes=0.001) for rank in range(3)]


def test_the_others_are_told_why_one_failed(notes: list[Notes]):
    notes[2].failed(UserError("label 99 in row 3"))
    notes[0].failed(UserError("and something later"))
    told = notes[1].explained(CLOSED)
    assert isinstance(told, OtherFailedError)
    assert (str(told), told.exit_code) == (
        "process 2 of 3 (counted from 0) failed: label 99 in row 3", 2,
    )  # fmt: skip


def test_a_failure_that_is_no_users_has_the_exit_code_of_python(notes: list[Notes]):
    notes[0].failed(ZeroDivisionError("division by zero"))
    told = notes[1].explained(LATE)
    assert isinstance(told, OtherFailedError)
    assert told.exit_code == 1
    assert str(told).endswith("failed: ZeroDivisionError: division by zero")


def test_who_hangs_is_named_by_those_who_waited(notes: list[Notes]):
    notes[2].explained(CLOSED)
    told = notes[0].explained(LATE)
    assert isinstance(told, LostError)
    assert "process 1 of 3 (counted from 0) hangs" in str(told)
    assert "resumes from the last checkpoint" in str(told)


def test_a_process_that_is_gone_is_not_waited_for(notes: list[Notes]):
    assert "another process of this training ended" in str(notes[0].explained(CLOSED))


def test_who_never_starts_is_named(notes: list[Notes]):
    with pytest.raises(LostError, match=r"process 1, 2 of 3"):
        notes[0].wait_for_all()
    with pytest.raises(LostError, match=r"process 2 of 3 .* did not start within 0.001 minutes"):
        notes[1].wait_for_all()


@pytest.mark.parametrize(
    ("error", "is_other"),
    [(CLOSED, True), (LATE, True), (dist.DistNetworkError("reset"), True),
     (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False)],
)  # fmt: skip
def test_errors_of_other_processes_are_known(error: RuntimeError, is_other: bool):
    assert is_of_another(error) == is_other


@pytest.mark.parametrize(
    ("exits", "culprit"),
    [
        ([(75, 0), (-9, 0)], 1),  # both found ended at once: the killed one
        ([(75, 0), (2, 0)], 1),
        ([(75, 0), (-9, 30)], 0),  # torch killed a process that hung
        ([(75, 0), (143, 0)], 0),  # torch asked it to stop
        ([(143, 0), (143, 0)], 0),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_was_first(
    exits: list[tuple[int, int]], culprit: int
):
    failures = {
        rank: SimpleNamespace(exitcode=code, timestamp=at) for rank, (code, at) in enumerate(exits)
    }
    assert _culprit(failures)[0] == culprit  # type: ignore[arg-type]


def test_a_process_that_stands_still_shows_where(capfd: pytest.CaptureFixture[str]):
    alarm, told, deadline = Alarm("process 1 of 2", 0.05), "", time.monotonic() + 20
    while "test_a_process_that_stands_still" not in told and time.monotonic() < deadline:
        time.sleep(0.01)
        told += capfd.readouterr().err
    alarm.stop()
    assert "process 1 of 2 has finished no step for 0 s; it is here:" in told
    assert re.search(r"test_lost.py\", line \d+ in test_a_process_that_stands_still", told)
