"""docs/heads.md, its figure and the tables of docs/samplers.md are what `frcore docs` writes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from frcore.errors import UserError
from frcore.heads import HEADS
from frcore.reporting.docs.component_docs import (
    BEGIN,
    END,
    heads_page,
    samplers_region,
    with_region,
    write_docs,
)
from frcore.samplers import SAMPLERS

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
IDS = re.compile(r'(?:id="|href="#|url\(#)[^")]+')
RENEW = "run `frcore docs`"


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A copy of docs/ in which the command has run."""
    folder = tmp_path_factory.mktemp("checkout") / "docs"
    shutil.copytree(repository / "docs", folder)
    write_docs(folder)
    return folder


def test_the_page_of_the_heads_is_in_step(repository):
    committed = (repository / "docs/heads.md").read_text(encoding="utf-8")
    assert committed == heads_page(repository / "docs"), RENEW


def test_the_page_of_the_samplers_is_in_step(repository):
    committed = (repository / "docs/samplers.md").read_text(encoding="utf-8")
    assert committed == with_region(committed, samplers_region(repository / "docs")), RENEW


@pytest.mark.slow
def test_the_figure_is_in_step(repository, docs):
    """Text and shape are the same; coordinates to a twentieth of a point, for other machines."""
    committed, fresh = ((folder / "heads.svg").read_text(encoding="utf-8")
                        for folder in (repository / "docs", docs))  # fmt: skip
    words = [NUMBER.sub("0", IDS.sub("", text)) for text in (committed, fresh)]
    assert words[0] == words[1], RENEW
    numbers = [np.array(NUMBER.findall(IDS.sub("", text)), float) for text in (committed, fresh)]
    np.testing.assert_allclose(*numbers, atol=0.05, rtol=0, err_msg=RENEW)


@pytest.mark.slow
def test_the_command_writes_these_three_and_keeps_the_rest(repository, docs):
    changed = {
        path.relative_to(docs).as_posix()
        for path in docs.rglob("*")
        if path.is_file() and path.read_bytes() != (repository / "docs"
                                                     / path.relative_to(docs)).read_bytes()
    }  # fmt: skip
    assert changed <= {"heads.md", "heads.svg", "samplers.md"}


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_every_head_has_a_section_with_formula_parameters_and_paper(docs, name):
    page = (docs / "heads.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## `{name}`\n(.*?)(?=^## )", page, re.MULTILINE | re.DOTALL)
    (item,) = HEADS.describe(name)
    assert f"    z_y = {item['formula']['target']}\n" in section
    assert f"    z_k = {item['formula']['negative']}\n" in section
    for key, value in item["parameters"].items():
        mark = "†" if value["dialect"] else ""
        assert f"| `{key}`{mark} |" in section
    if item["source"] and item["source"]["arxiv"]:
        assert f"https://arxiv.org/abs/{item['source']['arxiv']}" in section
    assert name in (docs / "heads.svg").read_text(encoding="utf-8")


def tables(page: str) -> list[list[str]]:
    """The lines of each Markdown table."""
    return [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)]


@pytest.mark.parametrize("page", ["heads.md", "samplers.md"])
def test_tables_are_rectangular(docs, page):
    found = tables((docs / page).read_text(encoding="utf-8"))
    assert len(found) >= 2
    for lines in found:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(widths) == 1, lines
        assert set(lines[1]) <= set("| -")


@pytest.mark.parametrize("page", ["heads.md", "samplers.md"])
def test_no_underscore_or_star_of_a_formula_is_taken_for_emphasis(docs, page):
    rendered = MarkdownIt("commonmark").enable("table").render((docs / page).read_text("utf-8"))
    assert rendered.count("<table>") == len(tables((docs / page).read_text("utf-8")))
    assert not re.findall(r"<(?:em|strong)>(?!<code>|false).{0,40}", rendered)


def test_links_within_the_page_lead_to_sections(docs):
    page = (docs / "heads.md").read_text(encoding="utf-8")
    sections = {f"#{title}" for title in re.findall(r"^## `(\w+)`$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\((#[^)]*)\)", page)) == sections


def test_every_note_is_of_a_head(repository):
    notes = {path.stem for path in (repository / "docs/templates/heads").glob("*")}
    assert notes <= set(HEADS)


def test_the_samplers_keep_the_text_around_their_tables(docs):
    page = (docs / "samplers.md").read_text(encoding="utf-8")
    assert page.startswith("# Samplers\n")
    begin, end = (page.index(marker.format("")) for marker in (BEGIN, END))
    assert begin < page.index("| `full` |") < end < page.index("## `")
    for name in SAMPLERS:
        assert f"| `{name}` |" in page


def test_a_page_without_markers_is_refused():
    with pytest.raises(UserError, match="needs the lines"):
        with_region("# Samplers\n", "new")


def test_a_folder_that_is_no_documentation_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no templates/heads\.md\.j2; give the docs/"):
        write_docs(tmp_path)
    assert not list(tmp_path.iterdir())
