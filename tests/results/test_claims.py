"""Claims: which numbers a verdict rests on, and that it is right as often as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from frcore.records.claims import ClaimRow
from frcore.results.claim_numbers import student
from frcore.results.claims import claim_rows, contrasts
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Summary
from frcore.results.verdicts import Measured, takes, verdict
from frcore.study.claims import Test
from frcore.study.config import Study
from tests.reporting.made import Made
from tests.reporting.tree import make_study

PARTS = {"backbones": ("tiny",), "heads": ("a", "b", "c"), "samplers": ("full", "half")}


def claimed(test: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    given = {"says": "It is so.", "source": "A paper, Table 1"}
    return {**given, **more, **({} if test is None else {"test": test})}


def rows_of(made: Made, **tests: dict[str, Any]) -> dict[str, ClaimRow]:
    claims = {name: claimed(test) for name, test in tests.items()}
    study = Study.model_validate({**made.study.model_dump(mode="json"), "claims": claims})
    rows = collect(study, made.root)
    found = claim_rows(Summary(study, rows, Scores(made.root, rows)))
    return {row.claim: row for row in found}


def test_verdicts_of_a_study(complete):
    tar = "templates.tar.0.1"
    sides = {"on": "pairs.accuracy", "than": ["softmax"]}
    rows = rows_of(
        complete,
        better={**sides, "better": ["arcface"]},
        lower={**sides, "lower": ["arcface"]},
        same={**sides, "same": ["arcface"], "within": 1},
        tied={"on": "pairs.accuracy", "same": ["arcface"], "than": ["arcface"], "within": 50}
        | {"same": ["arcface-full"], "than": ["arcface-partial_fc"]},
        trend={"on": tar, "doses": ["softmax", "arcface"], "expect": "increases"},
        scale={"on": {"training": "scale"}, "of": ["arcface"], "near": 64, "within": 0.5},
        unknown={"on": "pairs.tar.0.5", "higher": ["arcface"], "than": ["softmax"]},
    )
    assert {name: row.verdict for name, row in rows.items()} == {
        "better": "reproduced", "lower": "not reproduced", "same": "not reproduced",
        "tied": "reproduced", "trend": "reproduced", "scale": "reproduced",
        "unknown": "cannot be told",
    }  # fmt: skip
    assert rows["better"].seeds == 2
    assert rows["better"].people
    assert rows["better"].level == pytest.approx(1 - 0.05 / 7)
    assert "templates.tar.0.01" in rows["unknown"].why
