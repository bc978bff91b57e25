"""What the system refuses is told as such, and never taken for damage of a file."""

from __future__ import annotations

import errno
import faulthandler
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from frcore.data.contents import EncodedFiles
from frcore.data.pixels.images import read_image
from frcore.data.prepared.writing import PREPARED
from frcore.data.synthetic.rendering import over_cores
from frcore.errors import UserError
from frcore.files import atomic_directory, atomic_file, write_json
from frcore.machine.faults import RefusedError, is_out_of_memory, raise_refusal, refusal, reserve
from frcore.machine.parallel import compute
from frcore.records.run import ResultRecord
from frcore.results.reading import read, read_events
from frcore.results.scores import load_scores
from frcore.training.checkpoint import read_checkpoint
from tests.tiny_study import write_study


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        (errno.EDQUOT, ["your quota", "delete"]),
        (errno.EFBIG, ["larger than", "raise the limit"]),
        (errno.EROFS, ["mounted read-only", "choose a folder"]),
        (errno.EACCES, ["permission denied", "chmod"]),
        (errno.EMFILE, ["too many open files (the limit is", "ulimit -n"]),
        (errno.EIO, ["the disk, or the network behind it, fails", "dmesg"]),
        (errno.ENAMETOOLONG, ["file name too long", "another path"]),
    ],
)
def test_each_error_of_the_system_has_three_parts(code, parts):
    told = refusal(OSError(code, os.strerror(code), "/data/x.npy"))
    assert str(told).startswith("/data/x.npy: ")
    for part in parts:
        assert part in str(told)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 7.45 GiB for an array"),
        OSError(errno.ENOMEM, "Cannot allocate memory", "images.npy"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 8000000000 bytes. Error code 12"),
        RuntimeError("can't start new thread"),
        ImportError("cv2.abi3.so: failed to map segment from shared object"),
        OSError("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7.45 GiB. GPU 0 has"),
    ],
)  # fmt: skip
def test_want_of_memory_is_told_whoever_says_so(error):
    assert is_out_of_memory(error)
    told = str(refusal(error))
    assert "memory" in told
    assert "prepare" not in told
    if "allocate" in str(error) and "Cannot" not in str(error):
        assert re.search(r"when 7\.[45] GiB more were requested", told)
    assert ("nvidia-smi" in told) == isinstance(error, torch.OutOfMemoryError)


def test_other_errors_are_no_refusal():
    for error in (ValueError("x"), RuntimeError("size mismatch"), UserError("x"), KeyError("x"),
                  FileNotFoundError(errno.ENOENT, "No such file", "x")):  # fmt: skip
        assert refusal(error) is None


def raised_from(error: Exception) -> Exception:
    """A mistake of the user's, wrongly blamed for `error`."""
    try:
        raise UserError("x.npy cannot be read; run `frcore prepare` again") from error
    except UserError as mistaken:
        return mistaken


def test_a_remedy_that_is_none_gives_way_to_the_reason():
    no_memory = OSError(errno.ENOMEM, "Cannot allocate memory")
    assert "memory ran out" in str(refusal(raised_from(no_memory)))
    # What is wrong with a path is better said by who knows what was wanted of it.
    assert refusal(raised_from(IsADirectoryError(errno.EISDIR, "Is a directory", "x"))) is None
    assert refusal(raised_from(ValueError("damaged"))) is None


# --- a full disk ---------------------------------------------------------------------------------


def test_what_is_written_whole_tells_where_there_is_no_room(small_disk):
    small_disk.leave(0)
    target = small_disk.work / "a.json"
    with pytest.raises(RefusedError, match=r"a\.json: no space left on the file system at") as told:
        write_json(target, {"a": 1})
    assert f"at {small_disk.folder} (0 bytes of 16.0 MiB are free)" in str(told.value)
    assert ".a-" not in str(told.value), "the file that the user knows"
    # numpy says how many items it wrote, and not why it wrote no more.
    small_disk.leave(4096)
    full = pytest.raises(RefusedError, match="no space left")
    with full, atomic_directory(target, PREPARED) as folder:
        np.save(folder / "x.npy", np.ones(100_000))
    with pytest.raises(RefusedError, match="no space left"), atomic_file(target) as file:
        np.ones(100_000).tofile(file)
    assert small_disk.names() == set()


