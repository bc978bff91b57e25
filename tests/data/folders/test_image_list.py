import os
import re

import numpy as np
import pytest

from frcore.data.folders.image_list import read_list
from frcore.data.prepared.folder import Prepared
from frcore.errors import UserError
from tests.data.making import train
from tests.data.people import IMAGE, assert_same_images, copied, write_people


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "people"
    names = [path.relative_to(root).as_posix() for path in write_people(root)]
    return root, names


def numbers(names):
    found = sorted({name.split("/")[0] for name in names})
    return [found.index(name.split("/")[0]) for name in names]


def write(path, lines, *, end="\n", begin=b""):
    path.write_bytes(begin + end.join(lines).encode())
    return path


def prepared(tmp_path, root, **settings):
    return train(tmp_path / "out", IMAGE, **{"kind": "list", "root": str(root),
                                             "list": "list.txt", **settings})  # fmt: skip


FORMS = {
    "label first": lambda at, name, label: f"{label} {name}",
    "label first, comma": lambda at, name, label: f"{label}, {name}",
    "label first, tab": lambda at, name, label: f"{label}\t{name}",
    "blank": lambda at, name, label: f"{name} {label}",
    "blanks": lambda at, name, label: f"./{name}   {label}  ",
    "comma": lambda at, name, label: f"{name},{label}",
    "tab": lambda at, name, label: f"{name}\t{label}",
    "im2rec": lambda at, name, label: f"{at}\t{label}.000000\t{name}",
    "insightface": lambda at, name, label: f"1\t{name}\t{label}",
    "landmarks": lambda at, name, label: f"1\t{name}\t{label}\t0\t0\t20\t20\t38.2\t51.7",
}


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("form", FORMS)
def test_every_layout_gives_the_images_of_the_folder(tmp_path, people, form):
    root, names = people
    lines = [FORMS[form](*each) for each in zip(range(9), names, numbers(names), strict=True)]
    write(root / "list.txt", lines)
    found = prepared(tmp_path, root)
    assert_same_images(found, copied(root, tmp_path / "copied"))
    assert found.index["name"].tolist() == names
    assert found.index["identity"].tolist() == [f"list/list/{k}" for k in numbers(names)]


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("end", "begin", "last"),
    [("\r\n", b"", ""), ("\n", b"\xef\xbb\xbf", "\n\n"), ("\r\n", b"\xef\xbb\xbf", "\r\n")],
)
def test_line_ends_and_byte_order_marks(tmp_path, people, end, begin, last):
    root, names = people
    lines = [f"{name},{who}" for name, who in zip(names, numbers(names), strict=True)]
    write(root / "list.txt", [*lines[:-1], lines[-1] + last], end=end, begin=begin)
    assert_same_images(prepared(tmp_path, root), copied(root, tmp_path / "copied"))


def test_names_of_identities_and_another_order(tmp_path, people):
    root, names = people
    order = [8, 0, 3, 7, 1]
    path = write(
        tmp_path / "elsewhere.csv", [f"{names[k]},{names[k].split('/')[0]}" for k in order]
    )
    found = prepared(tmp_path, root, list=str(path), labels="name", identities=3)
    whole = copied(root, tmp_path / "copied")
    np.testing.assert_array_equal(found.images[:], whole.images[np.array(order)])
    assert found.index["identity"].tolist() == [names[k].split("/")[0] for k in order]
    assert found.labels.tolist() == whole.labels[order].tolist()
    assert found.index["true_identity"].tolist() == found.index["identity"].tolist()


def test_paths_with_blanks_and_commas(tmp_path):
    root = tmp_path / "people"
    paths = write_people(root)
    paths[0].rename(root / "Ada" / "a b, c.jpg")
    write(root / "list.txt", ["Ada/a b, c.jpg 0", "Bea/Bea_0001.png 1"])
    assert prepared(tmp_path, root).index["name"].tolist() == ["Ada/a b, c.jpg", "Bea/Bea_0001.png"]


