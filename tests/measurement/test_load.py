from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from frcore.measurement import load
from frcore.measurement.child import run_in_child
from frcore.measurement.load import HostLoad, HostWatch, cores


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def watched(seconds: float) -> tuple[float, float, float]:
    """Others' cores and percent waited by the watch, and seconds this process had no processor."""
    watch, own = HostWatch(), time.process_time()
    start = time.perf_counter()
    spin(seconds)
    found = watch.load(threads=1)
    without = time.perf_counter() - start - (time.process_time() - own)
    return found.others_cores, found.waited_percent, without


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_waiting_is_the_time_that_a_spinning_thread_had_no_processor():
    """The same by another way: a thread that never sleeps either runs or waits."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while 1: 1"]) for _ in range(2 * cores())]
    try:
        others, waited, without = run_in_child(watched, 1.0, method="forkserver").value
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    assert without > 0.1  # there was something to see
    assert waited == pytest.approx(100 * without, abs=10)
    assert others == pytest.approx(cores() - (1 - without), abs=0.35)


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
    assert found.others_cores == pytest.approx(max(0.0, busy - own) / 0.6, abs=0.1)


def test_processors_that_never_do_anything_are_not_told(monkeypatch):
    monkeypatch.setattr(load, "_busy_seconds", lambda: 0.0)
    watch = HostWatch()
    spin(0.05)
    assert watch.load(threads=1).others_cores is None


def test_a_system_without_schedstat_tells_no_waiting(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "TASKS", tmp_path)
    (tmp_path / "1").mkdir()
    assert HostWatch().load(threads=1).waited_percent is None
    (tmp_path / "1" / "schedstat").write_text("5 7000000000 1\n")
    assert load._waited_seconds() == 7


@pytest.mark.parametrize(
    ("found", "told"),
    [(HostLoad(0.24, 9.0), []), (HostLoad(None, None), []),
     (HostLoad(0.26, 1.0), ["other programs took 0.26 of 2 cores"]),
     (HostLoad(0.0, 12.4), ["waited 12 % of the time for a processor"])],
)  # fmt: skip
def test_what_disturbs(found, told, monkeypatch):
    monkeypatch.setattr(load, "cores", lambda: 2)
    assert found.disturbances() == told
