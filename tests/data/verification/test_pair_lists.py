from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from frcore.data.verification.pair_lists import read_cfp, read_two_lines
from frcore.errors import UserError
from tests.data.making import PLAIN, benchmark, pixels


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels(seed, 16)).save(path)


@pytest.fixture
def cfp(tmp_path) -> Path:
    """A CFP of 20 people, two to a fold, as its Readme lays it out."""
    root = tmp_path / "cfp"
    lists = {"F": [], "P": []}
    for person in range(1, 21):
        for kind, view, count in (("F", "frontal", 2), ("P", "profile", 1)):
            for number in range(1, count + 1):
                path = f"Data/Images/{person:03d}/{view}/{number:02d}.jpg"
                save(root / path, person)
                lists[kind].append(path)
    protocol = root / "Protocol"
    protocol.mkdir()
    for kind, paths in lists.items():
        text = "".join(f"{n} ../{path}\n" for n, path in enumerate(paths, 1))
        (protocol / f"Pair_list_{kind}.txt").write_text(text)
    for fold in range(10):
        first, second = 2 * fold, 2 * fold + 1  # people of this fold, from 0
        frontal = {who: (2 * who + 1, 2 * who + 2) for who in (first, second)}
        content = {
            "FP": (f"{frontal[first][0]},{first + 1}\n{frontal[second][1]},{second + 1}\n",
                   f"{frontal[first][0]},{second + 1}\r\n{frontal[second][0]},{first + 1}\r\n"),
            "FF": (f"{frontal[first][0]},{frontal[first][1]}\n",
                   f"{frontal[first][0]},{frontal[second][1]}\n"),
        }  # fmt: skip
        for split, (same, diff) in content.items():
            folder = protocol / "Split" / split / f"{fold + 1:02d}"
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same)
            (folder / "diff.txt").write_text(diff)
    return root


def two_lines(folds_in_token: bool, people: int = 20) -> str:
    """A list of two genuine and two impostor pairs in each fold."""
    genuine, impostor = [], []
    for pair in range(people):
        a, b = f"Some_One_{chr(65 + pair)}", f"Some_One_{chr(65 + (pair + 1) % people)}"
        token = pair // 2 + 1 if folds_in_token else 1
        genuine += [f"{a}_0001.jpg {token}", f"{a}_0002.jpg {token}"]
        impostor += [f"{a}_0001.jpg 0", f"{b}_0002.jpg 0"]
    return "\n".join(genuine + impostor) + "\n"


@pytest.fixture
def lfw_like(tmp_path) -> Path:
    root = tmp_path / "flat"
    for person in range(20):
        for number in (1, 2):
            save(root / f"Some_One_{chr(65 + person)}_{number:04d}.jpg", person)
    (tmp_path / "calfw.txt").write_text(two_lines(True))
    (tmp_path / "cplfw.txt").write_text(two_lines(False))
    return root


