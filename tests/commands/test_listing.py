"""The listings in a terminal: whole words at 80 and at 140 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from frcore.commands.listing import details, overview
from frcore.heads import HEADS
from frcore.samplers import SAMPLERS


def lines_of(show, what, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    show(what, console)
    return console.file.getvalue().splitlines()


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("catalogue", [HEADS, SAMPLERS], ids=["heads", "samplers"])
def test_the_overview_cuts_nothing(catalogue, width):
    lines = lines_of(overview, catalogue.describe(), width)
    assert max(map(len, lines)) <= width
    shown = "\n".join(lines)
    assert "…" not in shown
    first_words = {line.split(" ")[0] for line in lines}
    for item in catalogue.describe():
        assert item["name"] in first_words
        for key, value in item["parameters"].items():
            assert f"{key}=" in shown if "default" in value else key in shown


def test_the_papers_are_shown_where_there_is_room():
    paper = "Deng et al. 2019"
    assert HEADS.describe("combined")[0]["source"]["authors"] in paper
    assert not [line for line in lines_of(overview, HEADS.describe(), 80) if "paper" in line[:60]]
    assert [line for line in lines_of(overview, HEADS.describe(), 140) if paper in line]


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize(
    ("catalogue", "name"), [*((HEADS, name) for name in HEADS), *((SAMPLERS, n) for n in SAMPLERS)]
)
def test_details_have_every_word_of_every_meaning(catalogue, name, width):
    (item,) = catalogue.describe(name)
    lines = lines_of(details, item, width)
    assert max(map(len, lines)) <= width
    words = set(" ".join(lines).split())
    for key, value in item["parameters"].items():
        assert {key, f"{key}*"} & words
        # Words too long for the column are broken, which loses none of their letters.
        assert {word for word in value["description"].split() if len(word) < 20} <= words


def test_markup_in_a_meaning_is_text():
    (item,) = HEADS.describe("cosface")
    item["parameters"]["margin"]["description"] = "in [bold]; [/red]"
    assert "[bold]; [/red]" in "\n".join(lines_of(details, item, 100))
