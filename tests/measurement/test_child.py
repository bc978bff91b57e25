from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from frcore.errors import UserError
from frcore.measurement import process
from frcore.measurement.child import run_in_child


def what_is_loaded() -> dict[str, object]:
    import threading

    torch = sys.modules.get("torch")
    return {
        "pid": os.getpid(),
        "torch": torch is not None,
        "cuda": torch is not None and torch.cuda.is_initialized(),
        "threads": threading.active_count(),
    }


def refuse(what: str) -> None:
    raise UserError(f"{what} is not allowed")


def fail() -> None:
    raise KeyError("missing")


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(code: int) -> None:
    os._exit(code)


def sleep_with_pid_in(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)


@pytest.mark.slow
def test_children_of_the_forkserver_are_fresh_and_have_torch_loaded():
    first, second = (run_in_child(what_is_loaded, method="forkserver").value for _ in range(2))
    assert first["pid"] != second["pid"]
    assert first["torch"]
    assert not first["cuda"]


@pytest.mark.slow
def test_a_user_error_stays_one():
    outcome = run_in_child(refuse, "this", method="forkserver")
    assert outcome.user_error
    assert outcome.error == "this is not allowed"


def test_another_error_is_told_with_its_type():
    outcome = run_in_child(fail, method="forkserver")
    assert outcome.error == "KeyError: 'missing'"
    assert not outcome.user_error


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_killed_child_is_an_answer(name):
    outcome = run_in_child(die, signal.Signals[name].value, method="forkserver")
    assert name in outcome.error
    assert not outcome.out_of_memory


def test_a_kill_while_the_kernel_counts_one_for_memory_is_out_of_memory(monkeypatch):
    counts = iter([4, 5])
    monkeypatch.setattr(process, "oom_kills", lambda: next(counts))
    outcome = run_in_child(die, signal.SIGKILL.value, method="forkserver")
    assert outcome.out_of_memory


def test_an_exit_without_a_result_is_an_error():
    assert "exit code 3" in run_in_child(leave, 3, method="forkserver").error


@pytest.mark.parametrize("method", [pytest.param("forkserver", marks=pytest.mark.slow), "spawn"])
def test_a_child_does_not_outlive_a_killed_parent(method, tmp_path, repository):
    pid_file = tmp_path / "pid"
    code = (
        "from frcore.measurement.child import run_in_child\n"
        "from tests.measurement.test_child import sleep_with_pid_in\n"
        f"run_in_child(sleep_with_pid_in, {str(pid_file)!r}, method={method!r})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=repository)
    try:
        wait_for(lambda: pid_file.exists() and pid_file.read_text() != "", seconds=180)
    finally:
        parent.kill()
        parent.wait()
    child = int(pid_file.read_text())
    wait_for(lambda: not is_running(child), seconds=60)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
