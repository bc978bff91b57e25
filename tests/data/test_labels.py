import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcore.data.labels import by_name, by_number, whole_numbers
from frcore.errors import UserError


def where(row: int) -> str:
    return f"row {row}"


def texts(*values: str) -> pd.Series:
    return pd.Series(values, dtype="str")


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_numbers_keep_their_order_and_their_meaning(stored):
    found = by_number(np.array(stored), 41, where, "set")
    assert [f"set/{number}" for number in stored] == found.identities.iloc[found.codes].tolist()
    in_order = sorted(set(stored))
    assert found.identities.tolist() == [f"set/{number}" for number in in_order]
    assert not found.are_named


@pytest.mark.slow
@given(st.lists(st.text("abcXYZ é", min_size=1, max_size=4), min_size=1, max_size=40))
def test_names_are_numbered_in_sorted_order(stored):
    found = by_name(pd.Series(stored, dtype="str"), None, where, "set")
    assert found.identities.tolist() == sorted(set(stored))
    assert found.identities.iloc[found.codes].tolist() == stored
    assert found.are_named


def test_names_that_are_numbers_name_nobody():
    found = by_name(texts("7", "3", "7"), 2, where, "set")
    assert found.identities.tolist() == ["set/3", "set/7"]
    assert found.codes.tolist() == [1, 0, 1]
    assert not found.are_named


def test_numbers_with_names():
    found = by_number(np.array([2, 0, 2]), 3, where, "set", ["Ada", "Bea", "Eve"])
    assert found.identities.tolist() == ["Ada", "Eve"]
    assert found.codes.tolist() == [1, 0, 1]
    assert found.are_named


def test_numbers_that_cannot_be_labels():
    with pytest.raises(
        UserError, match=r"2 labels are not within 0 to 3:\n  row 1: label 4\n  row 2"
    ):
        by_number(np.array([0, 4, -1]), 4, where, "set")
    with pytest.raises(UserError, match=r"no image has the label 0, .*`identities: 3`"):
        by_number(np.array([1, 2]), None, where, "set")
    assert by_number(np.array([1, 2]), 3, where, "set").codes.tolist() == [0, 1]


@pytest.mark.parametrize("name", ["", "a\nb", "\u202ea", "x" * 1001])
def test_names_that_cannot_be_used(name):
    with pytest.raises(UserError, match=r"^labels are not names of identities:\n  row 1: "):
        by_name(texts("Ada", name), None, where, "set")


def test_whole_numbers():
    found = whole_numbers(texts("7", " 0", "12.000", "-3", "7"), where)
    assert found.tolist() == [7, 0, 12, -3, 7]
    for wrong in ("", "x", "1.5", "1e3", "٣", "1" * 11, "--1", ".", "nan", "1 2"):
        with pytest.raises(UserError, match=r"^labels are not whole numbers:\n  row 1: "):
            whole_numbers(texts("1", wrong), where)
