"""Where a number comes from."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess

import pytest

from frcore.provenance import environment as provenance
from frcore.provenance.environment import commit, environment, versions


def test_versions_are_the_installed_ones():
    found = versions()
    assert found["torch"] == importlib.metadata.version("torch")
    assert {"python", "frcore", "numpy"} <= set(found)


def test_environment_is_json():
    record = json.loads(json.dumps(environment(), allow_nan=False))
    assert record["device"] == "cpu"
    assert record["gpu"] is None
    assert record["cores"] >= 1
    assert record["cpu"]


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository of its own with a tiny package in it."""
    package = tmp_path / "frcore"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    monkeypatch.setattr(provenance, "PACKAGE", package)
    commit.cache_clear()
    yield package
    commit.cache_clear()


def test_commit_and_its_changes(checkout):
    assert commit() is None  # no commit yet
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "first")
    commit.cache_clear()
    clean = commit()
    assert len(clean) == 12
    (checkout / "__init__.py").write_text("x = 1\n")
    commit.cache_clear()
    assert commit() == clean + "+"


def test_an_installed_copy_inside_another_repository_has_no_commit(checkout):
    (checkout.parent / "other.txt").write_text("theirs")
    git(checkout.parent, "add", "other.txt")
    git(checkout.parent, "commit", "-qm", "theirs")
    assert commit() is None
