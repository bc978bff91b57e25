"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from frcore.files import (
    ABANDONED_SECONDS,
    atomic_directory,
    atomic_file,
    read_json,
    sha256_of_json,
    write_json,
    write_text,
)
from frcore.processes import Owner, this_host, this_process


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "table.parquet"
    with atomic_file(target) as temporary:
        temporary.write_bytes(b"new")
        assert not target.exists()
        assert temporary.suffix == ".parquet"
        assert temporary.parent == target.parent  # one file system, so that the rename is atomic
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["table.parquet"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(error), atomic_file(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_an_existing_file_is_replaced(tmp_path):
    write_text(tmp_path / "a.txt", "old and long")
    write_text(tmp_path / "a.txt", "θ")
    assert (tmp_path / "a.txt").read_bytes() == "θ".encode()


def test_a_folder_is_there_only_at_the_end(tmp_path):
    target = tmp_path / "deep" / "run"
    with atomic_directory(target) as temporary:
        (temporary / "x").write_text("1")
        assert not target.exists()
    assert names(target) == ["x"]
    assert names(target.parent) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_folder(tmp_path, error):
    target = tmp_path / "run"
    target.mkdir()
    (target / "x").write_text("old")
    with pytest.raises(error), atomic_directory(target) as temporary:  # noqa: PT012
        (temporary / "y").write_text("half")
        raise error
    assert names(tmp_path) == ["run"]
    assert names(target) == ["x"]


def test_an_older_folder_is_readable_until_replaced_and_then_gone(tmp_path):
    target = tmp_path / "run"
    target.mkdir()
    (target / "x").write_text("old")
    with atomic_directory(target) as temporary:
        (temporary / "y").write_text("new")
        assert (target / "x").read_text() == "old"
    assert names(tmp_path) == ["run"]
    assert names(target) == ["y"]


def test_a_folder_that_cannot_be_moved_in_puts_the_old_one_back(tmp_path):
    """The new folder is gone before its rename: the rename fails, after the old one moved aside."""
    target = tmp_path / "run"
    target.mkdir()
    (target / "x").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_directory(target) as temporary:
        temporary.rmdir()
    assert names(tmp_path) == ["run"]
    assert names(target) == ["x"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_permissions_are_those_of_an_ordinary_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        with atomic_directory(tmp_path / "d"):
            pass
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o777 & ~umask


def test_json_round_trip_and_refusal_of_nan(tmp_path):
    value = {"θ": [1, 2.5, None], "b": {"c": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "θ" in (tmp_path / "a.json").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert read_json(tmp_path / "a.json") == value
    assert names(tmp_path) == ["a.json"]


def test_hash_ignores_key_order_and_nothing_else():
    assert sha256_of_json({"a": 1, "b": [1, 2]}) == sha256_of_json({"b": [1, 2], "a": 1})
    different = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": None}, {"a": [1]}, {"b": 1}, [{"a": 1}]]
    assert len({sha256_of_json(value) for value in different}) == len(different)
    assert len(sha256_of_json({})) == 64


PRELUDE = """
import os, sys, time
from pathlib import Path
from frcore import files
place = Path(sys.argv[1])
"""


def started(code, place):
    """A process that runs `code` and says when it is ready."""
    command = [sys.executable, "-c", PRELUDE + code, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


WRITES = """
with files.atomic_directory(place) as folder, files.atomic_file(place.with_suffix(".csv")) as file:
    (folder / "half").mkdir()
    (folder / "half" / "x").write_text("x")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_goes_with_the_next_writer_and_not_before(tmp_path):
    place = tmp_path / "train"
    one, other = started(WRITES, place), started(WRITES, place)
    one.kill()  # not waited for: a process that has ended and is not reaped is dead as well
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert len(names(tmp_path)) == 4
    write_text(tmp_path / "another.txt", "x")
    left = names(tmp_path)
    assert left[-1] == "another.txt"
    assert len(left) == 3
    assert all(f"-{other.pid}-" in name for name in left[:2])  # it lives
    one.wait()
    other.send_signal(signal.SIGKILL)
    other.wait()
    with atomic_directory(place) as temporary:
        (temporary / "y").write_text("new")
    assert names(tmp_path) == ["another.txt", "train"]
    assert names(place) == ["y"]


def test_what_is_of_another_machine_goes_by_its_age(tmp_path):
    here = this_process()
    owners = {
        "of a process that had this number before": Owner(here.host, here.pid, here.started - 1),
        "of this process": here,
        "of another machine": Owner("0123abcd", here.pid, here.started),
        "of another machine, left alone": Owner("0123abcd", here.pid, here.started + 1),
    }
    made = {}
    for number, (what, owner) in enumerate(owners.items()):
        made[what] = tmp_path / ".data.frcore-{}-{}-{}-abcdefg{}".format(*owner, number)
        made[what].mkdir()
        (made[what] / "images.npy").write_text("x")
    long_ago = time.time() - ABANDONED_SECONDS - 60
    for path in (made["of another machine, left alone"], made["of another machine"],
                 made["of another machine, left alone"] / "images.npy"):  # fmt: skip
        os.utime(path, (long_ago, long_ago))
    (tmp_path / ".data-original").write_text("of somebody else, and no name of ours")
    write_text(tmp_path / "a.txt", "x")
    kept = ["of this process", "of another machine"]  # there a file of it has been written since
    assert names(tmp_path) == sorted([*(made[what].name for what in kept), ".data-original",
                                      "a.txt"])  # fmt: skip


DIES_BETWEEN = """
files._exchange = lambda one, other: False  # as on a file system that cannot
renames = []
def rename(self, target, original=Path.rename):
    renames.append(self)
    if len(renames) == 3:  # onto the old one, which fails; the old one aside; the new one in
        print("ready", flush=True)
        time.sleep(60)
    return original(self, target)
Path.rename = rename
with files.atomic_directory(place) as folder:
    (folder / "x").write_text("new")
"""


def test_a_kill_between_two_renames_loses_no_folder(tmp_path):
    """Where two folders cannot change places at once, there is a moment with none."""
    place = tmp_path / "train"
    place.mkdir()
    (place / "x").write_text("old")
    process = started(DIES_BETWEEN, place)
    assert not place.exists()
    write_text(tmp_path / "a.txt", "while it lives nothing of it is touched")
    assert not place.exists()
    process.kill()
    process.wait()
    write_text(tmp_path / "a.txt", "now")
    assert names(tmp_path) == ["a.txt", "train"]
    assert (place / "x").read_text() == "old"


AT_ONCE = """
number, swaps = sys.argv[2], sys.argv[3] == "exchange"
if not swaps:
    files._exchange = lambda one, other: False
print("ready", flush=True)
for turn in range(100):
    with files.atomic_directory(place) as folder, files.atomic_file(place.parent / "f") as file:
        for name in "abc":
            (folder / name).write_text(f"{number} {turn}")
        file.write_text(f"{number} {turn}")
"""


@pytest.mark.parametrize("how", ["exchange", "two renames"])
def test_writers_of_one_place_at_the_same_time_leave_one_whole_folder(tmp_path, how):
    place = tmp_path / "deep" / "train"
    command = [sys.executable, "-c", PRELUDE + AT_ONCE, str(place)]
    writers = [subprocess.Popen([*command, number, how]) for number in "123"]
    there, gaps = False, 0
    while any(writer.poll() is None for writer in writers):
        gaps += there and not place.is_dir()
        there = there or place.is_dir()
        time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert gaps == 0 or how != "exchange"
    assert len({(place / name).read_text() for name in "abc"}) == 1
    assert (place.parent / "f").read_text().endswith(" 99")
    assert names(place.parent) == ["f", "train"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk" / "train").mkdir(parents=True)
    (tmp_path / "disk" / "train" / "x").write_text("old")
    (tmp_path / "data").symlink_to(tmp_path / "disk" / "train")
    with atomic_directory(tmp_path / "data") as temporary:
        (temporary / "y").write_text("new")
        assert temporary.parent == tmp_path / "disk"
    assert (tmp_path / "data").is_symlink()
    assert names(tmp_path / "data") == ["y"]
    assert names(tmp_path / "disk") == ["train"]


def test_a_long_name_leaves_room_for_its_temporary_one(tmp_path):
    name = "ä" * 120 + ".json"  # 245 bytes of the 255 that a name may have
    write_text(tmp_path / name, "x")
    with atomic_directory(tmp_path / name[:-5]):
        pass
    assert names(tmp_path) == [name[:-5], name]


def test_processes_are_told_apart(tmp_path):
    me = this_process()
    assert me.is_here
    assert me.lives
    assert me.host == this_host()
    assert not Owner(me.host, me.pid, me.started + 1).lives
    assert not Owner("0123abcd", me.pid, me.started).is_here
