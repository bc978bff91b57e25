"""The table of mutations stays in step with the package, and a mutation is really run."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.mutations import REPOSITORY, Mutation, mutated, mutations, remaining, tried

ALL = mutations()


@pytest.mark.fast_cases(17)
@pytest.mark.parametrize("file", sorted({mutation.file for mutation in ALL}))
def test_what_is_replaced_is_there_once_and_the_tests_exist(file):
    source = (REPOSITORY / file).read_text(encoding="utf-8")
    for mutation in ALL:
        if mutation.file == file:
            assert mutated(source, mutation) != source
            compile(mutated(source, mutation), file, "exec")
            paths = [part for part in shlex.split(mutation.tests) if part.startswith("tests/")]
            assert paths
            assert all((REPOSITORY / path).exists() for path in paths), mutation.tests


def test_every_room_that_computes_a_number_is_mutated():
    assert len(set(ALL)) == len(ALL) >= 60
    rooms = {Path(mutation.file).parts[1].removesuffix(".py") for mutation in ALL}
    assert rooms >= {"heads", "samplers", "loss", "centers", "optimizer", "classifier", "data",
                     "evaluation", "results", "comparison"}  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    (tmp_path / "frcore").mkdir()
    (tmp_path / "frcore/one.py").write_text("def one():\n    return 1\n")
    (tmp_path / "test_one.py").write_text(
        "import runpy\n\n\ndef test_one():\n"
        "    assert runpy.run_path('frcore/one.py')['one']() == 1\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n    grid\n    workflow\n")
    return tmp_path


@pytest.mark.slow
def test_a_mutation_is_killed_survives_or_proves_nothing(copy):
    wrong = Mutation("frcore/one.py", "return 1", "return 2", "test_one.py")
    outcome = tried(copy, wrong)
    assert (outcome.word, outcome.failed) == ("killed", "test_one.py::test_one")
    assert tried(copy, replace(wrong, new="return 1 + 0")).word == "SURVIVED"
    assert tried(copy, replace(wrong, tests="test_none.py")).word == "BROKEN"
    assert (copy / "frcore/one.py").read_text() == "def one():\n    return 1\n"
    with pytest.raises(ValueError, match="times; it must be once"):
        tried(copy, replace(wrong, old="n"))


def test_what_has_been_run_is_not_run_again(tmp_path):
    out = tmp_path / "out.jsonl"
    assert list(remaining(ALL, out)) == ALL
    out.write_text(json.dumps(asdict(ALL[0])) + "\n")
    assert list(remaining(ALL, out)) == ALL[1:]
