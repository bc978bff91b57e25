"""Jobs in several processes give what they give in one, and fail as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from frcore.errors import UserError
from frcore.machine import parallel

forks = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks on Linux only")


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("processes", [1, 2, 3, 20])
def test_results_by_key_in_order(processes):
    def slow(i):
        time.sleep(0.02 * (5 - i))  # the first job ends last
        return i * i

    found = parallel.compute({f"job {i}": partial(slow, i) for i in range(6)}, processes)
    assert list(found.items()) == [(f"job {i}", i * i) for i in range(6)]
    assert parallel.compute({}, processes) == {}


@forks
def test_jobs_see_what_is_in_memory_and_leave_it_alone():
    seen = [1]

    def job():
        seen.append(os.getpid())  # lost
        return len(seen), os.getpid()

    found = parallel.compute({0: job, 1: job}, 2).values()
    assert {length for length, _ in found} <= {2, 3}  # 3: one process had both jobs
    assert os.getpid() not in {who for _, who in found}
    assert seen == [1]


@pytest.mark.slow
@forks
def test_large_results_come_back_whole():
    found = parallel.compute({i: partial(bytes, 5_000_000 + i) for i in range(5)}, 2)
    assert [len(found[i]) for i in range(5)] == [5_000_000 + i for i in range(5)]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_a_job_is_raised_here(processes):
    def wrong():
        raise UserError("no such thing")

    with pytest.raises(UserError, match="no such thing"):
        parallel.compute({0: wrong, 1: lambda: 1}, processes)


@forks
def test_an_error_that_cannot_travel_is_told_in_words():
    class Local(Exception):  # noqa: N818
        pass

    def wrong():
        raise Local("the words")

    with pytest.raises(RuntimeError, match="the words"):
        parallel.compute({0: wrong, 1: lambda: 1}, 2)


@forks
def test_a_killed_process_is_an_error_and_leaves_no_others():
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    before = set(children(os.getpid()))  # other tests' helpers
    with pytest.raises(UserError, match=r"by SIGKILL.*memory.*--processes"):
        parallel.compute({0: killed, 1: partial(time.sleep, 60)}, 2)
    assert set(children(os.getpid())) <= before


@pytest.mark.fast_cases(1)
@forks
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nobody_is_left_when_the_parent_goes(how):
    """A job that is under way ends by itself; no worker waits for a parent that is gone."""
    code = (
        "import signal, time; from functools import partial; from frcore.machine import parallel\n"
        # Ignored in what a shell started with `&`, and pytest may be.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('started', flush=True)\n"
        "parallel.compute({i: partial(time.sleep, 1) for i in range(60)}, 3)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    deadline = time.monotonic() + 20
    while len(workers := children(parent.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 3
    parent.send_signal(how)
    parent.wait(20)
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    parent.stdout.close()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
