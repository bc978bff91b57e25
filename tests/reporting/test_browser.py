"""The page in a real browser: whichever Chromium is installed, without its network."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from frcore.reporting.figures.inlined import dark_of
from frcore.reporting.figures.palette import GRID, HEAD_COLOURS, INK, MUTED
from tests.reporting.made import Made

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path: install `chromium`"),
]

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

READABLE = 4.5
"""The least contrast of text (WCAG 2, AA)."""


@dataclass
class Opened:
    """A page, and what went wrong while it was open."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Any) -> Iterator[Any]:
    contexts = []

    def _show(made: Made, size: dict[str, int] = WIDE, scheme: str = "light") -> Opened:
        context = browser.new_context(viewport=size, color_scheme=scheme, accept_downloads=True)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on(
            "console", lambda m: m.type in ("error", "warning") and opened.problems.append(m.text)
        )
        opened.page.on("pageerror", lambda error: opened.problems.append(str(error)))
        opened.page.on("dialog", lambda d: (opened.problems.append(d.message), d.dismiss()))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        page = made.root / "report.html"
        opened.page.goto((page if page.exists() else made.reported / page.name).as_uri())
        return opened

    yield _show
    for context in contexts:
        context.close()


def column(page: Any, heading: str) -> list[str]:
    """The cells of a column of the table of accuracy, as they stand now."""
    return page.evaluate(
        """heading => {
          const table = document.querySelector('#table-cost table');
          const names = [...table.querySelectorAll('thead tr:last-child th')].map(x => x.innerText);
          const at = names.findIndex(name => name.startsWith(heading));
          return [...table.tBodies[0].rows].filter(row => !row.hidden)
            .map(row => row.cells[at].innerText.split('\\n')[0].trim());
        }""",
        heading,
    )


@pytest.mark.parametrize("which", ["complete", "broken"])
def test_nothing_is_wrong_and_nothing_is_fetched(
    which: str, show: Any, request: pytest.FixtureRequest
):
    opened = show(request.getfixturevalue(which))
    assert opened.problems == []  # a script of a hostile text would have opened a dialog
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []


def test_a_click_on_a_heading_sorts(show: Any, complete: Made):
    page = show(complete).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    heading = page.locator("#table-cost thead button", has_text="identities").first
    heading.click()
    up = [int(cell.replace(",", "")) for cell in column(page, "identities")]
    assert up == sorted(up)
    assert len(set(up)) > 1
    heading.click()
    down = [int(cell.replace(",", "")) for cell in column(page, "identities")]
    assert down == up[::-1]
    assert heading.locator("xpath=..").get_attribute("aria-sort") == "descending"


def test_words_filter_the_rows(show: Any, complete: Made):
    page = show(complete).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    everyone = column(page, "head")
    assert set(everyone) == {"arcface", "softmax"}
    page.locator("#table-cost input[type=search]").fill("ARCFACE partial")
    assert set(column(page, "head")) == {"arcface"}
    assert set(column(page, "sampler")) == {"partial_fc"}
    page.locator("#table-cost input[type=search]").fill("")
    assert column(page, "head") == everyone


@pytest.mark.parametrize("which", ["complete", "broken"])
def test_every_link_leads_somewhere(which: str, show: Any, request: pytest.FixtureRequest):
    made = request.getfixturevalue(which)
    page = show(made).page
    links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    assert len(links) > 20
    for link in links:
        address = urlparse(link)
        if link.startswith("#"):
            assert page.locator(f"[id='{link[1:]}']").count() == 1, link
        elif address.scheme == "":
            assert (made.root / unquote(address.path)).is_file(), link
        else:
            assert address.scheme in ("data", "https"), link


def test_a_table_downloads_as_csv(show: Any, complete: Made):
    page = show(complete).page
    with page.expect_download() as waiting:
        page.locator("#table-accuracy a[download$='.csv']").click()
    text = waiting.value.path().read_text(encoding="utf-8")
    assert text == (complete.reported / "tables/accuracy.csv").read_text(encoding="utf-8")
    assert {row["head"] for row in csv.DictReader(io.StringIO(text))} == {"arcface", "softmax"}


