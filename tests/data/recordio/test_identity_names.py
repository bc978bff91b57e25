import pytest

from frcore.data.recordio.training import identity_names
from frcore.errors import UserError


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_insightfaces_form(tmp_path):
    path = write(
        tmp_path / "a.lst", "1\tfaces/Žofia/1.jpg\t1", "1\tBea/2.jpg\t0", "1\tBea/1.jpg\t0"
    )
    assert identity_names(path).to_dict() == {0: "Bea", 1: "Žofia"}


def test_im2recs_form(tmp_path):
    path = write(tmp_path / "a.lst", "0\t3.000000\tAda\\1.jpg", "1\t5.000000\tBea/1.jpg")
    assert identity_names(path).to_dict() == {3: "Ada", 5: "Bea"}
    several = write(tmp_path / "b.lst", "0\t3\t0.5\t0.25\tAda/1.jpg", "1\t4\t1\t2\tBea/1.jpg")
    assert identity_names(several).to_dict() == {3: "Ada", 4: "Bea"}
    with pytest.raises(UserError, match=r"b\.lst:1: 0\.5"):
        identity_names(several, 1)
    with pytest.raises(UserError, match="lines have 3 labels, so no number 3"):
        identity_names(several, 3)
    second = write(tmp_path / "c.lst", "0\t3\t7\tAda/1.jpg", "1\t3\t8\tBea/1.jpg")
    assert identity_names(second, 1).to_dict() == {7: "Ada", 8: "Bea"}
    first = write(tmp_path / "d.lst", "1\tAda/1.jpg\t3\t7", "1\tBea/1.jpg\t3\t8")
    assert identity_names(first, 1).to_dict() == {7: "Ada", 8: "Bea"}


def test_names_of_identities_are_composed(tmp_path):
    path = write(tmp_path / "a.lst", "1\tZoe\u0301/1.jpg\t0", "1\tZo\u00e9/2.jpg\t0")
    assert identity_names(path).to_dict() == {0: "Zo\u00e9"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [((), "cannot be read"), (("1\ta/1.jpg",), "is a path"), (("0\t1\t2",), "is a path"),
     (("a/1.jpg,0",), "none of the 1 tab-separated fields is a path, got 'a/1.jpg,0'"),
     (("0\t0\ta/1.jpg", "1\t0.5\ta/1.jpg"), r"not whole numbers:\n.*a\.lst:2: 0\.5"),
     (("1\ta/1.jpg\tx",), r"not whole numbers:\n.*a\.lst:1: x"),
     (("1\ta/1.jpg\t0", "1\tb/1.jpg"), "cannot be read"),
     (("0\t0\t1.jpg",), r"(?s)not in a folder.*a\.lst:1: '1\.jpg'"),
     (("1\ta/1.jpg\t0", "1\tb/1.jpg\t0"), "label 0: folder a"),
     (("1\ta/1.jpg\t0", "1\ta/2.jpg\t1"), "folder a: label 0")],
)  # fmt: skip
def test_lists_that_name_nobody(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        identity_names(write(tmp_path / "a.lst", *lines))


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        identity_names(tmp_path / "a.lst")
