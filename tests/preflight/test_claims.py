"""Mistakes in claims and scales are told before any job."""

from __future__ import annotations

from typing import Any

import pytest

from frcore.errors import UserError
from frcore.preflight.load import load_study
from tests.tiny_study import TINY, write_study

TEST: dict[str, Any] = {"number": "pairs.accuracy", "better": ["arcface"], "than": ["adacos"]}
CLAIM: dict[str, Any] = {"says": "It is so.", "source": "A paper", "test": TEST}


def asking(**changes: Any) -> dict[str, Any]:
    given = {key: value for key, value in {**TEST, **changes}.items() if value is not None}
    return {"claims": {"one": {**CLAIM, "test": given}}}


def claimed(**changes: Any) -> dict[str, Any]:
    return {"claims": {"one": {**CLAIM, **changes}}}


def row(**asked: str) -> dict[str, Any]:
    return claimed(published=[asked])


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "method": (asking(better=["arcfase"]), "did you mean 'arcface'?"),
    "pair of labels": (asking(better=["arcface-ful"]), "did you mean 'arcface-full'?"),
    "restricted away": (asking(heads=["adacos"]), "better: 'arcface' is not among"),
    "both sides": (asking(than=["arcface-full"]), "tiny-arcface-full is on both sides"),
    "sampler": (asking(samplers=["fall"]), "samplers: unknown sampler 'fall'; did you mean 'full'"),
    "benchmark": (asking(number="pears.accuracy"), "'pears'; did you mean 'pairs'?"),
    "metric": (asking(number="pairs.accurate"), "did you mean 'accuracy'?"),
    "few false accepts": (asking(number="pairs.tar.0.01"), "it takes at least 100 impostor pairs"),
    "epoch": (asking(number={"training": "scale", "epoch": 9}, better=None, higher=["arcface"]),
              "epoch 9 given, but the training has 1"),
    "not measured": (asking(number={"measured": "step_ms", "identities": 60}), "allowed: 50"),
    "two numbers": (asking(number={"metric": "a.b", "training": "scale"}), "about one number"),
    "no side": (asking(better=None), "a contrast needs `than` and one of"),
    "two forms": (asking(doses=["full", "partial_fc"]), "than and doses given"),
    "no expectation": (
        asking(better=None, than=None, doses=["full", "partial_fc"]),
        "`expect` and `doses` belong",
    ),
    "within": (asking(within=1), "`within` says how much is no difference"),
    "better angle": (asking(number={"training": "target_angle"}), "write `higher` or `lower`"),
    "factor": (asking(number={"measured": "step_ms", "identities": 50}, smallest=0.5),
               "give a factor above 1"),
    "memory": (asking(number={"measured": "memory", "identities": 50}), "say with `smallest`"),
    "neither": (claimed(test=None), "either `test` or `needs`"),
    "unseen figure": (row(paper="AdaCos", table="Table 4 (IJB-C)"), "no row has 'Table 4 (IJB-C)'"),
    "column": (row(papre="AdaCos"), "unknown column 'papre'; did you mean 'paper'?"),
    "scale": ({"scales": {"lab": {"epochs": 3}}}, "scales.lab: unknown key 'epochs'"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(tmp_path, name):
    changes, told = MISTAKES[name]
    with pytest.raises(UserError) as error:
        load_study(write_study(tmp_path, **changes))
    assert told in str(error.value)


def test_a_right_claim(tmp_path):
    published = {"paper": "AdaCos", "method": "Dynamic AdaCos", "metric": "TPR@FPR=1e-4"}
    study = load_study(write_study(tmp_path, **claimed(published=[published])))
    assert study.claims["one"].test is not None
    assert study.claims["one"].test.number.metric == "pairs.accuracy"


SCALES: dict[str, Any] = {
    "laptop": {},
    "lab": {
        "train": {"kind": "folder", "root": "${faces}"},
        "inputs": {"faces": None},
        "training": {"epochs": 3, "schedule": {"warmup": 1}},
        "claims": {"one": None, "two": {"says": "Larger."}},
    },
}


def scaled(tmp_path: Any) -> Any:
    needs = {"says": "It is so.", "source": "A paper", "needs": "people"}
    return write_study(tmp_path, scales=SCALES, claims={"one": CLAIM, "two": needs})


def test_a_scale_replaces_and_merges(tmp_path):
    path = scaled(tmp_path)
    as_it_is = load_study(path)
    assert as_it_is == load_study(path, {"scale": "laptop"})
    assert (as_it_is.name, as_it_is.scales) == ("tiny", {})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    lab = load_study(path, {"scale": "lab", "faces": str(tmp_path)})
    assert (lab.name, lab.train.kind, lab.training.epochs) == ("tiny_lab", "folder", 3)
    assert lab.training.batch_size == TINY["training"]["batch_size"]
    assert lab.training.schedule.warmup == 1
    assert {name: claim.says for name, claim in lab.claims.items()} == {"two": "Larger."}


def test_an_unknown_scale(tmp_path):
    with pytest.raises(UserError, match="unknown scale 'leb'; did you mean 'lab'"):
        load_study(scaled(tmp_path), {"scale": "leb"})
    with pytest.raises(UserError, match="has no `scales`"):
        load_study(write_study(tmp_path), {"scale": "lab"})


def test_a_scale_comes_before_other_changes(tmp_path):
    with pytest.raises(UserError, match="asks for a folder 'faces'"):
        load_study(scaled(tmp_path), {"scale": "lab"})
    study = load_study(scaled(tmp_path), {"scale": "laptop", "name": "mine", "seeds": "[1, 2]"})
    assert (study.name, study.seeds) == ("mine", (1, 2))