def saved_from_a_page_alone(show: Any, complete: Made, alone: Path, kind: str) -> Path:
    """The file of a figure that a copy of the page, without those beside it, gives in the dark."""
    shutil.copyfile(complete.reported / "report.html", alone / "report.html")
    page = show(Made(complete.study, alone), scheme="dark").page
    with page.expect_download() as waiting:
        page.locator(f"#figure-roc [data-{kind}]").click()
    assert waiting.value.suggested_filename == f"toy-roc.{kind}"
    return waiting.value.path()


def test_a_figure_is_saved_from_a_page_that_travels_alone(
    show: Any, complete: Made, tmp_path: Path
):
    saved = ElementTree.parse(saved_from_a_page_alone(show, complete, tmp_path, "svg"))
    beside = ElementTree.parse(complete.reported / "figures/roc.svg")
    texts = [[e.text for e in t.iter() if e.tag.endswith("}text")] for t in (saved, beside)]
    assert texts[0] == texts[1] != []
    # The colours of paper, not the page's in the dark.
    colours = [set(re.findall(r"#[0-9a-f]{6}", ElementTree.tostring(t.getroot(), "unicode")))
               for t in (saved, beside)]  # fmt: skip
    assert colours[0] == colours[1] != set()
    assert "var(" not in ElementTree.tostring(saved.getroot(), "unicode")


def test_a_figure_is_saved_as_png_in_the_colours_of_paper(
    show: Any, complete: Made, tmp_path: Path
):
    with Image.open(saved_from_a_page_alone(show, complete, tmp_path, "png")) as opened:
        picture = np.asarray(opened.convert("RGB")).astype(int)
    view = ElementTree.parse(complete.reported / "figures/roc.svg").getroot().attrib["viewBox"]
    _, _, width, height = (float(side) for side in view.split())
    assert picture.shape[:2] == (round(height * 200 / 72), round(width * 200 / 72))
    # Mostly paper, with ink, and in the colour of a head.
    assert (picture == 255).all(axis=2).mean() > 0.5
    assert (picture.max(axis=2) < 80).mean() > 0.002
    assert (picture.max(axis=2) - picture.min(axis=2) > 100).mean() > 0.0005


def test_nothing_is_folded_on_paper(show: Any, complete: Made):
    page = show(complete).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = false)")
    folded = "document.querySelectorAll('details:not([open])').length"
    assert page.evaluate(folded) > 0
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(folded) == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) > 0


def test_the_keyboard_reaches_the_answer_and_the_tables(show: Any, complete: Made):
    page = show(complete).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('figure')?.id ?? ''"))
    assert "table-accuracy" in seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("which", ["complete", pytest.param("broken", marks=pytest.mark.long)])
def test_everyone_can_read_it(
    which: str, size: dict[str, int], scheme: str, show: Any, request: pytest.FixtureRequest
):
    """axe finds nothing serious, and only boxes of their own scroll sideways."""
    page = show(request.getfixturevalue(which), size, scheme).page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    found = axe.Axe().run(page).response["violations"]
    serious = [
        f"{rule['id']} ({rule['impact']}): {node['html'][:120]} {node['failureSummary'][:300]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]
    assert serious == []


CONTRASTS = """colours => {
  const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const seen = colour => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data;
  };
  const light = colour => [...seen(colour)].slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const back = light(getComputedStyle(document.body).backgroundColor);
  return colours.map(colour => {
    const [a, b] = [light(colour), back].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_figures_can_be_read(scheme: str, show: Any, complete: Made):
    """axe cannot see text in an SVG; its contrast is computed here."""
    page = show(complete, scheme=scheme).page
    texts = page.evaluate(
        """() => [...document.querySelectorAll('figure svg text')]
          .map(text => [text.textContent, getComputedStyle(text).fill])"""
    )
    contrasts = page.evaluate(CONTRASTS, [colour for _, colour in texts])
    assert len(contrasts) > 20
    pale = [text for (text, _), one in zip(texts, contrasts, strict=True) if one < READABLE]
    assert pale == []


def test_heads_stand_out_from_the_page_in_the_dark(show: Any, complete: Made):
    page = show(complete, scheme="dark").page
    colours = (*HEAD_COLOURS.values(), MUTED, INK, GRID)
    *heads, ink, grid = page.evaluate(CONTRASTS, [dark_of(colour) for colour in colours])
    assert min(heads) >= 3
    assert ink >= 7
    assert grid < 3