def test_few_images_gaps_and_counts(tmp_path, people):
    root, names = people
    labels = [3 * label for label in numbers(names)]
    write(root / "list.txt", [f"{n} {k}" for n, k in zip(names, labels, strict=True)])
    with pytest.raises(UserError, match=r"no image has the label 1, but labels go up to 6"):
        prepared(tmp_path, root)
    with pytest.raises(UserError, match=r"(?s)4 labels are not within 0 to 5.*list.txt:6: label 6"):
        prepared(tmp_path, root, identities=6)
    found = prepared(tmp_path, root, identities=7, min_images=3)
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert found.index["identity"].unique().tolist() == ["list/list/0", "list/list/6"]
    assert any("fewer than 3 images" in text for text in found.manifest.warnings)
    with pytest.raises(UserError, match="lower `min_images`"):
        prepared(tmp_path, root, identities=7, min_images=30)
    with pytest.raises(UserError, match="there are 3 identities, but `identities` is 4"):
        prepared(tmp_path, root, labels="name", identities=4)


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["Ada/Ada_0001.jpg 0", "Ada/none.jpg 0", "Ada 1"],
         r"(?s)2 images .*list.txt:2: 'Ada/none.jpg' cannot be read: No such.*:3: 'Ada' is not a"),
        (["a.jpg 0", "../secret.jpg 1"], r"list.txt:2: the path must lead below `root`, .* got"),
        (["a.jpg 0", "x/../../secret.jpg 1"], "list.txt:2: the path must lead below"),
        (["/etc/hosts 0"], "list.txt:1: the path must lead below"),
        (["C:\\a.jpg 0"], "list.txt:1: the path must lead below"),
        (["..\\a.jpg 0"], "list.txt:1: the path must lead below"),
        (["a//b.jpg 0"], "without .* empty parts"),
        (["a/./b.jpg 0"], "without .* '.' and empty parts"),
        (["Ada/Ada_0001.jpg"], "list.txt:1: a line must be a path and a label"),
        (["Ada/Ada_0001.jpg x"], "list.txt:1: 'x'.*\n.*labels: name"),
        (["Ada/Ada_0001.jpg 1.5"], "list.txt:1: '1.5'"),
        (["Ada/Ada_0001.jpg -1"], "list.txt:1: label -1"),
        (["Ada/Ada_0001.jpg 99999999999"], "list.txt:1: '99999999999'"),
        (["0\t1\tAda/Ada_0001.jpg", "1\t1\t2\tAda/Ada_0002.jpg"], "2: 4 tab-separated fields"),
        (["0\t1\t0.5\t2\tAda/Ada_0001.jpg"],
         r"list.txt:1: 5 tab-separated fields are an index, 3 labels and a path \(im2rec\)"),
        (["Ada/Ada_0001.jpg\t0\tAda"], "tab-separated fields, but the first is not a number"),
        (["image label", "Ada/Ada_0001.jpg 0"], "list.txt:1: 'image' .*a list has no header"),
        (["path,label", "Ada/Ada_0001.jpg,0"], "list.txt:1: 'path' .*a list has no header"),
        (['"Ada/Ada_0001.jpg",0'], "list.txt:1: .*without quotation marks"),
        (["Ada/Ada_0001.jpg,Ada,0"], "list.txt:1: .*a line has two fields, path and label"),
        (["0,Ada/Ada_0001.jpg,0"], "list.txt:1: .*a line has two fields, path and label"),
        (["Ada/Ada_0001.jpg;0"], "separated by a tab, a comma or a space"),
        (["0\tAda/Ada_0001.jpg\t0"], r"not aligned \(the first field is not 1\)"),
        (["Ada/Ada_0001.jpg 0", "", "Ada/Ada_0002.jpg 0", "./Ada/Ada_0001.jpg 1"],
         r"list.txt:4: the image is a duplicate of line 1, got './Ada/Ada_0001.jpg 1'"),
        (["", "  "], "is empty"),
        ([], "is empty"),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used(tmp_path, people, lines, message):
    root, _ = people
    write(root / "list.txt", lines)
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, root)
    assert not (tmp_path / "out").exists()


def test_lists_that_cannot_be_read(tmp_path, people):
    root, names = people
    with pytest.raises(UserError, match=r"list.txt cannot be read: No such file"):
        prepared(tmp_path, root)
    with pytest.raises(UserError, match="is not a folder"):
        prepared(tmp_path, root / "nowhere")
    (root / "list.txt").write_bytes(b"a.jpg 0\n\xff.jpg 1\n")
    with pytest.raises(UserError, match=r"list.txt:2: the line is not UTF-8"):
        prepared(tmp_path, root)
    with pytest.raises(UserError, match=r"Ada_0001.jpg:\d+: the line is not UTF-8"):
        prepared(tmp_path, root, list=names[0])
    (root / "list.txt").write_bytes(b"a" * 2**17)
    with pytest.raises(UserError, match=r"list.txt:1: a line must be a path and a label"):
        prepared(tmp_path, root)


