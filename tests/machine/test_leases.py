"""GPU leases, between real processes over made-up boards."""

from __future__ import annotations

import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pynvml
import pytest

from frcore.errors import UserError
from frcore.machine import leases as devices
from frcore.machine.leases import WHOLE_MACHINE, enumerate_gpus, lease_gpu
from tests.measurement.simulated import SimulatedBoard, SimulatedNvml

BOARDS = ["GPU-a", "GPU-b"]

HOLDER = """
import fcntl, os, sys
from pathlib import Path
from frcore.machine.leases import lease_gpu

if sys.argv[4:]:  # after the imports: another user may not be able to read this Python
    os.setgid(int(sys.argv[4]))
    os.setuid(int(sys.argv[4]))
folder, boards, exclusive = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3] == "exclusive"
with lease_gpu(exclusive=exclusive, gpus=lambda: boards, folder=folder) as uuid:
    print(uuid, os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.readline()
"""


class Holder:
    """Another process that holds a lease, or waits for one."""

    def __init__(
        self, folder: Path, boards=BOARDS, kind: str = "exclusive", user: int | None = None
    ):
        become = [] if user is None else [str(user)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), ",".join(boards), kind, *become],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def board(self) -> str:
        uuid, visible = self.process.stdout.readline().split()
        assert uuid == visible
        return uuid

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def hold(tmp_path):
    holders = []

    def start(**options) -> Holder:
        holders.append(Holder(tmp_path, **options))
        return holders[-1]

    yield start
    for holder in holders:
        if holder.process.poll() is None:
            holder.kill()


def take(tmp_path, **options):
    return lease_gpu(gpus=lambda: list(BOARDS), folder=tmp_path, **options)


@pytest.mark.slow
def test_two_processes_get_two_boards_and_a_killed_one_gives_its_board_back(hold, tmp_path):
    first, second = hold(), hold()
    held = [first.board(), second.board()]
    assert sorted(held) == BOARDS
    third = hold()
    time.sleep(2 * devices.POLL_SECONDS)
    assert third.process.poll() is None  # it waits
    second.kill()
    assert third.board() == held[1]


def test_waiting_is_said_with_who_holds_the_boards(hold, tmp_path, caplog, monkeypatch):
    holder = hold(boards=["GPU-a"])
    assert holder.board() == "GPU-a"
    monkeypatch.setattr(devices, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(devices.time, "sleep", lambda _: holder.kill() if caplog.text else None)
    with lease_gpu(gpus=lambda: ["GPU-a"], folder=tmp_path) as uuid:
        assert uuid == "GPU-a"
    assert f"GPU-a by process {holder.process.pid}" in caplog.text


@pytest.mark.slow
def test_shared_leases_share_a_board_that_an_exclusive_one_may_not_have(hold):
    one, two = (hold(boards=["GPU-a"], kind="shared") for _ in range(2))
    assert {one.board(), two.board()} == {"GPU-a"}
    assert hold(kind="exclusive").board() == "GPU-b"


@pytest.mark.parametrize("before", [None, "GPU-b,GPU-a"])
def test_the_environment_is_as_before_afterwards(before, tmp_path, monkeypatch):
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    with take(tmp_path) as uuid:
        assert os.environ["CUDA_VISIBLE_DEVICES"] == uuid == "GPU-a"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_a_lease_inside_a_lease_is_the_same(tmp_path):
    with take(tmp_path) as outer, take(tmp_path) as inner:
        assert inner == outer
    with take(tmp_path) as again:
        assert again == outer


def test_a_cpu_leases_nothing(tmp_path):
    with lease_gpu("cpu", gpus=lambda: pytest.fail("asked for GPUs"), folder=tmp_path) as uuid:
        assert uuid is None
    assert list(tmp_path.iterdir()) == []


def test_no_gpu_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"device 'cuda' .*device: cpu"), lease_gpu(gpus=list):
        pytest.fail("leased nothing")


def test_too_late_when_cuda_runs_already(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="before"), take(tmp_path):
        pytest.fail("leased too late")


def test_the_locks_are_for_all_users(tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_LEASES", str(tmp_path / "locks"))
    before = os.umask(0o077)
    try:
        with lease_gpu(gpus=lambda: BOARDS):
            pass
    finally:
        os.umask(before)
    folder = tmp_path / "locks"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "GPU-a.lock").stat().st_mode) == 0o666


def test_the_folder_is_the_machines_and_not_a_users(monkeypatch):
    monkeypatch.delenv("FRCORE_LEASES", raising=False)
    folder = devices.lock_folder()
    assert folder.is_dir()
    assert str(os.getuid()) not in folder.name


def test_another_workflows_tmpdir_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.delenv("FRCORE_LEASES", raising=False)
    before = devices.lock_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert Path(tempfile.gettempdir()) == tmp_path
    assert devices.lock_folder() == before


