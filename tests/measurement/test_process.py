from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from frcore.measurement import process
from frcore.measurement.child import run_in_child
from frcore.measurement.process import peak_memory

MIB = 1024**2
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def hold(mib: int, seconds: float = 0.0) -> None:
    block = np.ones(mib * MIB, dtype=np.uint8)
    time.sleep(seconds)
    assert block[-1] == 1


def peak_of(mib: int, sample: bool | None, before: int = 0) -> tuple[float, str]:
    """Extra peak in MiB and its method; `sample` None: the kernel's counter cannot be reset."""
    if sample is None:
        process.CLEAR_REFS = process.CLEAR_REFS / "missing"
    if before:
        hold(before)
    with peak_memory(sample=bool(sample)) as peak:
        hold(mib, seconds=0.05)
    return (peak.peak_bytes - peak.start_bytes) / MIB, peak.method


def fresh_peak_of(*arguments: object) -> tuple[float, str]:
    """`peak_of` in a process of its own: a long session's memory is given back meanwhile."""
    return run_in_child(peak_of, *arguments, method="forkserver").value


@pytest.mark.parametrize("sample", [False, True])
def test_the_peak_has_what_was_held_and_freed_again(sample):
    extra, method = fresh_peak_of(64, sample)
    assert 60 < extra < 80
    assert method == ("sampled" if sample or sys.platform != "linux" else "kernel")


@pytest.mark.slow
@linux
def test_an_earlier_peak_is_forgotten():
    assert fresh_peak_of(16, False, 96)[0] < 40


@linux
def test_where_the_peak_cannot_be_reset_it_is_sampled():
    extra, method = fresh_peak_of(32, None)
    assert method == "sampled"
    assert extra > 28


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
