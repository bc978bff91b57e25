import re

import numpy as np
import pytest

from frcore.data.ijb.lists import read_lists
from frcore.errors import UserError
from tests.data.ijb import folder
from tests.data.ijb.folder import IMAGES, PAIRS, line, score_list


def read(tmp_path, **changes):
    return read_lists(folder.write(tmp_path, **changes), "ijbc")


def test_what_the_lists_say(tmp_path):
    lists = read(tmp_path)
    assert lists.names.to_pylist() == [f"{number}.jpg" for number in range(1, 9)]
    assert lists.template.tolist() == [1, 1, 1, 2, 5, 6, 8, 8]
    assert lists.medium.tolist() == [100, 100, 101, 200, 102, 201, 202, 203]
    assert lists.templates.tolist() == [1, 2, 5, 6, 8]
    np.testing.assert_array_equal(lists.landmarks, folder.landmarks().astype(np.float32))
    np.testing.assert_array_equal(lists.score, np.float32([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96,
                                                           0.97]))  # fmt: skip
    assert [lists.a.tolist(), lists.b.tolist()] == [[1, 2, 1, 2, 1], [5, 6, 6, 5, 8]]
    assert lists.same.tolist() == [True, True, False, False, False]
    assert lists.enrolled[["list", "template", "subject"]].to_numpy().tolist() == [
        [1, 1, 10], [2, 2, 20], [0, 5, 10], [0, 6, 20], [0, 8, 20]
    ]  # fmt: skip
    assert lists.warnings == [
        "not the released IJB-C: 8 images instead of 469,375, 5 templates instead of 23,124, "
        "5 pairs instead of 15,658,489, 2 genuine instead of 19,557"
    ]


def test_ijb_b_has_its_own_names(tmp_path):
    folder.write(tmp_path)
    folder.as_ijbb(tmp_path)
    assert len(read_lists(tmp_path, "ijbb").enrolled) == 5
    with pytest.raises(UserError, match=r"ijbc_face_tid_mid\.txt cannot be read"):
        read_lists(tmp_path, "ijbc")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " \n"),
        lambda text: text.removesuffix("\n"),
    ],
    ids=["byte-order mark", "CRLF", "space at each end", "no last newline"],
)
def test_harmless_differences(tmp_path, change):
    plain = read(tmp_path / "plain")
    gallery = change(folder.GALLERY_1).replace(" \n", "\n")
    other = read(tmp_path / "other", face_tid=change(IMAGES), pair=change(PAIRS),
                 score=change(score_list()), G1=gallery)  # fmt: skip
    assert other.names.to_pylist() == plain.names.to_pylist()
    for name in ("template", "medium", "landmarks", "score", "a", "b", "same"):
        np.testing.assert_array_equal(getattr(other, name), getattr(plain, name))
    assert other.enrolled.equals(plain.enrolled)


def field(number, value):
    """Replace one field of a line, counted from 0."""

    def change(text):
        fields = text.split(" ")
        fields[number] = value
        return " ".join(fields)

    return change


DAMAGED = {
    # lists of images
    "image name leads out": ("face_tid", 3, field(0, "../3.jpg"), "path below loose_crop/"),
    "absolute name": ("face_tid", 3, field(0, "/etc/passwd"), "path below loose_crop/"),
    "name of another system": ("face_tid", 3, field(0, "..\\3.jpg"), "path below loose_crop/"),
    "drive": ("face_tid", 3, field(0, "C:3.jpg"), "path below loose_crop/"),
    "no name": ("face_tid", 3, field(0, ""), "path below loose_crop/"),
    "control character": ("face_tid", 3, field(0, "3\x00.jpg"), "path below loose_crop/"),
    "image twice": ("face_tid", 3, field(0, "1.jpg"), "the image is a duplicate of line 1"),
    "template no number": ("face_tid", 2, field(1, "one"), "template must be a whole number"),
    "template fraction": ("face_tid", 2, field(1, "1.0"), "template must be a whole number"),
    "template negative": ("face_tid", 2, field(1, "-1"), "template must be a whole number"),
    "medium too large": ("face_tid", 2, field(2, "4294967296"), "medium must be a whole number"),
    "medium missing": ("face_tid", 2, lambda t: t[:-4], "expected 3 fields"),
    "tabs": ("face_tid", 2, lambda t: t.replace(" ", "\t"), "not tabs"),
    "commas": ("face_tid", 2, lambda t: t.replace(" ", ","), "not commas"),
    "two spaces": ("face_tid", 2, lambda t: t.replace(" ", "  "), "not several"),
    "empty line": ("face_tid", 4, lambda t: "", "the line is empty"),
    "header": ("face_tid", 1, lambda t: "name tid mid", "looks like a header"),
    # landmarks
    "other image": ("score", 4, field(0, "5.jpg"), r"line 4 of ijbc_face_tid_mid\.txt is 4\.jpg"),
    "nan": ("score", 4, field(3, "nan"), "x2 must be a finite number"),
    "infinite": ("score", 4, field(3, "-inf"), "x2 must be a finite number"),
    "too large": ("score", 4, field(3, "1e999"), "x2 must be a finite number"),
    "text": ("score", 4, field(3, "?"), "x2 must be a finite number"),
    "far away": ("score", 4, field(3, "1e9"), "1,000,000 pixels away"),
    "one point": ("score", 4, lambda t: "4.jpg" + 10 * " 7" + " 1", "landmarks are one point"),
    "line": ("score", 4, lambda t: "4.jpg 1 1 2 2 3 3 4 4 5 5 1", "on one line"),
    "score negative": ("score", 4, field(11, "-0.1"), "score must not be negative"),
    "score nan": ("score", 4, field(11, "nan"), "score must be a finite number"),
    "score missing": ("score", 4, lambda t: t.rpartition(" ")[0], "expected 12 fields"),
    "score header": ("score", 1, lambda t: "name x1 y1 x2 y2 x3 y3 x4 y4 x5 y5 score",
                     "looks like a header"),
    # pairs
    "unknown template": ("pair", 3, field(1, "7"), "template b has no image"),
    "label 2": ("pair", 3, field(2, "2"), "label must be 0 or 1"),
    "label -1": ("pair", 3, field(2, "-1"), "label must be 0 or 1"),
    "label True": ("pair", 3, field(2, "True"), "label must be 0 or 1"),
    "with itself": ("pair", 3, field(1, "1"), "paired with itself"),
    "pair twice": ("pair", 3, lambda t: "1 5 1", "the pair is a duplicate of line 1"),
    "pair turned round": ("pair", 3, lambda t: "5 1 1", "the pair is a duplicate of line 1"),
    "pair with both labels": ("pair", 3, lambda t: "1 5 0", "the pair is a duplicate of line 1"),
    "pair header": ("pair", 1, lambda t: "p1 p2 label", "looks like a header"),
}  # fmt: skip

