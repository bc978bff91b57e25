"""The examples of the core's docstrings and of docs pages run, and the tables are complete."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys

import pytest
import torch
import yaml

import frcore.heads
import frcore.loss
import frcore.samplers
from frcore.classifier import Classifier
from frcore.heads import HEADS, build_head
from frcore.samplers import SAMPLERS, build_sampler
from frcore.study.parts import Component

CORE = [
    "frcore.classifier",
    "frcore.optimizer",
    "frcore.components.catalogue",
    "frcore.components.description",
    "frcore.errors",
    "frcore.files",
    "frcore.planning.command",
    "frcore.planning.devices",
    "frcore.planning.show",
    "frcore.planning.step",
    "frcore.provenance.environment",
    "frcore.reporting.docs.component_docs",
    "frcore.reporting.figures.head_curves",
    *(
        module.name
        for package in (frcore.heads, frcore.samplers, frcore.loss)
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        if "triton" not in module.name  # imports on a machine with a GPU
    ),
    "frcore.heads",
    "frcore.samplers",
]


@pytest.mark.fast_cases(21)
@pytest.mark.parametrize("name", CORE)
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_docstring_examples():
    examples = sum(
        len(test.examples)
        for name in CORE
        for test in doctest.DocTestFinder().find(importlib.import_module(name))
    )
    assert examples >= 6


@pytest.fixture
def page(repository, tmp_path, monkeypatch):
    """The blocks of docs/extend.md by language; its modules are on the import path."""
    text = (repository / "docs" / "extend.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.syspath_prepend(tmp_path)
    for language, block in blocks:
        if language == "python":
            name = re.match(r"# (\w+)\.py\n", block).group(1)
            (tmp_path / f"{name}.py").write_text(block, encoding="utf-8")
            monkeypatch.delitem(sys.modules, name, raising=False)
    return blocks


def test_the_page_as_a_session(page):
    session = "\n".join(block for language, block in page if language == "pycon")
    test = doctest.DocTestParser().get_doctest(session, {}, "docs/extend.md", None, 0)
    assert len(test.examples) > 10
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test).failed == 0


def test_the_page_of_loops_as_a_session(repository):
    text = (repository / "docs" / "loops.md").read_text(encoding="utf-8")
    session = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(session, {}, "docs/loops.md", None, 0)
    assert len(test.examples) > 15
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test).failed == 0


def test_the_pages_study_is_a_study(page):
    (study,) = [yaml.safe_load(block) for language, block in page if language == "yaml"]
    for kind, catalogue in (("heads", HEADS), ("samplers", SAMPLERS)):
        for entry in study[kind]:
            component = Component.model_validate(entry)
            catalogue.check(component.name, component.parameters)


@pytest.mark.parametrize(
    ("head", "at_zero_degrees", "at_90_degrees"),
    # GrowingMargin says: no margin at the centre and m = 0.3 at 90°. LinearAngle: −2m/π in both.
    [
        ("my_heads:GrowingMargin", 1.0, -0.3),
        ("my_heads_with_state:LinearAngle", 1 - 0.8 / 3.14159265, -0.8 / 3.14159265),
    ],
)
def test_the_pages_heads_do_what_they_say(page, head, at_zero_degrees, at_90_degrees):
    target = build_head(head, num_classes=5).target(torch.tensor([1.0, 0.0]), None)
    assert target.tolist() == pytest.approx([at_zero_degrees, at_90_degrees], abs=1e-3)


@pytest.mark.parametrize("head", ["my_heads:GrowingMargin", "my_heads_with_state:LinearAngle"])
@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "my_samplers:RoundRobin", "stride": 4},
        {"name": "broadface", "size": 3, "over": {"name": "my_samplers:RoundRobin", "stride": 4}},
    ],
)
def test_the_pages_components_train_and_resume(page, head, sampler):
    def make():
        return Classifier(
            9, 4, head=build_head(head, num_classes=9), sampler=build_sampler(**sampler)
        )

    first, second = make(), make()
    x, labels = torch.randn(3, 4), torch.tensor([0, 5, 5])
    a, b = first(x, labels).loss, first(x + 1, labels).loss
    (a + b).backward()  # two graphs at once: the state of the first must not have been changed
    first.zero_grad()  # otherwise the next batch adds up with these two, and so do their columns
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x, labels).loss, second(x, labels).loss)
    assert torch.equal(first.active, second.active)


@pytest.mark.parametrize(
    ("page_name", "catalogue"), [("heads.md", HEADS), ("samplers.md", SAMPLERS)]
)
def test_tables_have_every_component_and_parameter(repository, page_name, catalogue):
    text = (repository / "docs" / page_name).read_text(encoding="utf-8")
    for name in catalogue:
        assert re.search(rf"^\| \[?`{name}`", text, re.MULTILINE), (
            f"docs/{page_name} has no row for '{name}'"
        )
        for parameter in catalogue.schema(name).model_fields:
            assert f"`{parameter}`" in text, f"docs/{page_name} does not explain '{parameter}'"
