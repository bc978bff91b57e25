"""Reports made once and looked at by many tests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from frcore.reporting.report import report
from frcore.results.rows import Rows, collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.study.config import Study
from tests.reporting.tree import Tree, make_study

HOSTILE = "</script><script>alert(1)</script> 50% $x_1^2$ & \\input{/etc/passwd} =cmd|' /C calc'!A0"


@dataclass(frozen=True)
class Made:
    """A study's results, and the report of them where it is asked for: it takes seconds."""

    study: Study
    root: Path

    @cached_property
    def page(self) -> str:
        return report(self.study, self.root).read_text(encoding="utf-8")

    @property
    def reported(self) -> Path:
        """The root, with the report in it."""
        assert self.page
        return self.root

    @cached_property
    def rows(self) -> Rows:
        return collect(self.study, self.root)


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Everything ran: arcface is far better than softmax."""
    root = tmp_path_factory.mktemp("complete") / "toy"
    study = make_study()
    Tree(study, root, skill={"arcface": 0.5, "softmax": 0.05}).everything()
    return Made(study, root)


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One seed, hostile texts, and every way for a part to be missing."""
    root = tmp_path_factory.mktemp("broken") / "toy"
    study = make_study(title=HOSTILE, question=HOSTILE, seeds=[0])
    tree = Tree(study, root, notes=(HOSTILE,)).everything()
    tree.fail("tiny-arcface-full-s0", error=HOSTILE)
    run = root / "runs/tiny-softmax-full-s0/run.json"
    run.write_text(run.read_text().replace('"spec_hash": "', '"spec_hash": "old'))
    (root / "evaluation/tiny-softmax-partial_fc-s0/pairs.json").write_text("{broken")
    tree.measure("arcface-full", oom_at=10000)
    (root / "measurement/softmax-full.json").unlink()
    tree.json("runs/tiny-old-full-s0/run.json", {})
    tree.data(synthetic=False)
    return Made(study, root)


@pytest.fixture(scope="session")
def summary(complete: Made) -> Summary:
    return Summary(complete.study, complete.rows, Scores(complete.root, complete.rows))


@pytest.fixture(scope="session")
def broken_summary(broken: Made) -> Summary:
    return Summary(broken.study, broken.rows, Scores(broken.root, broken.rows))
