"""Which changes of files are changes of what a study reads, for every kind of source."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pydantic
import pytest

from frcore.data import signatures
from frcore.data.signatures import sign
from frcore.data.source import SOURCES as KINDS
from frcore.data.source import open_source
from frcore.errors import UserError
from frcore.models.files import sign_model
from frcore.study.data import Benchmark, TrainData
from frcore.study.models import Model
from tests.data.sources import SOURCES, Source, moved

SECTION = pydantic.TypeAdapter(TrainData | Benchmark | Model)


@pytest.fixture(params=SOURCES)
def source(request, tmp_path) -> tuple[Path, Source]:
    return tmp_path / "data", SOURCES[request.param](tmp_path / "data")


def signature(section: dict[str, Any], by: str = "content") -> str:
    found = SECTION.validate_python(section)
    return str(sign(found, by) if found.kind in KINDS else sign_model(found, "lfw", by))


def or_refused(section: dict[str, Any]) -> str:
    """The signature, or that the study is impossible now."""
    try:
        return signature(section)
    except UserError as error:
        return str(error)


def change_a_byte(path: Path) -> None:
    """One bit of the last byte; size and times stay."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_every_kind_is_tried(tmp_path):
    made = {make(tmp_path / name).section["kind"] for name, make in SOURCES.items()}
    drawn = {kind for kind in KINDS if kind.startswith("synthetic")}
    # A checkpoint is one file, as a TorchScript archive.
    assert made == set(KINDS) - drawn | {"onnx", "torchscript", "embeddings"}


@pytest.mark.fast_cases(4)
def test_a_changed_byte_of_any_file_that_is_read_is_noticed(source):
    root, found = source
    seen = {signature(found.section)}
    for name in found.read:
        change_a_byte(root / name)
        seen.add(or_refused(found.section))
        change_a_byte(root / name)
    assert len(seen) == 1 + len(found.read)


@pytest.mark.fast_cases(4)
def test_another_name_of_any_file_that_is_read_is_noticed(source):
    root, found = source
    before = signature(found.section)
    for name in found.read:
        path = root / name
        other = path.with_name(f"x{path.name}")
        path.rename(other)
        assert or_refused(found.section) != before, name
        other.rename(path)
    assert signature(found.section) == before


@pytest.mark.fast_cases(4)
def test_a_file_more_or_less_is_noticed(source):
    root, found = source
    before = signature(found.section)
    for name in found.read:
        content = (root / name).read_bytes()
        (root / name).unlink()
        assert or_refused(found.section) != before, name
        (root / name).write_bytes(content)
    if found.added:
        (root / found.added).parent.mkdir(exist_ok=True)
        (root / found.added).write_bytes(b"more")
        assert signature(found.section) != before


@pytest.mark.fast_cases(4)
def test_other_files_touching_and_moving_are_no_change(source):
    root, found = source
    before, by_stat = signature(found.section), signature(found.section, "stat")
    for name in found.unread:
        (root / name).write_bytes(b"something else")
    assert (signature(found.section), signature(found.section, "stat")) == (before, by_stat)

    place = root.parent / "elsewhere" / "renamed"
    place.parent.mkdir()
    root.rename(place)
    there = moved(found.section, root, place)
    assert (signature(there), signature(there, "stat")) == (before, by_stat)

    for name in found.read:
        (place / name).touch()
    assert signature(there) == before
    assert signature(there, "stat") != by_stat


@pytest.mark.fast_cases(7)
def test_a_copy_is_no_change_by_content(source):
    root, found = source
    before = signature(found.section)
    shutil.copytree(root, root.parent / "copy", copy_function=shutil.copyfile)
    assert signature(moved(found.section, root, root.parent / "copy")) == before


@pytest.mark.fast_cases(5)
def test_by_stat_a_byte_counts_by_its_time_of_change(source):
    root, found = source
    path = root / found.read[-1]
    before = signature(found.section, "stat")
    change_a_byte(path)
    assert signature(found.section, "stat") == before, "what docs/data.md says that stat misses"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert signature(found.section, "stat") != before


@pytest.mark.fast_cases(6)
def test_what_a_section_names_is_looked_for_by_its_key(source):
    root, found = source
    if "label" in found.section:
        return
    section = SECTION.validate_python(found.section)
    assert all(path.exists() for _, path in open_source(section).needed())
    shutil.rmtree(root)
    assert not any(path.exists() for _, path in open_source(section).needed())


def test_auto_goes_by_size(tmp_path, monkeypatch):
    found = SOURCES["folder"](tmp_path / "data")
    assert signature(found.section, "auto") == signature(found.section, "content")
    monkeypatch.setattr(signatures, "CONTENT_FILES", 8 + 3)  # images and folders
    assert signature(found.section, "auto") == signature(found.section, "content")
    monkeypatch.setattr(signatures, "CONTENT_FILES", 8 + 2)
    assert signature(found.section, "auto") == signature(found.section, "stat")
    monkeypatch.setattr(signatures, "CONTENT_FILES", 100)
    monkeypatch.setattr(signatures, "CONTENT_BYTES", 100)
    assert signature(found.section, "auto") == signature(found.section, "stat")


def test_a_folder_without_pictures_and_a_file_beside_the_people_are_told_by_name(tmp_path):
    found = SOURCES["folder"](tmp_path / "data")
    before = signature(found.section)
    (tmp_path / "data/Eve").mkdir()
    empty = signature(found.section)
    (tmp_path / "data/notes.txt").write_text("1")
    stray = signature(found.section)
    assert len({before, empty, stray}) == 3
    (tmp_path / "data/notes.txt").write_text("2")
    assert signature(found.section) == stray


def test_hashes_are_remembered_until_a_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    found = SOURCES["folder"](tmp_path / "data")
    old = 10**18
    for name in found.read:
        os.utime(tmp_path / "data" / name, ns=(old, old))
    monkeypatch.setattr(signatures, "_SETTLED_NS", -(10**12))  # also what was written just now
    before = signature(found.section)
    asked: list[str] = []
    digest = signatures.sha256_of_file
    monkeypatch.setattr(
        signatures, "sha256_of_file", lambda path: asked.append(path) or digest(path)
    )
    assert signature(found.section) == before
    assert asked == []
    change_a_byte(tmp_path / "data" / found.read[0])
    assert signature(found.section) != before
    assert [Path(path).name for path in asked] == [Path(found.read[0]).name]
    (remembered,) = (tmp_path / ".snakemake/frcore/hashes").iterdir()
    for damage in ("", "[]", "{}", '{"a": 1}'):
        remembered.write_text(damage)
        assert signature(found.section) == signature(found.section, "auto")


def test_what_was_written_just_now_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    found = SOURCES["folder"](tmp_path / "data")
    signature(found.section)
    remembered = tmp_path / ".snakemake/frcore/hashes"
    assert not any(json.loads(path.read_text()) for path in remembered.glob("*"))


def test_files_that_are_gone_are_named(tmp_path):
    found = SOURCES["image_list"](tmp_path / "data")
    for name in found.read[1:3]:
        (tmp_path / "data" / name).unlink()
    with pytest.raises(UserError, match=r"(?s)2 files cannot be read:.*Ada_0001.jpg: No such file"):
        signature(found.section)
