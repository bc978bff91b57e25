"""The stubs of a new head: they run at once, under the contract tests too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.new_head import write_stubs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "data", "reporting")
    for part in ("frcore", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.slow
def test_stubs_pass_the_contract_tests(checkout: Path):
    shutil.copytree(ROOT / "frcore/data", checkout / "frcore/data")
    write_stubs("my_face", checkout)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "my_face", "-p", "no:cacheprovider",
         "tests/heads/test_contract.py", "tests/heads/test_my_face.py"],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def test_nothing_is_overwritten_and_names_are_names(checkout: Path):
    before = (checkout / "frcore/heads/cosface.py").read_text()
    with pytest.raises(SystemExit, match="exists already"):
        write_stubs("cosface", checkout)
    assert (checkout / "frcore/heads/cosface.py").read_text() == before
    for name in ("My_Face", "../x", "class", ""):
        with pytest.raises(SystemExit, match="allowed is a name"):
            write_stubs(name, checkout)


def test_stubs_are_formatted(checkout: Path):
    written = write_stubs("my_face", checkout)
    changed = [
        *written,
        checkout / "frcore/heads/__init__.py",
        checkout / "tests/slow_heads/__init__.py",
    ]
    for command in (["format", "--check"], ["check"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *changed], cwd=checkout, check=True)
