"""Text from elsewhere, made harmless to show."""

import io

import pytest
from rich.console import Console

from frcore.reporting.tables.escape import html, markdown
from frcore.text import csv_cell, one_line, visible

ACTING = ["\x1b[2J", "\x00", "\x07", "\x9b", "\u202e", "\u2066", "\u200e", "\ufeff", "\u2028",
          "\udce9", "\U000e0041"]  # fmt: skip


@pytest.mark.parametrize("letter", ACTING)
def test_what_acts_is_seen_instead(letter):
    for form in (visible, one_line, markdown, csv_cell, html):
        text = str(form(f"a{letter}b"))
        assert letter[0] not in text
        assert f"U+{ord(letter[0]):04X}" in text
        text.encode("utf-8")


def test_writing_of_the_world_stays():
    for text in ("שלום", "سلام", "می\u200cخواهم", "中文", "👩\u200d🔬", "Łódź", "−1 × 2"):
        assert visible(text) == text


def test_a_terminal_gets_no_escape_of_a_failed_job():
    from frcore.reporting.watch.progress import Job
    from frcore.reporting.watch.watch import picture
    from tests.reporting.tree import make_study

    reason = "\x1b]0;title\x07 [red]x[/] \x1b[2J" + 500 * "long "
    job = Job("train", "a", "failed", reason)
    console = Console(file=io.StringIO(), force_terminal=False, width=400)
    console.print(picture(make_study(), [job]))
    shown = console.file.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[U+001B]]0;title[U+0007] [red]x[/]" in shown
    assert len(shown) < 1200


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("=1+1", "'=1+1"),
        (" \t=1", "' \t'=1"),
        ("x;=1", "x;'=1"),
        ("x\n@SUM", "x\n'@SUM"),
        ("＝1", "'＝1"),
        ("tiny-arcface-s0", "tiny-arcface-s0"),
        ("a - b; c", "a - b; c"),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_csv(given, expected):
    assert csv_cell(given) == expected


@pytest.mark.parametrize(
    "text",
    ["a|b", "`x`", "[a](javascript:b)", "<b>", "**b**", "a\n\n# b", "![x](y)", "&lt;", "$x$"],
)
def test_markdown_prints_what_it_was_given(text):
    """Judged by another program: what it renders is the text."""
    markdown_it = pytest.importorskip("markdown_it")
    from html.parser import HTMLParser

    class Reader(HTMLParser):
        tags: tuple[str, ...] = ()
        text = ""

        def handle_starttag(self, tag, attrs):
            self.tags = (*self.tags, tag)

        def handle_data(self, data):
            self.text += data

    parser = markdown_it.MarkdownIt("commonmark").enable("table")
    reader = Reader()
    reader.feed(parser.render(f"| h |\n|---|\n| {markdown(text)} |\n\n- {markdown(text)}\n"))
    assert list(reader.tags) == ["table", "thead", "tr", "th", "tbody", "tr", "td", "ul", "li"]
    assert reader.text.split() == ["h", *text.split(), *text.split()]