TEXTS = {"face_tid": IMAGES, "pair": PAIRS}


@pytest.mark.fast_cases(17)
@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_line_is_named(tmp_path, case):
    short, number, change, problem = DAMAGED[case]
    text = TEXTS.get(short) or score_list()
    with pytest.raises(UserError) as caught:
        read(tmp_path, **{short: line(text, number, change)})
    assert re.search(rf"ijbc_\w*{short}\w*\.txt:{number}: .*{problem}", str(caught.value))


def test_one_line_of_the_trailing_spaces_is_not_empty(tmp_path):
    text = line(IMAGES.replace("\n", " \n"), 3, lambda line: line + "7")
    with pytest.raises(
        UserError, match=r"tid_mid\.txt:3: expected 3 fields .*, not 4, got '3\.jpg 1 101 7'"
    ):
        read(tmp_path, face_tid=text)


def test_bytes_that_are_no_text(tmp_path):
    with pytest.raises(
        UserError, match=r"tid_mid\.txt:2: the line is not UTF-8, got '\\udcff\.jpg"
    ):
        read(tmp_path, face_tid=IMAGES.encode().replace(b"2.jpg", b"\xff.jpg"))


def test_a_line_without_an_end_is_not_read_whole(tmp_path):
    with pytest.raises(UserError, match="longer than 65,536 characters"):
        read(tmp_path, face_tid="1.jpg 1 1" + "0" * 20_000_000)


@pytest.mark.parametrize("text", ["", "\n", "\n\n"])
def test_an_empty_list(tmp_path, text):
    with pytest.raises(UserError, match=r":1: the (list|line) is empty"):
        read(tmp_path, pair=text)


def test_the_first_ten_problems_and_how_many(tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path, pair="1 5 1\n" + "x y z\n" * 30)
    text = str(caught.value)
    assert text.startswith("30 lines are wrong")
    assert text.count("whole number") == 10
    assert "… and 20 more" in text
    assert "use the list as released" in text


def test_a_file_of_another_kind_is_not_read_to_its_end(tmp_path):
    with pytest.raises(UserError, match=r"^1000 lines or more are wrong") as caught:
        read(tmp_path, pair="1\t5\t1\n" * 5000)
    assert "… and 990 more" in str(caught.value)


def test_problems_that_the_parser_cannot_see_are_counted_too(tmp_path):
    with pytest.raises(UserError, match=r"^15 lines are wrong") as caught:
        read(tmp_path, pair="1 5 1\n" + "1 77 0\n" * 15)
    assert ":2: template b has no image, got '1 77 0'" in str(caught.value)
    assert "… and 5 more" in str(caught.value)


def test_lists_of_different_length(tmp_path):
    with pytest.raises(UserError, match=r"has 7 lines, but .*tid_mid\.txt has 8"):
        read(tmp_path, score=score_list().rpartition("8.jpg")[0])


def test_equal_names_in_another_order(tmp_path):
    lines = score_list().splitlines(keepends=True)
    with pytest.raises(UserError, match=r"^2 lines are wrong.*\n.*score\.txt:2: line 2 of"):
        read(tmp_path, score="".join([lines[0], lines[2], lines[1], *lines[3:]]))


def test_repeated_pairs_can_be_kept_if_their_labels_agree(tmp_path):
    root = folder.write(tmp_path, pair=PAIRS + "1 5 1\n6 1 0\n")
    with pytest.raises(UserError, match="`repeated_pairs: keep`"):
        read_lists(root, "ijbc")
    lists = read_lists(root, "ijbc", keep_repeated_pairs=True)
    assert len(lists.a) == 7
    assert lists.warnings[0] == "2 duplicate pairs count as often as they are listed"
    folder.write(tmp_path, pair=PAIRS + "5 1 0\n")
    with pytest.raises(UserError, match=r"label\.txt:1: the pair is also listed with the label 0"):
        read_lists(root, "ijbc", keep_repeated_pairs=True)


def test_a_missing_list(tmp_path):
    with pytest.raises(UserError, match=r"pair_label\.txt cannot be read: No such file"):
        read(tmp_path, pair=None)


def test_the_folder_above(tmp_path):
    folder.write(tmp_path / "IJBC")
    with pytest.raises(UserError, match=r"no folder 'meta'; did you mean .*IJBC, which has one"):
        read_lists(tmp_path, "ijbc")
    with pytest.raises(UserError, match="no folder 'meta'"):
        read_lists(tmp_path / "nowhere", "ijbc")
