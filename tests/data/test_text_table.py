"""The fast reader against a slow one, on files that are nearly right."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frcore.data.text_table import TextTable
from frcore.errors import UserError

COLUMNS = {"image": "name", "template": "id", "score": "number", "same": "flag"}
FIELDS = {
    "name": re.compile(r".*"),
    "id": re.compile(r"\d{1,10}"),
    "number": re.compile(r"-?(\d+\.?\d*|\.\d+)(e-?\d+)?"),
    "flag": re.compile(r"[01]"),
}


def slow(text: str) -> list[list[object]] | None:
    """The rows, or None where a line is wrong."""
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    rows = []
    for line in lines:
        fields = line.removesuffix("\r").split(" ")
        if len(fields) != len(COLUMNS):
            return None
        for field, kind in zip(fields, COLUMNS.values(), strict=True):
            if not FIELDS[kind].fullmatch(field) or (kind == "id" and int(field) >= 2**31):
                return None
            if kind == "number" and not np.isfinite(float(field)):
                return None
        rows.append([fields[0], int(fields[1]), float(fields[2]), int(fields[3])])
    return rows


WORDS = st.one_of(
    st.sampled_from(["1.jpg", "a", "0", "1", "2", "-1", "1.5", "nan", "inf", "1e999", "-0.25",
                     "2147483647", "2147483648", "", "1e-3", "é", '"a"', "1_0", "+1", "٣"]),
)  # fmt: skip
LINE = st.lists(WORDS, min_size=3, max_size=5).map(" ".join)
GOOD = st.tuples(
    st.sampled_from(["1.jpg", "a/b.png", "é", '"', "'a"]),
    st.integers(0, 2**31 - 1).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: f"{x:.3f}"),
    st.sampled_from("01"),
).map(" ".join)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(GOOD, GOOD, GOOD, LINE), min_size=1, max_size=6),
       st.sampled_from(["\n", "\r\n"]), st.booleans())  # fmt: skip
@example(["1.jpg 1 0.5 1", "", "1.jpg 1 0.5 1"], "\n", True)
def test_as_a_slow_reader(tmp_path_factory, lines, end, ended):
    text = end.join(lines) + (end if ended else "")
    path = tmp_path_factory.mktemp("table") / "list.txt"
    path.write_bytes(text.encode())
    expected = slow(text) if text.strip() else None
    if expected is None:
        with pytest.raises(UserError, match=r"list\.txt:\d+: "):
            TextTable(path, COLUMNS, "Correct it")
        return
    table = TextTable(path, COLUMNS, "Correct it")
    found = zip(table.texts("image").to_pylist(), table.values("template").tolist(),
                table.values("score").tolist(), table.values("same").tolist(),
                strict=True)  # fmt: skip
    assert [list(row) for row in found] == expected


def test_a_duplicate_names_the_first_line_with_its_key(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a 1 1 1\nb 2 1 1\na 3 1 1\nb 2 1 0\n")
    table = TextTable(path, COLUMNS, "Correct it")
    rows, problem = table.repeated(np.array([5, 2**40, 5, 2**40]), "the image")
    assert rows.tolist() == [False, False, True, True]
    assert [problem(2), problem(3)] == [f"the image is a duplicate of line {n}" for n in (1, 2)]


def test_a_list_larger_than_any_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("frcore.data.text_table._LARGEST_FILE", 10)
    (tmp_path / "list.txt").write_text("1.jpg 1 1 1\n")
    with pytest.raises(UserError, match="12 bytes, but a list may have at most 10"):
        TextTable(tmp_path / "list.txt", COLUMNS, "")
