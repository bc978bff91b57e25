"""How commands end when they are asked to, and how one sees whether a process lives."""

from __future__ import annotations

import subprocess
import sys

import pytest

from frcore.machine.lifetime import signed


def test_an_ignored_signal_stays_ignored():
    """As under nohup, and for what a script starts with `&`."""
    code = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from frcore.machine.lifetime import stopped_by_signals\n"
        "with stopped_by_signals():\n"
        "    signal.raise_signal(signal.SIGHUP); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "on\n"


def test_cleaning_up_is_not_cut_short_by_the_same_request():
    """`timeout` and schedulers send SIGTERM to a process and to its group: it comes twice."""
    code = (
        "import signal\n"
        "from frcore.machine.lifetime import stopped_by_signals\n"
        "with stopped_by_signals():\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n"
        "    finally: signal.raise_signal(signal.SIGTERM); print('clean')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "clean\n", "")


def test_a_log_is_signed_by_its_process():
    code = "from frcore.machine.lifetime import sign_log; sign_log(); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert other.stderr is not None
    owner = signed(other.stderr.readline().strip())
    assert owner is not None
    assert owner.pid == other.pid
    assert owner.is_here
    assert owner.lives
    other.communicate("go on\n")
    assert not owner.lives


@pytest.mark.parametrize(
    "line",
    ["", "process", "process 1 on h", "process x on h (01234567, 5)", "process 1 on h (zz, 5)",
     "process 99999999999999 on h (01234567, 5)", "a process 1 on h (01234567, 5)"],
)  # fmt: skip
def test_other_lines_name_no_process(line):
    assert signed(line) is None
