import re

import pytest

from frcore.data.ijb.lists import read_lists
from frcore.errors import UserError
from tests.data.ijb import folder
from tests.data.ijb.folder import GALLERY_1, PROBES

HEADER = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n"


def read(tmp_path, **changes):
    return read_lists(folder.write(tmp_path, **changes), "ijbc")


def test_a_template_stands_once_for_all_its_images(tmp_path):
    enrolled = read(tmp_path).enrolled
    assert enrolled["template"].tolist() == [1, 2, 5, 6, 8]
    assert enrolled["line"].tolist() == [2, 2, 2, 3, 4]


def test_columns_by_name_where_they_have_these(tmp_path):
    text = 'FILENAME,Subject_ID,TEMPLATE_ID\n"a, b",10,1\n'
    assert read(tmp_path, G1=text).enrolled.iloc[0][["template", "subject"]].tolist() == [1, 10]


def test_other_headers_count_as_those_of_the_release(tmp_path):
    text = "tid,sid,name,name\n1,10,x,y\n"
    assert read(tmp_path, G1=text).enrolled.iloc[0][["template", "subject"]].tolist() == [1, 10]


def test_without_the_lists(tmp_path):
    lists = read(tmp_path, G1=None, G2=None, probe=None)
    assert len(lists.enrolled) == 0
    assert (
        "no ijbc_1N_gallery_G1.csv, ijbc_1N_gallery_G2.csv, ijbc_1N_probe_mixed.csv"
        in (lists.warnings[0])
    )
    assert read(tmp_path / "one").enrolled["list"].tolist() == [1, 2, 0, 0, 0]


DAMAGED = {
    "no header": ("G1", "1,10,1.jpg\n", ":1: .* is not a header"),
    "empty": ("G1", "", ":1: the list is empty"),
    "no image": ("G1", HEADER + "7,10,x\n", ":2: the template has no image, got '7,10,x'"),
    "subject nan": ("G1", HEADER + "1,10,x\n1,nan,x\n",
                    ":3: SUBJECT_ID must be a whole number from 0 to .*, got '1,nan,x'"),
    "subject negative": ("G1", HEADER + "1,-1,x\n", ":2: SUBJECT_ID must be a whole number from 0"),
    "no subject": ("G1", HEADER + "1,,x\n", ":2: SUBJECT_ID must be a whole number"),
    "few fields": ("G1", HEADER + "1,10,x\n1,10\n",
                   r":3: expected 3 fields \(TEMPLATE_ID SUBJECT_ID FILENAME\) .*, not 2"),
    "enrolled twice": ("G1", GALLERY_1 + "5,10,x\n",
                       ":5: the subject already has another template in this gallery"),
    "two subjects": ("probe", PROBES + "5,20,x\n",
                     r"probe_mixed\.csv:6: template 5 has subject 20 here, but 10 earlier"),
    "two subjects in two lists": ("probe", PROBES + "1,20,x\n",
                                  r"\.csv:6: template 1 has subject 20 here, but 10 earlier"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_row_is_named(tmp_path, case):
    short, text, problem = DAMAGED[case]
    with pytest.raises(UserError) as caught:
        read(tmp_path, **{short: text})
    assert re.search(problem, str(caught.value)), str(caught.value)
