from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from frcore.measurement import load
from frcore.measurement.load import HostWatch, cores, host_disturbances


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def watched(seconds: float, spinners: list[int]) -> tuple[float, float, float, float]:
    """Others' cores and percent waited by the watch; the same by other ways.

    A thread that never sleeps has no processor for as long as it waits; the system counts each
    spinner's time by itself.
    """
    watch, own = HostWatch(), time.process_time()
    start, before = time.perf_counter(), seconds_of(spinners)
    spin(seconds)
    found = watch.load(threads=1)
    elapsed = time.perf_counter() - start
    without = elapsed - (time.process_time() - own)
    theirs = seconds_of(spinners) - before
    return found["others_cores"], found["waited_percent"], theirs / elapsed, 100 * without / elapsed


def seconds_of(pids: list[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_real_load_is_seen_for_what_it_is():
    many = 2 * len(os.sched_getaffinity(0))
    spinners = [subprocess.Popen([sys.executable, "-c", "while 1: 1"]) for _ in range(many)]
    pids = [spinner.pid for spinner in spinners]
    try:
        others, waited, theirs, without = watched(1.0, pids)
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    assert without > 10  # there was something to see
    assert waited == pytest.approx(without, abs=10)
    assert theirs - 0.2 < others < cores()  # there may be others than the spinners


@pytest.mark.slow
def test_own_work_is_not_others():
    """Every processor second that is this process's own is left out, in threads too."""
    watch = HostWatch()
    before = psutil.cpu_times()
    own = time.process_time()
    spin(0.6)
    after = psutil.cpu_times()
    own = time.process_time() - own
    busy = sum(getattr(after, n, 0.0) - getattr(before, n, 0.0) for n in load.BUSY)
    found = watch.load(threads=1)
    assert found["others_cores"] == pytest.approx(max(0.0, busy - own) / 0.6, abs=0.1)


def test_processors_that_never_do_anything_are_not_told(monkeypatch):
    monkeypatch.setattr(load, "_processor_seconds", lambda: (0.0, 0.0))
    watch = HostWatch()
    spin(0.05)
    assert watch.load(threads=1)["others_cores"] is None
    idle = HostWatch()
    monkeypatch.setattr(time, "process_time", lambda: idle._own)
    assert idle.load(threads=1)["others_cores"] is None


def test_a_system_without_schedstat_tells_no_waiting(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "TASKS", tmp_path)
    (tmp_path / "1").mkdir()
    assert HostWatch().load(threads=1)["waited_percent"] is None
    (tmp_path / "1" / "schedstat").write_text("0 0 0\n")  # a kernel that does not count
    assert HostWatch().load(threads=1)["waited_percent"] is None
    (tmp_path / "1" / "schedstat").write_text("5 7000000000 1\n")
    assert load._waited_seconds() == 7


@pytest.mark.parametrize(
    ("found", "told"),
    [((0.24, 9.0), []), ((None, None), []),
     ((0.26, 1.0), ["other programs took 0.26 of 2 cores"]),
     ((0.0, 12.4), ["waited 12 % of the time for a processor"])],
)  # fmt: skip
def test_what_disturbs(found, told, monkeypatch):
    monkeypatch.setattr(load, "cores", lambda: 2)
    assert host_disturbances(*found) == told
