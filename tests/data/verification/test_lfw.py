import itertools

import cv2
import numpy as np
import pytest

from frcore.data.check.check import check
from frcore.data.folders.folder import ImageFolder
from frcore.data.pixels.images import read_image
from frcore.errors import UserError
from frcore.study.data import Image
from tests.data.making import PLAIN, benchmark, train, write_person

TINY = Image(size=16, alignment="arcface-112")


@pytest.fixture
def root(tmp_path):
    """A small LFW: folders, lists of both views."""
    root = tmp_path / "lfw"
    for name, count in (("Ada", 3), ("Bea", 3), ("Cyd", 1), ("Dan", 2)):
        write_person(root / "aligned-112", name, count)
    (root / "protocol").mkdir()
    lists = {
        "peopleDevTrain.txt": "2\nAda\t2\nCyd\t1\n",
        "pairs.txt": "2\t1\nAda\t1\t2\nAda\t3\tCyd\t1\nBea\t1\t3\nBea\t1\tDan\t2\n",
        "pairsDevTest.txt": "1\nBea\t1\t2\nBea\t1\tDan\t1\n",
        "pairsDevTrain.txt": "1\nAda\t1\t2\nAda\t1\tCyd\t1\n",
    }
    for name, text in lists.items():
        (root / "protocol" / name).write_text(text)
    return root


def test_people_of_a_list(tmp_path, root):
    data = train(tmp_path / "out", image=PLAIN, kind="lfw", root=str(root))
    assert data.index["name"].tolist() == ["Ada/Ada_0001.jpg", "Ada/Ada_0002.jpg",
                                           "Cyd/Cyd_0001.jpg"]  # fmt: skip
    assert data.labels.tolist() == [0, 0, 1]
    with pytest.raises(UserError, match=r"lfw: a training set of 1 class"):
        train(tmp_path / "one", image=PLAIN, kind="lfw", root=str(root), min_images=2)
    (root / "protocol/peopleDevTrain.txt").write_text("3\nAda\t2\nBea\t3\nCyd\t1\n")
    fewer = train(tmp_path / "few", image=PLAIN, kind="lfw", root=str(root), min_images=2)
    assert set(fewer.index["identity"]) == {"Ada", "Bea"}


def test_view_2(tmp_path, root):
    data = benchmark(tmp_path / "out", image=PLAIN, kind="lfw_pairs", root=str(root), view=2)
    names = data.index["name"].to_numpy()
    assert [(names[a], names[b]) for a, b in data.pairs[["a", "b"]].to_numpy()] == [
        ("Ada/Ada_0001.jpg", "Ada/Ada_0002.jpg"), ("Ada/Ada_0003.jpg", "Cyd/Cyd_0001.jpg"),
        ("Bea/Bea_0001.jpg", "Bea/Bea_0003.jpg"), ("Bea/Bea_0001.jpg", "Dan/Dan_0002.jpg"),
    ]  # fmt: skip
    assert data.pairs["fold"].tolist() == [0, 0, 1, 1]
    assert data.manifest.warnings == ()


def test_view_1_has_a_threshold_split(tmp_path, root):
    data = benchmark(tmp_path / "out", image=PLAIN, kind="lfw_pairs", root=str(root), view=1)
    assert data.pairs["split"].tolist() == ["test", "test", "threshold", "threshold"]
    assert data.pairs["same"].tolist() == [True, False, True, False]
    assert "View 1" in data.manifest.warnings[0]


def test_people_in_two_folds_are_mentioned(tmp_path, root):
    path = root / "protocol" / "pairs.txt"
    path.write_text(path.read_text().replace("Dan\t2", "Ada\t2"))
    data = benchmark(tmp_path / "out", image=PLAIN, kind="lfw_pairs", root=str(root), view=2)
    assert "1 people are in more than one fold" in data.manifest.warnings[0]


def test_a_reordered_list_changes_the_hash(tmp_path, root):
    def prepared(out):
        return benchmark(tmp_path / out, image=PLAIN, kind="lfw_pairs", root=str(root), view=2)

    path = root / "protocol" / "pairs.txt"
    first = prepared("a").manifest.content_sha256
    assert prepared("b").manifest.content_sha256 == first
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *lines[2:], *lines[:2]]) + "\n")
    assert prepared("c").manifest.content_sha256 != first


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("1\nBea\t1\t9\nBea\t1\tDan\t1\n", r"pairsDevTest.txt:2: Bea/Bea_0009 does not exist"),
        (
            "1\nBae\t1\t2\nBea\t1\tDan\t1\n",
            r"^images.*\n.*Test.txt:2: nobody is called 'Bae'; did you mean 'Bea'",
        ),
    ],
)  # fmt: skip
def test_missing_images_name_the_line_of_the_list(tmp_path, root, given, message):
    (root / "protocol" / "pairsDevTest.txt").write_text(given)
    with pytest.raises(UserError, match=message):
        benchmark(tmp_path / "out", image=PLAIN, kind="lfw_pairs", root=str(root), view=1)


def test_missing_images_of_people_name_the_line(tmp_path, root):
    (root / "aligned-112" / "Ada" / "Ada_0002.jpg").unlink()
    with pytest.raises(UserError, match=r"peopleDevTrain.txt:2: Ada/Ada_0002 does not exist"):
        train(tmp_path / "out", image=PLAIN, kind="lfw", root=str(root))


