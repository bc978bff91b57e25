"""How commands end when they are asked to, and how one sees whether a process lives."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil
import pytest

from frcore.lifetime import Process


def test_an_ignored_signal_stays_ignored():
    """As under nohup, and for what a script starts with `&`."""
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from frcore.lifetime import stopped_by_signals\n"
        "with stopped_by_signals():\n"
        "    signal.raise_signal(signal.SIGHUP); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "on\n"


def test_cleaning_up_is_not_cut_short_by_the_same_request():
    """`timeout` and schedulers send SIGTERM to a process and to its group: it comes twice."""
    code = (
        "import signal\n"
        "from frcore.lifetime import stopped_by_signals\n"
        "with stopped_by_signals():\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n"
        "    finally: signal.raise_signal(signal.SIGTERM); print('clean')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "clean\n", "")


def test_a_process_is_known_by_host_number_and_start():
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    own = psutil.Process(sleeper.pid)
    here = Process.here()
    there = Process(here.host, sleeper.pid, own.create_time())
    assert Process.named_in(str(there)).is_alive() is True
    assert Process(here.host, sleeper.pid, own.create_time() - 60).is_alive() is False
    assert Process("elsewhere", sleeper.pid, own.create_time()).is_alive() is None
    sleeper.kill()
    while own.is_running() and own.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert there.is_alive() is False  # dead, though nobody has asked for its exit code yet
    sleeper.wait()
    assert there.is_alive() is False


@pytest.mark.parametrize(
    "line",
    ["", "process", "process 1 on", "process x on h, started at 1.00", json.dumps({"pid": 1}),
     "process 99999999999999 on h, started at 1.00", "process 1 on h, started at 1e9"],
)  # fmt: skip
def test_other_lines_name_no_process(line):
    assert Process.named_in(line) is None
