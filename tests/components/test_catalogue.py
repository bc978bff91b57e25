"""Components by name: the errors a user meets, and listings that machines read."""

from __future__ import annotations

import json
import textwrap

import numpy as np
import pytest

from frcore.errors import UserError
from frcore.heads import HEADS, build_head
from frcore.heads.arcface import ArcFace
from frcore.samplers import SAMPLERS, build_sampler


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("arcfase", {}, r"unknown head 'arcfase'; did you mean 'arcface'\? Allowed: adacos, "),
        ("zzz", {}, r"unknown head 'zzz'\. Allowed: adacos, "),
        (
            "arcface",
            {"margn": 0.5},
            r"unknown parameter of head 'arcface' 'margn'; did you mean 'margin'\?",
        ),
        ("arcface", {"margin": 4}, r"head 'arcface': margin = 4: .*less than 3.14"),
        ("arcface", {"margin": -0.1}, r"margin = -0.1: .*greater than or equal to 0"),
        ("arcface", {"margin": "half"}, r"margin = 'half': .*valid number"),
        ("arcface", {"gradient": "true"}, r"gradient = 'true': .*'full' or 'detached'"),
        ("arcface", {"scale": 0, "margin": 9}, r"margin = 9: .*; scale = 0: .*greater than 0"),
        ("cosface", {"scale": float("inf")}, r"scale = inf: .*finite"),
        ("cosface", {"margin": float("nan")}, r"margin = nan: .*"),
        ("adacos", {"scale": 30}, r"unknown parameter of head 'adacos' 'scale'"),
        ("no.such.module:Head", {}, r"no module 'no.such.module' on the import path; install it"),
        ("frcore.heads.arcface:ArcFase", {}, r"module 'frcore.heads.arcface' has no 'ArcFase'"),
        ("torch.nn:Linear", {}, r"head 'torch.nn:Linear': not a class derived from frcore.heads"),
        ("math:pi", {}, r"head 'math:pi': not a class derived from"),
        (":ArcFace", {}, r"head ':ArcFace': not a place; write it as package.module:Class"),
        ("frcore.heads.arcface:", {}, r"not a place"),
        (".arcface:ArcFace", {}, r"not a place"),
    ],
)
def test_errors_say_what_is_allowed(name, parameters, message):
    with pytest.raises(UserError, match=message):
        build_head(name, num_classes=10, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("partialfc", {}, r"unknown sampler 'partialfc'; did you mean 'partial_fc'\?"),
        ("partial_fc", {}, r"sampler 'partial_fc': rate is required"),
        ("partial_fc", {"rate": 1.5}, r"rate = 1.5: .*less than or equal to 1"),
        ("broadface", {"size": -1}, r"size = -1"),
        ("broadface", {"size": 2.5}, r"size = 2.5"),
        ("broadface", {"size": 2, "over": {"rate": 0.1}}, r"over = {'rate': 0.1} has no name"),
        ("broadface", {"size": 2, "over": "fulll"}, r"unknown sampler 'fulll'; did you mean"),
        ("broadface", {"size": 2, "over": {"name": "partial_fc", "rate": 2}}, r"rate = 2"),
    ],
)
def test_sampler_errors(name, parameters, message):
    with pytest.raises(UserError, match=message):
        build_sampler(name, **parameters)


def test_where_is_named():
    with pytest.raises(UserError, match=r"^heads\[2\]: unknown head 'x'"):
        HEADS.check("x", {}, where="heads[2]")
    with pytest.raises(UserError, match=r"^heads\[2\]: scale = -1"):
        HEADS.check("cosface", {"scale": -1}, where="heads[2]")


def test_parameters_come_in_their_declared_types():
    checked = HEADS.check("arcface", {"margin": 1, "scale": np.int64(32)})
    assert checked == {"margin": 1.0, "scale": 32.0}
    assert [type(value) for value in checked.values()] == [float, float]
    head = build_head("arcface", num_classes=10, **checked)
    assert (head.margin, head.scale_value, head.gradient) == (1.0, 32.0, "full")


