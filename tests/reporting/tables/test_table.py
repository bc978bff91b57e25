import csv
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from frcore.reporting.page.pages import template
from frcore.reporting.tables.table import Cell, Heading, Table, to_markdown
from tests.reporting.made import HOSTILE

TABLE = Table(
    "accuracy",
    "A <title> & 50 %",
    [
        Heading("head", numeric=False),
        Heading("acc [%]", "lfw"),
        Heading("tar", "lfw"),
        Heading("x"),
    ],
    [
        [Cell("arcface"), Cell("93.10", "[92.00, 94.00]", "best"), Cell("1"), Cell(HOSTILE)],
        [Cell("a_b|c"), Cell("92.90", "[91.00, 93.00]", "tied"), Cell("—", "no"), Cell("2")],
    ],
    ["a note_1"],
    pd.DataFrame({"head": ["arcface", "=1+1"], "acc": [0.931, 0.929]}),
)


class Reader(HTMLParser):
    """Collects the tags with their attributes, and the text of each cell."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(str(text))  # Markup would escape what is added to it

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


def to_html(table: Table) -> str:
    return str(template("table.html.j2").make_module().body(table))


def test_html_has_the_cells_and_no_tag_of_the_user():
    reader = Reader(to_html(TABLE))
    assert {tag for tag, _ in reader.tags} <= {"table", "thead", "tbody", "tr", "th", "td", "span"}
    texts = [" ".join(cell.split()) for cell in reader.cells]
    assert HOSTILE in texts
    assert "93.10 (best) [92.00, 94.00]" in texts
    assert "92.90 (statistically tied with the best) [91.00, 93.00]" in texts


def test_html_names_the_scope_of_every_heading_and_repeats_no_id():
    reader = Reader(to_html(TABLE))
    headings = [attributes for tag, attributes in reader.tags if tag == "th"]
    assert {one.get("scope") for one in headings} == {"col", "colgroup", "row"}
    assert all("scope" in one for one in headings)
    assert not any("id" in attributes for _, attributes in reader.tags)


def test_markdown_marks_and_escapes():
    lines = to_markdown(TABLE).splitlines()
    assert lines[2] == "| head | lfw acc \\[%\\] | lfw tar | x |"
    assert lines[3] == "|:---|---:|---:|---:|"
    assert lines[4].startswith(r"| arcface | **93.10** \[92.00, 94.00\] | 1 | &lt;/script&gt;")
    assert lines[5].startswith(r"| a\_b\|c | *92.90* \[91.00, 93.00\] |")
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:6]]
    assert bars == [5, 5, 5, 5]


def test_csv_is_for_machines():
    assert list(csv.reader(TABLE.csv.splitlines())) == [
        ["head", "acc"], ["arcface", "0.931"], ["'=1+1", "0.929"]
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [[], [[Cell("a"), Cell("1"), Cell("2"), Cell("3")]]])
def test_tables_without_rows_are_tables(rows):
    table = Table("cost", "t", TABLE.headings, rows, [], pd.DataFrame())
    assert "<table" in to_html(table)