NOBODY = 65534


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_lease_of_one_user_binds_another():
    """Root makes and holds the lock, another user waits for it, gets it, and binds root with it."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)
        folder = Path(parent) / "locks"
        folder.mkdir()
        folder.chmod(0o1777)
        with lease_gpu(gpus=lambda: ["GPU-a"], folder=folder) as uuid:
            other = Holder(folder, ["GPU-a"], user=NOBODY)
            time.sleep(4 * devices.POLL_SECONDS)
            assert (uuid, other.process.poll()) == ("GPU-a", None)  # it waits
            assert not select.select([other.process.stdout], [], [], 0)[0]
        try:
            assert other.board() == "GPU-a"
            assert devices._try_lock(folder / "GPU-a.lock", exclusive=True) is None
        finally:
            other.kill()
        handle = devices._try_lock(folder / "GPU-a.lock", exclusive=True)
        assert handle is not None
        os.close(handle)


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "GPU-a.lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), take(tmp_path):
        pytest.fail("followed the link")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ["GPU-a", "GPU-b"]), ("1", ["GPU-b"]), ("GPU-b,GPU-a", ["GPU-b", "GPU-a"]), ("", [])],
)
def test_slurms_choice_is_respected(visible, expected, monkeypatch):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    boards = [SimulatedBoard(uuid=uuid) for uuid in BOARDS]
    assert enumerate_gpus(SimulatedNvml(*boards)) == expected


def test_boards_that_cannot_be_told_apart_are_leased_as_one(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    mixed = SimulatedNvml(SimulatedBoard(uuid="a", name="T4"), SimulatedBoard(uuid="b"))
    assert enumerate_gpus(mixed) == [WHOLE_MACHINE]
    with lease_gpu(gpus=lambda: [WHOLE_MACHINE], folder=tmp_path):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"  # nothing is narrowed by guessing


@pytest.mark.parametrize(("works", "expected"), [(True, [WHOLE_MACHINE]), (False, [])])
def test_without_nvml_torch_is_asked(works, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_cuda_works", lambda: works)
    library = SimulatedNvml(init_error=pynvml.NVMLError_LibraryNotFound)
    assert enumerate_gpus(library) == expected


@pytest.mark.slow
def test_cuda_is_asked_in_another_process():
    import torch

    assert devices._cuda_works() == torch.cuda.is_available()


REAL = """
from frcore.machine.leases import enumerate_gpus, lease_gpu
with lease_gpu() as uuid:
    import torch
    assert torch.cuda.device_count() == 1
    assert uuid.endswith(str(torch.cuda.get_device_properties(0).uuid)), uuid
    print(uuid)
"""


@pytest.mark.gpu
def test_a_real_lease_leaves_one_board_to_cuda():
    done = subprocess.run([sys.executable, "-c", REAL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("GPU-", "MIG-"))


# --- several processes of one launcher ------------------------------------------------------------

WORKERS = """
import os, subprocess, sys
command, count = [sys.executable, "-c", sys.argv[1], *sys.argv[3:]], sys.argv[2]
workers = [
    subprocess.Popen(command, text=True, stdin=subprocess.PIPE,
                     env=os.environ | {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": count})
    for rank in range(int(count))
]
sys.stdin.readline()
for worker in workers:
    worker.communicate("done")
sys.exit(max(worker.returncode for worker in workers))
"""


def launch(folder: Path, count: int, boards: list[str]) -> subprocess.Popen[str]:
    """A stand-in for torchrun: `count` processes, each holding a board until a line comes."""
    kind = "exclusive"
    return subprocess.Popen(
        [sys.executable, "-c", WORKERS, HOLDER, str(count), str(folder), ",".join(boards), kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return sorted(process.stdout.readline().split()[0] for _ in range(count))


@pytest.mark.slow
def test_processes_of_one_launcher_have_distinct_boards_and_others_wait(tmp_path):
    first = launch(tmp_path, 2, ["GPU-a", "GPU-b"])
    assert lines(first, 2) == ["GPU-a", "GPU-b"]
    second = launch(tmp_path, 2, ["GPU-a", "GPU-b"])
    assert not select.select([second.stdout], [], [], 1.0)[0]
    first.communicate("done\n")
    assert lines(second, 2) == ["GPU-a", "GPU-b"]
    second.communicate("done\n")
    assert first.returncode == second.returncode == 0
    assert not list(tmp_path.glob("launcher-*"))


@pytest.mark.slow
def test_launchers_that_start_together_never_wait_for_one_another(tmp_path):
    boards = ["GPU-a", "GPU-b", "GPU-c"]
    both = [launch(tmp_path, 2, boards) for _ in range(4)]
    for process in both:
        process.stdin.write("done\n")
        process.stdin.flush()
    for process in both:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert len({line.split()[0] for line in out.splitlines()}) == 2


@pytest.mark.slow
def test_more_processes_than_boards_are_refused(tmp_path):
    process = launch(tmp_path, 3, BOARDS)
    _, err = process.communicate("done\n", timeout=60)
    assert "3 processes on this machine but 2 GPU(s)" in err
