"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from frcore.files import (
    atomic_directory,
    atomic_file,
    read_json,
    sha256_of_json,
    write_json,
    write_text,
)


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
