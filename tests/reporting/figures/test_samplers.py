"""Curves over a sampler's parameter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from frcore.reporting.figures.samplers import sampler_curves, sweeps
from frcore.reporting.report import report
from frcore.results.rows import collect
from frcore.results.scores import Scores
from frcore.results.summary import Method, Summary
from frcore.study.parts import Component
from tests.reporting.tree import Tree, make_study

pytestmark = pytest.mark.slow


def component(**given: object) -> Component:
    return Component.model_validate(given)


def fc(rate: float, **more: object) -> Component:
    return component(name="partial_fc", rate=rate, label=f"pfc{rate}", **more)


def wide(size: int, over: object, label: str) -> Component:
    return component(name="broadface", size=size, over=over, label=label)


def test_only_samplers_that_differ_in_one_number_make_a_curve():
    lazy = component(name="partial_fc", rate=0.2, update="lazy", label="lazy")
    assert sweeps((component(name="full"), fc(0.1), lazy)) == []
    (found,) = sweeps((fc(0.5), fc(0.1), lazy))
    assert (found.name, found.parameter) == ("partial_fc", "rate")
    assert list(found.labels.items()) == [(0.1, "pfc0.1"), (0.5, "pfc0.5")]


def test_two_curves_of_one_parameter_say_what_else_differs():
    kinds = {"q": {"over": "full"}, "p": {"over": "full", "compensate": False}}
    samplers = [component(name="broadface", size=size, label=f"{name}{size}", **more)
                for size in (64, 2048) for name, more in kinds.items()]  # fmt: skip
    found = sweeps(tuple(samplers))
    assert [list(one.labels.values()) for one in found] == [["q64", "q2048"], ["p64", "p2048"]]
    titles = [one.title(found) for one in found]
    assert titles == [
        "size of broadface over full",
        "size of broadface over full, compensate: false",
    ]
    assert found[1].title(found[1:]) == "size of broadface over full"


def test_a_sampler_over_another_is_a_curve_of_its_own():
    over = {"name": "partial_fc", "rate": 0.1}
    samplers = (
        wide(100, over, "a"), wide(200, over, "b"),
        wide(100, {**over, "rate": 0.3}, "c"), wide(100, "full", "d"), wide(200, "full", "e"),
    )  # fmt: skip
    found = {(s.name, s.parameter): list(s.labels.values()) for s in sweeps(samplers)}
    assert found == {
        ("broadface over partial_fc", "size"): ["a", "b"],
        ("broadface over partial_fc", "over.rate"): ["a", "c"],
        ("broadface over full", "size"): ["d", "e"],
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, str]:
    root = tmp_path_factory.mktemp("sweep") / "toy"
    samplers = ["full", *({"name": "partial_fc", "rate": r, "label": f"p{r}"} for r in (0.1, 0.5))]
    study = make_study(samplers=samplers, seeds=[0])
    Tree(study, root).everything()
    page = report(study, root).read_text(encoding="utf-8")
    rows = collect(study, root)
    return Summary(study, rows, Scores(root, rows)), page


@pytest.mark.slow
def test_the_figure_holds_the_numbers_of_the_table(made: tuple[Summary, str]):
    summary, _ = made
    figure = sampler_curves(summary)
    panel = figure.axes[0]
    (main, *_) = summary.main_columns()
    middle = {round(y, 9) for bars in panel.containers for y in bars.lines[0].get_ydata()}
    dotted = {round(line.get_ydata()[0], 9) for line in panel.lines if line.get_linestyle() == ":"}

    def wanted(sampler: str) -> set[float]:
        methods = [Method("tiny", head.label, sampler) for head in summary.study.heads]
        return {round(100 * (summary.cell(m, main).value or 0), 9) for m in methods}

    assert middle == wanted("p0.1") | wanted("p0.5")
    assert dotted == wanted("full")


def test_a_point_says_whose_it_is(made: tuple[Summary, str]):
    _, page = made
    titles = re.findall(r"<title>([^<]*)</title>", page)
    assert any("Runs: tiny-arcface-full-s0" in title for title in titles)
    assert re.search(r'id="[^"]*title:', page) is None  # no raw id is left


def test_without_a_sweep_the_figure_says_so(tmp_path: Path):
    study = make_study()
    rows = collect(study, tmp_path)
    figure = sampler_curves(Summary(study, rows, Scores(tmp_path, rows)))
    assert "no two samplers" in figure.texts[0].get_text()
