"""Where a number comes from."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess

import pytest

from frcore import provenance
from frcore.provenance import PACKAGE, code_fingerprint, commit, environment, versions


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that a test may edit; `edit` returns the fingerprint afterwards."""
    copy = tmp_path / "frcore"
    for part in ("heads", "loss"):
        shutil.copytree(PACKAGE / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PACKAGE / "centers.py", copy)
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    provenance._file_fingerprint.cache_clear()

    def edit(file, old, new):
        path = copy / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        provenance._file_fingerprint.cache_clear()
        return code_fingerprint(["heads", "centers"])

    yield edit
    provenance._file_fingerprint.cache_clear()


def test_comments_docstrings_and_layout_do_not_count(package):
    before = code_fingerprint(["heads", "centers"])
    assert (
        package("heads/cosface.py", '"""CosFace: an additive', '"""CosFace, an additive') == before
    )
    assert package("heads/cosface.py", '"""cos θ_y − m."""', '"""Otherwise."""') == before
    assert (
        package("heads/cosface.py", "return cosine_N", "# why\n\n        return cosine_N") == before
    )
    assert package("centers.py", "alpha=group", "alpha = group") == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("heads/cosface.py", "cosine_N - self.margin", "cosine_N + self.margin"),
        ("heads/cosface.py", "= 0.35", "= 0.4"),
        ("heads/arcface.py", '= "linear"', '= "cos"'),
        ("centers.py", 'alpha=group["lr"]', 'alpha=-group["lr"]'),
    ],
)
def test_a_formula_or_default_counts(package, file, old, new):
    before = code_fingerprint(["heads", "centers"])
    assert package(file, old, new) != before


def test_other_parts_do_not_count(package):
    before = code_fingerprint(["heads", "centers"])
    assert package("loss/dense.py", "rows = len(embedding_ND)", "rows = len(label_N)") == before


def test_a_new_file_and_a_renamed_one_count(package):
    before = code_fingerprint(["heads"])
    extra = provenance.PACKAGE / "heads" / "extra.py"
    extra.write_text("x = 1\n")
    with_extra = code_fingerprint(["heads"])
    extra.rename(extra.with_name("other.py"))
    assert len({before, with_extra, code_fingerprint(["heads"])}) == 3


def test_order_of_parts_does_not_count():
    assert code_fingerprint(["loss", "heads"]) == code_fingerprint(["heads", "loss"])
    assert code_fingerprint(["heads.arcface"]) != code_fingerprint(["heads.cosface"])
    assert len(code_fingerprint(["heads"])) == 12


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
