"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from frcore.errors import UserError
from frcore.files import (
    FolderKind,
    atomic_directory,
    atomic_file,
    read_json,
    refuse_other_file,
    refuse_overlap,
    sha256_of_json,
    write_json,
    write_text,
)
from frcore.machine.leftovers import ABANDONED_SECONDS
from frcore.machine.processes import Owner, this_host, this_process

ANY = FolderKind("any folder", None, ("*",))


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
    with atomic_directory(target, ANY) as temporary:
        (temporary / "x").write_text("1")
        assert not target.exists()
    assert names(target) == ["x"]
    assert names(target.parent) == ["run"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_folder(tmp_path, error):
    target = tmp_path / "run"
    target.mkdir()
    (target / "x").write_text("old")
    with pytest.raises(error), atomic_directory(target, ANY) as temporary:  # noqa: PT012
        (temporary / "y").write_text("half")
        raise error
    assert names(tmp_path) == ["run"]
    assert names(target) == ["x"]


def test_an_older_folder_is_readable_until_replaced_and_then_gone(tmp_path):
    target = tmp_path / "run"
    target.mkdir()
    (target / "x").write_text("old")
    with atomic_directory(target, ANY) as temporary:
        (temporary / "y").write_text("new")
        assert (target / "x").read_text() == "old"
    assert names(tmp_path) == ["run"]
    assert names(target) == ["y"]


def test_a_folder_that_cannot_be_moved_in_puts_the_old_one_back(tmp_path):
    """The new folder is gone before its rename: the rename fails, after the old one moved aside."""
    target = tmp_path / "run"
    target.mkdir()
    (target / "x").write_text("old")
    with pytest.raises(FileNotFoundError), atomic_directory(target, ANY) as temporary:
        temporary.rmdir()
    assert names(tmp_path) == ["run"]
    assert names(target) == ["x"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002])
def test_permissions_are_those_of_an_ordinary_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        with atomic_directory(tmp_path / "d", ANY):
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
from frcore.errors import UserError
place, any_folder = Path(sys.argv[1]), files.FolderKind("any folder", None, ("*",))
"""


def started(code, place):
    """A process that runs `code` and says when it is ready."""
    command = [sys.executable, "-c", PRELUDE + code, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


WRITES = """
table = place.with_suffix(".csv")
with files.atomic_directory(place, any_folder) as folder, files.atomic_file(table) as file:
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
    with atomic_directory(place, ANY) as temporary:
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
with files.atomic_directory(place, any_folder) as folder:
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
abc = files.FolderKind("a folder of letters", "a", ("a", "b", "c"))
number, swaps = sys.argv[2], sys.argv[3] == "exchange"
if not swaps:
    files._exchange = lambda one, other: False
print("ready", flush=True)
other = place.parent / "f"
for turn in range(100):
    with files.atomic_directory(place, abc) as folder, files.atomic_file(other) as file:
        for name in "abc":
            (folder / name).write_text(f"{number} {turn}")
        file.write_text(f"{number} {turn}")
