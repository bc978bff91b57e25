import pytest

from frcore.data.verification.lfw_lists import read_pairs, read_people
from frcore.errors import UserError

PAIRS = ["2", "Ada\t1\t2", "Bea\t1\t3", "Ada\t1\tBea\t2", "Bea\t1\tCyd\t1"]


@pytest.fixture
def listed(tmp_path):
    def write(lines, *, newline="\n", encoding="utf-8"):
        path = tmp_path / "list.txt"
        path.write_bytes((newline.join(lines) + newline).encode(encoding))
        return path

    return write


def test_pairs(listed):
    pairs = read_pairs(listed(PAIRS))
    assert [(*pair.a, *pair.b) for pair in pairs] == [
        ("Ada", 1, "Ada", 2), ("Bea", 1, "Bea", 3), ("Ada", 1, "Bea", 2), ("Bea", 1, "Cyd", 1),
    ]  # fmt: skip
    assert [pair.same for pair in pairs] == [True, True, False, False]
    assert [pair.where.rpartition(":")[2] for pair in pairs] == ["2", "3", "4", "5"]


def test_folds_alternate_genuine_and_impostor(listed):
    lines = ["2\t1", "Ada\t1\t2", "Ada\t1\tBea\t2", "Cyd\t1\t2", "Cyd\t1\tDan\t1"]
    assert [(pair.fold, pair.same) for pair in read_pairs(listed(lines))] == [
        (0, True), (0, False), (1, True), (1, False),
    ]  # fmt: skip


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_line_ends_byte_order_marks_and_spaces(listed, newline, encoding):
    plain = read_pairs(listed(PAIRS))
    assert read_pairs(listed(PAIRS, newline=newline, encoding=encoding)) == plain
    assert read_pairs(listed([line.replace("\t", "  ") for line in PAIRS])) == plain
    assert read_pairs(listed([*PAIRS, "", ""])) == plain


def test_names_with_spaces_and_in_decomposed_form(listed):
    pairs = read_pairs(listed(["1", "Zoe\u0301 M\t1\t2", "Zo\u00e9 M\t1\tAda\t2"]))
    assert pairs[0].a.identity == pairs[1].a.identity == "Zo\u00e9 M"


@pytest.mark.parametrize(
    ("line", "given", "message"),
    [
        (1, "two", "must be a whole number"),
        (1, "2\t2\t2", "the header must be"),
        (1, "3", "genuine pair must be here"),
        (1, "1", "genuine pair must be here|impostor pair must be here"),
        (2, "Ada\t1", "a genuine pair must be here"),
        (2, "Ada\t1\tBea\t2", "a genuine pair must be here"),
        (4, "Ada\t1\t2", "an impostor pair must be here"),
        (3, "", "a genuine pair must be here"),
        (2, "Ada\t1\t1", "two different images"),
        (2, "Ada\t0\t1", "whole number from 1"),
        (2, "Ada\t-1\t1", "whole number from 1"),
        (2, "Ada\tx\t1", "whole number from 1"),
        (2, "Ada\t1.5\t1", "whole number from 1"),
        (2, "Ada\t²\t1", "whole number from 1"),
        (4, "Ada\t1\tAda\t2", "two different people"),
        (3, "Ada\t2\t1", "duplicate of line 2"),
        (5, "Bea\t2\tAda\t1", "duplicate of line 4"),
        (2, "../Ada\t1\t2", "not the name"),
        (2, "..\t1\t2", "not the name"),
        (2, "/etc/Ada\t1\t2", "not the name"),
        (2, "C:\\Ada\t1\t2", "not the name"),
        (2, "C:Ada\t1\t2", "not the name"),
        (2, "..\\Ada\t1\t2", "not the name"),
        (2, "\t1\t2", "not the name"),
        (4, "Ada\t1\t../Bea\t2", "not the name"),
        (2, "A\x00da\t1\t2", "not the name"),
    ],
)
def test_malformed_pairs_name_file_and_line(listed, line, given, message):
    lines = PAIRS.copy()
    lines[line - 1] = given
    path = listed(lines)
    with pytest.raises(UserError, match=message) as caught:
        read_pairs(path)
    if line > 1:
        assert str(caught.value).startswith(f"{path}:{line}: ")
    else:
        assert str(caught.value).startswith(f"{path}:")


def test_lists_that_are_too_short_or_too_long(listed):
    with pytest.raises(UserError, match=r"list.txt:5: .*fewer lines than its header"):
        read_pairs(listed(PAIRS[:-1]))
    with pytest.raises(UserError, match=r"list.txt:6: .*fewer lines"):
        read_pairs(listed([*PAIRS, "Dan\t1\tAda\t1"]))


def test_files_that_are_no_lists(listed, tmp_path):
    with pytest.raises(UserError, match=r"nothing.txt cannot be read"):
        read_pairs(tmp_path / "nothing.txt")
    with pytest.raises(UserError, match=r"list.txt:1: the list is empty"):
        read_pairs(listed([""]))
    with pytest.raises(UserError, match=r"list.txt:2: the line is not UTF-8"):
        read_pairs(listed(["1", "Zoé\t1\t2", "Zoé\t1\tAda\t1"], encoding="latin-1"))


def test_people(listed):
    people = read_people(listed(["2", "Ada\t3", "Bea\t1"]))
    assert [(p.name, p.images, p.line) for p in people] == [("Ada", 3, 2), ("Bea", 1, 3)]
    folds = read_people(listed(["2", "1", "Ada\t3", "2", "Bea\t1", "Cyd\t2"]))
    assert [p.name for p in folds] == ["Ada", "Bea", "Cyd"]


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        (["x", "Ada\t1"], ":1: "),
        (["1", "Ada"], ":2: "),
        (["1", "Ada\t1\t2"], ":2: "),
        (["1", "Ada\t0"], ":2: "),
        (["2", "Ada\t1"], ":3: "),
        (["1", "Ada\t1", "Bea\t1"], ":3: "),
        (["2", "Ada\t1", "Ada\t2"], ":3: "),
        (["2", "1", "Ada\t3", "Bea\t1"], ":4: "),
        (["1", "../x\t1"], ":2: "),
    ],
)
def test_malformed_people_name_file_and_line(listed, lines, where):
    with pytest.raises(UserError, match=f"list.txt{where}"):
        read_people(listed(lines))
