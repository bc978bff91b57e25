"""What components say about themselves: complete, and read from the classes alone."""

from __future__ import annotations

import json
import math
from typing import Annotated, Literal

import pytest
from pydantic import Field

from frcore.components.catalogue import Catalogue
from frcore.components.description import allowed, citation, interval, own_texts, value_text
from frcore.heads import HEADS
from frcore.heads.base import Head, Source
from frcore.samplers import SAMPLERS

COMPONENTS = [(catalogue, name) for catalogue in (HEADS, SAMPLERS) for name in catalogue]


def names(components: list[tuple[Catalogue, str]]) -> list[str]:
    return [name for _, name in components]


@pytest.mark.parametrize(("catalogue", "name"), COMPONENTS, ids=names(COMPONENTS))
def test_every_parameter_is_explained(catalogue, name):
    (item,) = catalogue.describe(name)
    unexplained = [key for key, value in item["parameters"].items() if not value["description"]]
    assert not unexplained, f"{item['place']} has no Args entry for {unexplained}"


@pytest.mark.parametrize(("catalogue", "name"), COMPONENTS, ids=names(COMPONENTS))
def test_no_explained_parameter_is_unknown(catalogue, name):
    known = {*catalogue.schema(name).model_fields, *catalogue.context}
    assert set(own_texts(catalogue.load(name).__doc__)) <= known


@pytest.mark.parametrize(("catalogue", "name"), COMPONENTS, ids=names(COMPONENTS))
def test_dialects_are_parameters(catalogue, name):
    assert set(catalogue.load(name).dialects) <= set(catalogue.schema(name).model_fields)


@pytest.mark.parametrize("name", [name for name in HEADS if name != "softmax"])
def test_every_head_has_a_source_with_its_place(name):
    (item,) = HEADS.describe(name)
    assert item["source"], f"{item['place']} has no `source`"
    assert item["source"]["equation"] or item["source"]["code"]
    assert 2015 <= item["source"]["year"] <= 2030


@pytest.mark.parametrize("name", HEADS)
def test_every_head_has_a_formula_of_its_own(name):
    (item,) = HEADS.describe(name)
    assert item["formula"], f"{item['place']} has no `formula`"
    assert item["formula"]["target"]
    assert item["formula"]["negative"]


@pytest.mark.parametrize("name", HEADS)
def test_arxiv_identifiers_have_their_form_and_the_address_follows(name):
    (item,) = HEADS.describe(name)
    source = item["source"]
    if source is None or not source["arxiv"]:
        assert source is None or source["url"] == ""
        return
    # YYMM.NNNNN; the paper is on arXiv in or before its year of publication.
    month, number = source["arxiv"].split(".")
    assert number.isdigit()
    assert len(number) == 5
    assert 1 <= int(month[2:]) <= 12
    assert 2000 + int(month[:2]) <= source["year"]
    assert source["url"] == f"https://arxiv.org/abs/{source['arxiv']}"


class Own(Head):
    """A head of the user's own,
    on two lines.

    More about it:

        z = s c

    Args:
        num_classes: the harness's.
        margin: subtracted where the sky
            is blue.
        scale: "norm" or a number.

    Raises:
        UserError: never.
    """

    source = Source("Nobody", 2024, "", code="nobody/nothing:head.py")
    formula = ("s c_y", "s c_k")
    dialects = ("scale",)

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, lt=math.pi)],
        scale: Literal["norm"] | Annotated[float, Field(gt=0)] = "norm",
        seed: Annotated[int | None, Field(description="Told by the field.")] = None,
    ) -> None:
        super().__init__(num_classes)


class Derived(Own):
    """Without a section of its own."""


def test_a_class_of_the_users_own_is_described_like_ours():
    (item,) = HEADS.describe(f"{__name__}:Own")
    assert json.loads(json.dumps(item)) == item
    assert item["place"] == f"{__name__}:Own"
    assert item["summary"] == "A head of the user's own, on two lines."
    assert item["details"] == "More about it:\n\n    z = s c"
    assert item["source"]["code"] == "nobody/nothing:head.py"
    assert item["formula"] == {"target": "s c_y", "negative": "s c_k"}
    margin, scale, seed = item["parameters"].values()
    assert margin == {
        "type": "number", "required": True, "limits": {"minimum": 0, "exclusiveMaximum": math.pi},
        "choices": [], "description": "subtracted where the sky is blue.", "dialect": False,
    }  # fmt: skip
    assert scale == {
        "type": "string or number", "required": False, "default": "norm",
        "limits": {"exclusiveMinimum": 0}, "choices": ["norm"],
        "description": '"norm" or a number.', "dialect": True,
    }  # fmt: skip
    assert seed["type"] == "integer or null"
    assert seed["default"] is None
    assert seed["description"] == "Told by the field."


def test_a_derived_class_explains_with_its_bases_but_claims_no_formula():
    (item,) = HEADS.describe(f"{__name__}:Derived")
    assert item["parameters"]["margin"]["description"] == "subtracted where the sky is blue."
    assert item["formula"] is None


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({}, ""),
        ({"minimum": 0}, " ≥ 0"),
        ({"exclusiveMinimum": 0}, " > 0"),
        ({"maximum": 1.5}, " ≤ 1.5"),
        ({"exclusiveMaximum": math.pi}, " < π"),
        ({"minimum": -1, "maximum": 1}, " in [-1, 1]"),
        ({"exclusiveMinimum": 0, "maximum": math.pi / 2}, " in (0, π/2]"),
    ],
)
def test_limits_in_words(limits, text):
    assert interval(limits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(64.0, "64"), (0.5, "0.5"), (0.0, "0"), (True, "true"), (None, "null"), ("full", "full"),
     (2 * math.pi, "2π"), (1e-05, "1e-05"), (7, "7")],
)  # fmt: skip
def test_values_in_words(value, text):
    assert value_text(value) == text


def test_a_choice_among_numbers_and_nothing():
    parameter = {"type": "integer or null", "limits": {"minimum": 1}, "choices": []}
    assert allowed(parameter) == "integer or null ≥ 1"


def test_citations():
    source = {"authors": "Deng et al.", "year": 2018, "equation": "Eq. 3", "url": "https://x"}
    assert citation(source) == "Deng et al. 2018, Eq. 3"
    assert citation(source, link=True) == "[Deng et al. 2018](https://x), Eq. 3"
    assert citation({**source, "equation": "", "url": ""}, link=True) == "Deng et al. 2018"
    assert citation(None) == ""