@pytest.mark.parametrize(("against", "pairs"), [("P", 40), ("F", 20)])
def test_cfp(cfp, tmp_path, against, pairs):
    form = {"P": "cfp_fp", "F": "cfp_ff"}[against]
    found = benchmark(
        tmp_path / "out", image=PLAIN, kind="pair_list", format=form,
        images=str(cfp / "Data" / "Images"), pairs=str(cfp / "Protocol"),
    )  # fmt: skip
    assert len(found.pairs) == pairs
    assert found.manifest.people == "numbered"
    assert found.manifest.storage == "in_place"
    assert found.manifest.warnings == ()
    assert found.pairs.groupby("fold").size().tolist() == [pairs // 10] * 10
    name = found.index["name"].to_numpy()
    who = np.array([path.split("/")[0] for path in name])
    np.testing.assert_array_equal(
        found.pairs["same"], who[found.pairs["a"]] == who[found.pairs["b"]]
    )
    views = [path.split("/")[1] for path in name[found.pairs["b"]]]
    assert set(views) == {"profile" if against == "P" else "frontal"}
    assert {path.split("/")[1] for path in name[found.pairs["a"]]} == {"frontal"}
    # By hand: the first genuine pair of fold 3 is frontal 5 of person 5 against his other one.
    first = found.pairs[(found.pairs["fold"] == 2) & found.pairs["same"]].iloc[0]
    other = "005/profile/01.jpg" if against == "P" else "005/frontal/02.jpg"
    assert (name[first["a"]], name[first["b"]]) == ("005/frontal/01.jpg", other)
    shown = Pillow.open(cfp / "Data" / "Images" / name[first["a"]])
    assert np.abs(found.images[first["a"]].astype(int) - np.array(shown)).max() <= 4


def facex_zoo(path: Path) -> list[tuple[str, str, int]]:
    """The pairs in the order of FaceX-Zoo's parser: block after block of both kinds."""
    words = [line.split() for line in path.read_text().splitlines()]
    listed = [
        (words[i][0], words[i + 1][0], int(words[i][1]) != 0) for i in range(0, len(words), 2)
    ]
    half, size = len(listed) // 2, len(listed) // 20
    ordered = []
    for fold in range(10):
        ordered += listed[fold * size : (fold + 1) * size]
        ordered += listed[half + fold * size : half + (fold + 1) * size]
    return ordered


@pytest.mark.parametrize("form", ["calfw", "cplfw"])
def test_two_lines(lfw_like, tmp_path, form):
    path = tmp_path / f"{form}.txt"
    found = benchmark(
        tmp_path / "out", image=PLAIN, kind="pair_list", format=form,
        images=str(lfw_like), pairs=str(path),
    )  # fmt: skip
    name = found.index["name"].to_numpy()
    pairs = [(name[a], name[b], same) for a, b, same in found.pairs[["a", "b", "same"]].to_numpy()]
    assert pairs == facex_zoo(path)
    assert found.pairs["fold"].tolist() == np.repeat(np.arange(10), 4).tolist()
    assert found.manifest.people == "named"
    assert set(found.index["identity"]) == {f"Some_One_{chr(65 + n)}" for n in range(20)}
    # Impostor pairs here pair each with the next, across folds.
    assert "in more than one fold" in found.manifest.warnings[0]


def test_aligned_images_may_be_of_another_kind(lfw_like, tmp_path):
    (lfw_like / "Some_One_A_0001.jpg").unlink()
    save(lfw_like / "Some_One_A_0001.png", 3)
    found = benchmark(
        tmp_path / "out", image=PLAIN, kind="pair_list", format="cplfw",
        images=str(lfw_like), pairs=str(tmp_path / "cplfw.txt"),
    )  # fmt: skip
    row = found.index["name"].tolist().index("Some_One_A_0001.png")
    np.testing.assert_array_equal(found.images[row], pixels(3, 16))


def test_missing_and_damaged_images_are_named(lfw_like, tmp_path):
    options = {"image": PLAIN, "kind": "pair_list", "format": "cplfw", "images": str(lfw_like),
               "pairs": str(tmp_path / "cplfw.txt")}  # fmt: skip
    (lfw_like / "Some_One_C_0002.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"^images cannot be used:\n.*C_0002\.jpg"):
        benchmark(tmp_path / "out", **options)
    (lfw_like / "Some_One_C_0002.jpg").unlink()
    with pytest.raises(UserError, match=r"cplfw\.txt:5: .*C_0002\.jpg does not exist"):
        benchmark(tmp_path / "out", **options)
    with pytest.raises(UserError, match="is not a folder"):
        benchmark(tmp_path / "out", **(options | {"images": str(tmp_path / "none")}))


def changed(text: str, line: int, to: str | None) -> str:
    lines = text.splitlines()
    lines[line - 1 : line] = [] if to is None else [to]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("line", "to", "problem"),
    [
        (2, "Some_One_A_0002.jpg 3", r":2: the token differs from that of line 1"),
        (2, "Some_One_A_0002.jpg", r":2: a line is an image and a token"),
        (2, "Some_One_B_0002.jpg 1", r":1: a genuine pair shows Some_One_A and Some_One_B"),
        (2, "Some_One_A_0001.jpg 1", r":1: a pair needs two different images"),
        (2, "../../x_0001.jpg 1", r":2: an image must have a name like"),
        (2, "Some_One_A.jpg 1", r":2: an image must have a name like"),
        (80, None, r":79: each pair takes two lines"),
        (1, "Some_One_A_0001.jpg x", r":2: the token differs"),
        (42, "Some_One_A_0002.jpg 0", r":41: an impostor pair shows Some_One_A"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("folds_in_token", [True, False])
def test_malformed_two_lines(tmp_path, line, to, problem, folds_in_token):
    path = tmp_path / "list.txt"
    path.write_text(changed(two_lines(folds_in_token), line, to))
    with pytest.raises(UserError, match=problem):
        read_two_lines(path, folds_in_token=folds_in_token)


def test_tokens_must_be_those_of_the_format(tmp_path):
    path = tmp_path / "list.txt"
    for written in (True, False):
        path.write_text(two_lines(written))
        with pytest.raises(UserError, match="the token of a genuine pair of fold 2 is wrong"):
            read_two_lines(path, folds_in_token=not written)
    lines = two_lines(False).splitlines()
    path.write_text("\n".join(lines[40:] + lines[:40]))
    with pytest.raises(UserError, match="impostor pairs must come after all genuine"):
        read_two_lines(path, folds_in_token=False)
    path.write_text("\n".join(lines[:10] + lines[40:50]))
    with pytest.raises(UserError, match="each of 10 folds needs"):
        read_two_lines(path, folds_in_token=False)


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("file", "line", "to", "problem"),
    [
        ("Pair_list_F.txt", 3, "4 ../Data/Images/002/frontal/01.jpg", "3 must have the number"),
        ("Pair_list_F.txt", 3, "3 ../../etc/passwd", r"must be \.\.\./001/frontal"),
        ("Split/FP/03/same.txt", 1, "999,5", "there are 40 images, so no number 999"),
        ("Split/FP/03/same.txt", 1, "9", "a pair is two numbers"),
        ("Split/FP/03/same.txt", 1, "9,6", "a genuine pair shows cfp/005 and cfp/006"),
        ("Split/FP/03/diff.txt", 1, "9,5", "an impostor pair shows cfp/005 and cfp/005"),
        ("Split/FP/03/diff.txt", 1, "0,5", "must be a whole number from 1"),
    ],
)  # fmt: skip
def test_malformed_cfp(cfp, file, line, to, problem):
    path = cfp / "Protocol" / file
    path.write_text(changed(path.read_text(), line, to))
    with pytest.raises(UserError, match=problem) as caught:
        read_cfp(cfp / "Protocol", "P")
    assert Path(file).name in str(caught.value)


def test_an_incomplete_protocol(cfp):
    (cfp / "Protocol" / "Split" / "FF" / "07" / "diff.txt").unlink()
    with pytest.raises(UserError, match=r"07.diff\.txt cannot be read"):
        read_cfp(cfp / "Protocol", "F")