def test_a_list_that_asks_for_a_billion_images(tmp_path, root):
    (root / "protocol" / "peopleDevTrain.txt").write_text("2\nAda\t1000000000\nNo\t999999999\n")
    with pytest.raises(UserError) as caught:
        train(tmp_path / "out", image=PLAIN, kind="lfw", root=str(root))
    assert "peopleDevTrain.txt:2: Ada/Ada_0004 does not exist" in str(caught.value)
    assert "peopleDevTrain.txt:3: nobody is called 'No'" in str(caught.value)
    (report,) = check(root)
    assert any("Ada_0004 does not exist" in problem for problem in report.problems)


def test_similar_names_are_looked_for_in_the_lines_that_are_shown(tmp_path, root, monkeypatch):
    """One search takes milliseconds among thousands of people, and a wrong `root` misses all."""
    names = [f"Nobody{number}" for number in range(300)]
    text = "".join(f"{name}\t1\n" for name in names)
    (root / "protocol" / "peopleDevTrain.txt").write_text(f"300\n{text}")
    asked = []
    monkeypatch.setattr(ImageFolder, "nearest", lambda _, name: asked.append(name))
    with pytest.raises(UserError, match="and 290 more"):
        train(tmp_path / "out", image=PLAIN, kind="lfw", root=str(root))
    assert asked[:10] == names[:10]
    assert set(asked) == set(names[:10])


def test_a_damaged_image_is_refused(tmp_path, root):
    path = root / "aligned-112" / "Bea" / "Bea_0002.jpg"
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"Bea_0002.jpg: .*truncated"):
        benchmark(tmp_path / "out", image=PLAIN, kind="lfw_pairs", root=str(root), view=1)


@pytest.mark.parametrize("part", ["aligned-112", "protocol"])
def test_a_root_without_its_parts(tmp_path, root, part):
    (root / part).rename(root / "elsewhere")
    with pytest.raises(UserError, match=f"has no folder {part}/"):
        train(tmp_path / "out", image=PLAIN, kind="lfw", root=str(root))


def test_pairs_over_any_folder(tmp_path, root):
    folder = root / "aligned-112"
    options = {"image": PLAIN, "kind": "folder_pairs", "root": str(folder)}
    apart = benchmark(tmp_path / "a", **options, pairs=str(root / "protocol" / "pairs.txt"))
    (folder / "list.txt").write_text((root / "protocol" / "pairs.txt").read_text())
    below = benchmark(tmp_path / "b", **options, pairs="list.txt")
    assert apart.manifest.content_sha256 == below.manifest.content_sha256
    with pytest.raises(UserError, match="correct `pairs`"):
        benchmark(tmp_path / "c", **options, pairs="other.txt")
    write_person(folder, "Eve", 1, suffix=".png")
    (folder / "Eve" / "Eve_0001.jpg").write_bytes(b"")
    (folder / "list.txt").write_text("1\nAda\t1\t2\nAda\t1\tEve\t1\n")
    with pytest.raises(UserError, match=r"ambiguous: Eve_0001.jpg, Eve_0001.png"):
        benchmark(tmp_path / "d", **options, pairs="list.txt")


@pytest.mark.slow
def test_the_official_training_people(tmp_path, shared_data):
    data = train(tmp_path, image=TINY, kind="lfw", root=str(shared_data / "lfw"), workers=None)
    assert (data.manifest.images, data.num_classes) == (9525, 4038)
    assert data.manifest.skipped == ()
    at = 4321
    path = shared_data / "lfw" / "aligned-112" / data.index["name"][at]
    source = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    # 112 to 16 pixels are whole blocks of 7.
    blocks = source.reshape(16, 7, 16, 7, 3).mean((1, 3))
    assert np.abs(data.images[at] - blocks).max() < 1.5


@pytest.mark.slow
def test_the_official_pairs(tmp_path, shared_data):
    root = str(shared_data / "lfw")
    two = benchmark(tmp_path / "2", image=TINY, kind="lfw_pairs", root=root, view=2)
    assert len(two.pairs) == 6000
    assert two.pairs["same"].sum() == 3000
    assert two.pairs.groupby("fold")["same"].agg(["sum", "size"]).to_numpy().tolist() == (
        [[300, 600]] * 10
    )
    who = two.index["identity"].to_numpy()
    folds = [set(who[part["a"]]) | set(who[part["b"]]) for _, part in two.pairs.groupby("fold")]
    assert all(not a & b for a, b in itertools.combinations(folds, 2))
    np.testing.assert_array_equal(two.pairs["same"], who[two.pairs["a"]] == who[two.pairs["b"]])

    one = benchmark(tmp_path / "1", image=TINY, kind="lfw_pairs", root=root, view=1)
    assert one.pairs.groupby("split")["same"].agg(["sum", "size"]).to_dict("index") == {
        "test": {"sum": 500, "size": 1000}, "threshold": {"sum": 1100, "size": 2200},
    }  # fmt: skip
    tested = one.pairs[one.pairs["split"] == "test"]
    chosen = one.pairs[one.pairs["split"] == "threshold"]
    who = one.index["identity"].to_numpy()
    assert not set(who[tested[["a", "b"]]].ravel()) & set(who[chosen[["a", "b"]]].ravel())


@pytest.mark.slow
def test_all_of_lfw_as_a_folder(tmp_path, shared_data):
    root = str(shared_data / "lfw" / "aligned-112")
    data = train(tmp_path, image=TINY, kind="folder", root=root, workers=None)
    assert (data.manifest.images, data.num_classes) == (13_233, 5749)


def test_decoding_agrees_with_opencv_on_real_faces(shared_data):
    paths = sorted((shared_data / "lfw" / "aligned-112").glob("A*/*.jpg"))[:20]
    assert len(paths) == 20
    for path in paths:
        other = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        assert np.abs(read_image(path).astype(int) - other).max() <= 4
