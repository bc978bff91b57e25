"""How commands end when they are asked to, and how one sees whether a process lives."""

from __future__ import annotations

import signal
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


GRACE = (
    "import signal, time\n"
    "from frcore.machine import lifetime\n"
    "from frcore.machine.lifetime import Grace, stopped_by_signals\n"
    "with stopped_by_signals(), Grace() as grace:\n"
)


def graceful(*lines: str) -> tuple[int, str]:
    code = GRACE + "".join(f"    {line}\n" for line in lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_block_of_grace_ends_where_it_can(name):
    code, told = graceful(
        f"signal.raise_signal(signal.{name})", "print(grace.asked)", "grace.end()", "print('on')"
    )
    number = signal.Signals[name].value
    assert (code, told) == (128 + number, f"{number}\n")


def test_a_request_that_no_step_saw_still_ends_the_command():
    lines = ("signal.raise_signal(signal.SIGTERM)", "print('last step')")
    assert graceful(*lines) == (143, "last step\n")


def test_the_same_request_comes_twice_and_a_second_one_stops_at_once():
    term = "signal.raise_signal(signal.SIGTERM)"
    assert graceful(term, term, "print('step')", "grace.end()") == (143, "step\n")
    later = "lifetime.time.monotonic = lambda: 1e9"
    assert graceful(term, later, term, "print('step')") == (143, "")
    twice = ["signal.raise_signal(signal.SIGINT)"] * 2
    assert graceful(*twice, "print('step')") == (130, "")


def test_after_grace_cleaning_up_is_not_cut_short():
    term = "signal.raise_signal(signal.SIGTERM)"
    lines = (term, "try: grace.end()", "finally:", f"    {term}", "    print('clean')")
    assert graceful(*lines) == (143, "clean\n")


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