def test_a_file_is_given_its_room_or_refused_before_anything_is_written(small_disk):
    path = small_disk.work / "x.npy"
    shape = (1000, 64, 64, 3)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    assert path.stat().st_blocks * 512 < 10_000, "a file of holes"
    reserve(path, path.stat().st_size)
    assert path.stat().st_blocks * 512 >= array.nbytes
    small_disk.leave(0)
    array[:] = 1  # ended this process before
    with pytest.raises(RefusedError, match=r"12\.0 MiB are needed, 0 bytes of 16\.0 MiB are free"):
        reserve_new(small_disk.work / "y", 12 * 2**20)


def reserve_new(path: Path, size: int) -> None:
    path.touch()
    reserve(path, size)


def test_no_inode_is_left(small_disk):
    small_disk.remount("nr_inodes=8")
    for number in range(20):
        try:
            write_json(small_disk.work / f"{number}.json", 1)
        except OSError as error:
            told = str(refusal(error))
            break
    assert "can hold no more files (all its 8 inodes are in use)" in told


@pytest.mark.slow
def test_a_log_on_a_full_disk_changes_no_exit_code():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "frcore.cli", "heads", "arcfase"]
        assert subprocess.run(command, stderr=full, check=False).returncode == 2
        command = [sys.executable, "-m", "frcore.cli", "heads", "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "no space left for the output of this command" in done.stderr


# --- open files, and what is passed over ---------------------------------------------------------


@pytest.fixture
def no_open_file() -> Iterator[None]:
    """Nothing more can be opened, as in a process with too many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A folder of files that nothing is wrong with."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    torch.save({"key": "k", "epoch": 1}, tmp_path / "checkpoint.pt")
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    np.savez(tmp_path / "x.npz", scores=np.zeros(1))
    return tmp_path


@pytest.fixture
def files(whole: Path) -> EncodedFiles:
    """The picture, to be read in place; what reads it has imported all that it needs."""
    files = EncodedFiles(whole, ["a.png"])
    files.encoded(0)
    return files


def test_a_file_that_could_not_be_opened_is_not_taken_for_damaged(whole, files, no_open_file):
    """Nor left out of the data, nor its epochs trained again."""
    for opening in (
        lambda: read_image(whole / "a.png"),
        lambda: files.encoded(0),
        lambda: read_checkpoint(whole / "checkpoint.pt", "k"),
        lambda: read(whole / "result.json", ResultRecord),
        lambda: read_events(whole / "metrics.jsonl"),
        lambda: load_scores(whole / "x.npz"),
    ):
        with pytest.raises(RefusedError, match="too many open files"):
            opening()


def test_what_is_not_refused_goes_on():
    raise_refusal(ValueError("damaged"))
    raise_refusal(IsADirectoryError(errno.EISDIR, "Is a directory", "x"))


# --- memory --------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
from pathlib import Path
import frcore.training.train
from frcore.cli import main
used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, resource.RLIM_INFINITY))
main()
"""


@pytest.mark.slow
def test_a_limit_on_memory_is_told_as_that(tmp_path):
    study = write_study(tmp_path, samplers=["full"])
    command = [sys.executable, "-m", "frcore.cli", "prepare", "--study", str(study)]
    subprocess.run(command, cwd=tmp_path, check=True)
    command = [sys.executable, "-c", LIMITED, "train", "--run", "tiny-arcface-full-s0",
               "--study", str(study)]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "memory" in done.stderr
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert "prepare" not in done.stderr


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told():
    with pytest.raises(UserError, match=r"ended from outside.*lack of memory"):
        over_cores(os._exit, [(1,), (1,)], 2, 2)

    def die() -> None:
        faulthandler.disable()  # pytest's would fill the page
        os.kill(os.getpid(), signal.SIGBUS)

    jobs = {"a": die, "b": die}
    with pytest.raises(UserError, match="by SIGBUS; the usual cause is a full or failing disk"):
        compute(jobs, 2)


def test_what_a_fork_was_refused_arrives():
    def full() -> None:
        raise raised_from(OSError(errno.ENOMEM, "Cannot allocate memory"))

    with pytest.raises(RefusedError, match="memory ran out"):
        compute({"a": full, "b": full}, 2)