def test_links_may_stay_inside_but_not_lead_out(tmp_path, people):
    root, names = people
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.jpg").write_bytes((root / names[0]).read_bytes())
    (root / "inner.jpg").symlink_to(root / names[0])
    write(root / "list.txt", ["inner.jpg 0", f"{names[1]} 1"])
    assert len(prepared(tmp_path, root).images) == 2
    (root / "out.jpg").symlink_to(outside / "x.jpg")
    (root / "folder").symlink_to(outside)
    (root / "gone.jpg").symlink_to(root / "nothing.jpg")
    write(root / "list.txt", ["inner.jpg 0", "out.jpg 1", "folder/x.jpg 1", "gone.jpg 1"])
    with pytest.raises(UserError) as error:
        prepared(tmp_path, root)
    said = str(error.value).splitlines()
    assert said[0].startswith("3 images")
    assert "list.txt:2: 'out.jpg' leads out of the folder by a symbolic link" in said[1]
    assert "list.txt:3: 'folder/x.jpg' leads out of the folder by a symbolic link" in said[2]
    assert "list.txt:4: 'gone.jpg' cannot be read: No such file" in said[3]


def test_damaged_images_are_refused_or_skipped(tmp_path, people):
    root, names = people
    content = (root / names[1]).read_bytes()
    (root / names[1]).write_bytes(content[: len(content) // 2])
    write(root / "list.txt", [f"{n} {k}" for n, k in zip(names, numbers(names), strict=True)])
    with pytest.raises(UserError, match=r"Ada_0002.jpg: a truncated JPEG"):
        prepared(tmp_path, root)
    found = prepared(tmp_path, root, on_bad_image="skip")
    assert found.index["name"].tolist() == [names[0], *names[2:]]
    assert [bad.file for bad in found.manifest.skipped] == [names[1]]
    unchecked = prepared(tmp_path, root, check="none")
    assert len(unchecked.images) == 9
    with pytest.raises(UserError, match=r"Ada_0002.jpg: a truncated JPEG"):
        unchecked.images[[0, 1]]


def test_a_long_list(tmp_path):
    lines = [f"{k // 7}/{k}.jpg {k // 7}" for k in range(5000)]
    found = read_list(write(tmp_path / "list.txt", lines, end="\r\n", begin=b"\xef\xbb\xbf"))
    assert found.paths.tolist() == [x.split()[0] for x in lines]
    assert found.labels.tolist() == [x.split()[1] for x in lines]
    assert found.where(4999) == f"{tmp_path}/list.txt:5000"


def test_a_changed_image_is_noticed(tmp_path, people):
    root, names = people
    write(root / "list.txt", [f"{names[0]} 0", f"{names[3]} 1"])
    prepared(tmp_path, root)
    os.utime(root / names[0], ns=(0, 0))
    Prepared.open(tmp_path / "out")  # touched, and the same
    data = bytearray((root / names[0]).read_bytes())
    data[-3] ^= 1
    (root / names[0]).write_bytes(data)
    with pytest.raises(UserError, match=re.escape(names[0])):
        Prepared.open(tmp_path / "out")


# --- folders -----------------------------------------------------------------------------------


def test_a_folder_in_place_is_the_copied_one(tmp_path, people):
    root, _ = people
    expected = copied(root, tmp_path / "copied")
    found = train(tmp_path / "out", IMAGE, kind="folder", root=str(root), storage="in_place")
    assert_same_images(found, expected)
    assert found.index.equals(expected.index)
    few = {"min_images": 3, "kind": "folder", "root": str(root)}
    found = train(tmp_path / "out", IMAGE, storage="in_place", **few)
    assert found.index.equals(train(tmp_path / "copied", IMAGE, **few).index)


def test_a_damaged_file_of_a_folder_in_place(tmp_path, people):
    root, names = people
    (root / names[4]).write_bytes(b"no image")
    spec = {"kind": "folder", "root": str(root)}
    with pytest.raises(UserError, match=r"Bea_0002.png: not an image"):
        train(tmp_path / "out", IMAGE, storage="in_place", **spec)
    skip = {**spec, "on_bad_image": "skip"}
    found = train(tmp_path / "out", IMAGE, storage="in_place", **skip)
    expected = train(tmp_path / "copied", IMAGE, **skip)
    assert_same_images(found, expected)
    assert found.index.equals(expected.index)
    assert found.manifest.skipped == expected.manifest.skipped