"""


@pytest.mark.slow
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
    with atomic_directory(tmp_path / "data", ANY) as temporary:
        (temporary / "y").write_text("new")
        assert temporary.parent == tmp_path / "disk"
    assert (tmp_path / "data").is_symlink()
    assert names(tmp_path / "data") == ["y"]
    assert names(tmp_path / "disk") == ["train"]


def test_a_long_name_leaves_room_for_its_temporary_one(tmp_path):
    name = "ä" * 120 + ".json"  # 245 bytes of the 255 that a name may have
    write_text(tmp_path / name, "x")
    with atomic_directory(tmp_path / name[:-5], ANY):
        pass
    assert names(tmp_path) == [name[:-5], name]


def test_processes_are_told_apart(tmp_path):
    me = this_process()
    assert me.is_here
    assert me.lives
    assert me.host == this_host()
    assert not Owner(me.host, me.pid, me.started + 1).lives
    assert not Owner("0123abcd", me.pid, me.started).is_here


NOTES = FolderKind("a folder of notes", "notes.json", ("notes.json", "*.txt", "deep/*.txt"))
LISTED = FolderKind("a listed folder", "list.json")


def write(folder, kind):
    with atomic_directory(folder, kind) as temporary:
        (temporary / "deep").mkdir()
        for name in ("a.txt", "b.txt", "deep/c.txt"):
            (temporary / name).write_text("x")
        if kind is NOTES:
            write_json(temporary / "notes.json", {})


@pytest.mark.parametrize("kind", [NOTES, LISTED])
def test_a_folder_of_the_kind_is_replaced_and_no_other(tmp_path, kind):
    place = tmp_path / "out"
    place.mkdir()
    write(place, kind)  # an empty folder
    write(place, kind)  # its own
    (place / ".DS_Store").write_text("of the system")
    write(place, kind)
    (place / "deep" / "thesis.tex").write_text("years")
    before = names(place), names(place / "deep")
    with pytest.raises(UserError, match=r"out contains deep/thesis\.tex, which would be deleted"):
        write(place, kind)
    assert (names(place), names(place / "deep")) == before
    assert names(tmp_path) == ["out"]
    (place / "deep" / "thesis.tex").unlink()
    write(place, kind)
    (place / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"out contains link"):
        write(place, kind)


@pytest.mark.parametrize("kind", [NOTES, LISTED])
def test_what_is_of_nobody_is_not_replaced(tmp_path, kind):
    photos = tmp_path / "photos"
    for name in ("a.txt", "1/x.jpg", "2/y.jpg", "3/z.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_text("x")
    with pytest.raises(UserError, match=r"photos contains 1, 2, 3 and 1 more.*give another"):
        write(photos, kind)
    with pytest.raises(UserError, match=r"a\.txt is not a folder, as a .* must be"):
        write(photos / "a.txt", kind)
    assert names(photos) == ["1", "2", "3", "a.txt"]


def test_a_folder_lists_what_was_written_in_it(tmp_path):
    place = tmp_path / "out"
    write(place, LISTED)
    (place / "a.txt").rename(place / "A.txt")
    with pytest.raises(UserError, match=r"out contains A\.txt"):
        write(place, LISTED)
    (place / "A.txt").unlink()  # what is missing is no loss
    write(place, LISTED)
    (place / "list.json").write_text("[]")
    with pytest.raises(UserError, match=r"out contains a\.txt, b\.txt, deep/c\.txt and 1 more"):
        write(place, LISTED)


def test_what_arrives_while_the_new_folder_is_made_is_kept(tmp_path):
    place = tmp_path / "out"
    write(place, NOTES)
    with pytest.raises(UserError, match=r"thesis\.tex"), atomic_directory(place, NOTES):
        (place / "thesis.tex").write_text("years")
    assert names(place) == ["a.txt", "b.txt", "deep", "notes.json", "thesis.tex"]
    assert names(tmp_path) == ["out"]


def test_a_file_is_replaced_by_its_like_alone(tmp_path):
    path = tmp_path / "a.json"
    refuse_other_file(path, '"spec_hash"', "a result")
    path.touch()
    refuse_other_file(path, '"spec_hash"', "a result")
    path.write_text('{"spec_hash": 1}')
    refuse_other_file(path, '"spec_hash"', "a result")
    path.write_text("my notes")
    for place, mark in ((path, '"spec_hash"'), (path, None), (tmp_path, '"spec_hash"')):
        with pytest.raises(UserError, match="is not a result, so it is not overwritten"):
            refuse_other_file(place, mark, "a result")


def test_an_output_is_apart_from_what_it_is_made_of(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "link").symlink_to(source)
    refuse_overlap(tmp_path / "out", [source])
    refuse_overlap(tmp_path / "source2", [source])
    for out in (source, tmp_path, tmp_path / "link", source / "out", tmp_path / "link" / "out",
                source / ".." / "source"):  # fmt: skip
        with pytest.raises(UserError, match="give a separate folder"):
            refuse_overlap(out, [tmp_path / "elsewhere", source])
    refuse_overlap(source / "out", [source], inside=False)
    with pytest.raises(UserError, match="give a separate folder"):
        refuse_overlap(source, [source], inside=False)
