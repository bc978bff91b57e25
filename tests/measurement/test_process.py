from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from frcore.measurement import process
from frcore.measurement.child import run_in_child
from frcore.measurement.process import PeakMemory

MIB = 1024**2
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def hold(mib: int, seconds: float = 0.0) -> None:
    block = np.ones(mib * MIB, dtype=np.uint8)
    time.sleep(seconds)
    assert block[-1] == 1


@pytest.mark.parametrize("sample", [False, True])
def test_the_peak_has_what_was_held_and_freed_again(sample):
    with PeakMemory(sample=sample) as peak:
        hold(64, seconds=0.05)
    extra = (peak.peak_bytes - peak.start_bytes) / MIB
    assert 60 < extra < 80
    assert peak.method == ("sampled" if sample or sys.platform != "linux" else "kernel")


@linux
def test_an_earlier_peak_is_forgotten():
    hold(96)
    with PeakMemory() as peak:
        hold(16)
    assert (peak.peak_bytes - peak.start_bytes) / MIB < 40


@linux
def test_where_the_peak_cannot_be_reset_it_is_sampled(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    with PeakMemory() as peak:
        hold(32, seconds=0.05)
    assert peak.method == "sampled"
    assert (peak.peak_bytes - peak.start_bytes) / MIB > 28


def beyond_the_limit(extra_mib: int, asked_mib: int) -> str:
    assert process.limit_data_to(extra_mib * MIB)
    try:
        hold(asked_mib)
    except MemoryError:
        return "refused"
    return "given"


@linux
@pytest.mark.parametrize(("asked", "answer"), [(50, "given"), (300, "refused")])
def test_the_limit_refuses_what_is_beyond_it(asked, answer):
    assert run_in_child(beyond_the_limit, 200, asked, method="forkserver").value == answer


def test_available_memory_is_that_of_the_machine_or_less():
    import psutil

    assert 0 < process.available_bytes() <= psutil.virtual_memory().total