@pytest.mark.parametrize(
    ("name", "given", "word"),
    [
        ("arcface", {"scale": "32"}, "number"),
        ("arcface", {"margin": True}, "number"),
        ("arcface", {"margin": float("nan")}, "finite"),
        ("broadface", {"size": True}, "integer"),
        ("broadface", {"size": 8.5}, "integer"),
        ("broadface", {"size": 8, "compensate": 1}, "boolean"),
        ("broadface", {"size": 8, "compensate": "false"}, "boolean"),
    ],
)
def test_a_truth_value_or_a_text_is_no_number_and_no_number_is_true(name, given, word):
    catalogue = HEADS if name in HEADS else SAMPLERS
    with pytest.raises(UserError, match=f"Input should be a .*{word}"):
        catalogue.check(name, given)


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    """A module of a user's own on the import path."""
    source = textwrap.dedent(
        '''
        from typing import Literal
        from frcore.heads.arcface import ArcFace
        from frcore.heads.base import Head

        class Mine(ArcFace):
            """Mine alone."""
            def __init__(self, num_classes: int, *, mood: Literal["good", "bad"] = "good"):
                super().__init__(num_classes)
                self.mood = mood

        class Unresolved(Head):
            def __init__(self, num_classes: int, *, gate: "Gate" = None):
                super().__init__(num_classes)

        class NoClasses(Head):
            def __init__(self, margin: float = 1.0):
                super().__init__(10)
        '''
    )
    (tmp_path / "my_heads_of_test_catalogue.py").write_text(source)
    (tmp_path / "my_broken_of_test_catalogue.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "my_heads_of_test_catalogue"


def test_a_class_of_the_users_own(my_module):
    head = build_head(f"{my_module}:Mine", num_classes=10, mood="bad")
    assert isinstance(head, ArcFace)
    assert head.mood == "bad"
    with pytest.raises(UserError, match="mood = 'meh'"):
        build_head(f"{my_module}:Mine", num_classes=10, mood="meh")
    with pytest.raises(UserError, match="'moud'; did you mean 'mood'"):
        build_head(f"{my_module}:Mine", num_classes=10, moud="good")


def test_a_constructor_without_num_classes_is_explained(my_module):
    with pytest.raises(UserError, match=r"must take what the harness supplies \(num_classes\)"):
        build_head(f"{my_module}:NoClasses", num_classes=10)


def test_a_type_that_does_not_exist_at_run_time_is_explained(my_module):
    with pytest.raises(UserError, match=r"name 'Gate' is not defined; import the types"):
        build_head(f"{my_module}:Unresolved", num_classes=10)


def test_a_missing_dependency_of_a_module_is_not_called_a_misspelling(my_module):
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        build_head("my_broken_of_test_catalogue:Head", num_classes=10)


@pytest.mark.parametrize("catalogue", [HEADS, SAMPLERS])
def test_listing_is_json_and_complete(catalogue):
    listing = json.loads(json.dumps(catalogue.describe(), allow_nan=False))
    assert [item["name"] for item in listing] == list(catalogue)
    for item in listing:
        assert item["summary"].endswith(".")
        assert item["summary"] in " ".join(item["doc"].split())
        assert "num_classes" not in item["parameters"]


def test_listing_has_types_limits_and_defaults():
    arcface = next(item for item in HEADS.describe() if item["name"] == "arcface")["parameters"]
    assert arcface["margin"]["default"] == 0.5
    assert arcface["margin"]["limits"]["minimum"] == 0
    assert arcface["gradient"]["choices"] == ["full", "detached"]
    assert arcface["easy_margin"]["type"] == "boolean"
    assert arcface["easy_margin"]["default"] is False


def test_it_is_a_mapping_that_imports_nothing_by_itself():
    assert "arcface" in HEADS
    assert HEADS["arcface"] == "frcore.heads.arcface:ArcFace"
    assert len(HEADS) == len(list(HEADS))
