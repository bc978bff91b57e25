from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from frcore.data.verification.pair_lists import read_cfp
from frcore.errors import UserError
from frcore.evaluation.identification import search_benchmark
from frcore.evaluation.protocol import pooled_templates, score_templates
from frcore.study.parts import Evaluation
from tests.data.making import PLAIN, benchmark
from tests.data.verification.test_pair_lists import cfp, changed

__all__ = ["cfp"]


def section(root: Path, **more) -> dict:
    return {"kind": "cfp_templates", "images": str(root / "Data" / "Images"),
            "pairs": str(root / "Protocol"), **more}  # fmt: skip


def pictures(root: Path, person: int, view: str) -> list[Path]:
    return sorted((root / "Data" / "Images" / f"{person:03d}" / view).glob("*.jpg"))


def test_templates_and_galleries_against_the_folders(cfp, tmp_path):
    found = benchmark(tmp_path / "out", image=PLAIN, **section(cfp))
    name = found.index["name"]
    members: dict[int, list[str]] = {}
    for template, image in zip(found.templates["template"], found.templates["image"], strict=True):
        members.setdefault(template, []).append(name[image])
    in_gallery: dict[int, list[int]] = {1: [], 2: []}
    for gallery, template in zip(
        found.galleries["gallery"], found.galleries["template"], strict=True
    ):
        in_gallery[gallery].append(template)
    for person in range(1, 21):
        frontal = [path.relative_to(cfp / "Data/Images").as_posix()
                   for path in pictures(cfp, person, "frontal")]  # fmt: skip
        profile = f"{person:03d}/profile/01.jpg"
        mine = [template for template, images in members.items() if images == frontal]
        probe = [template for template, images in members.items() if images == [profile]]
        assert len(mine) == len(probe) == 1
        assert mine[0] in in_gallery[1 if person % 2 else 2]
        assert found.probes["template"].tolist().count(probe[0]) == 1
        pairs = found.template_pairs
        rows = pairs[pairs["b"] == probe[0]]
        assert sorted(rows["a"]) == sorted(in_gallery[1] + in_gallery[2])
        assert rows.loc[rows["same"], "a"].tolist() == mine
    assert len(members) == 40
    assert len(in_gallery[1]) == len(in_gallery[2]) == 10
    assert found.manifest.people == "numbered"
    assert found.manifest.storage == "in_place"


def test_every_probe_is_mated_in_one_gallery(cfp, tmp_path):
    found = benchmark(tmp_path / "out", image=PLAIN, **section(cfp))
    # An embedding per person: whoever is enrolled comes first.
    label = found.index["label"].to_numpy()
    vectors = np.eye(20, dtype=np.float32)[label]
    rows, seen = np.arange(len(label)), np.zeros(len(label), bool)
    pooled = pooled_templates(found, vectors, rows, seen, Evaluation(flip="none"))
    searched = search_benchmark(found, pooled)
    mated = np.stack([one.mated for one in searched.galleries.values()])
    np.testing.assert_array_equal(mated.sum(0), 1)
    for one in searched.galleries.values():
        np.testing.assert_array_equal(one.rank[one.mated], 1)
    scored = score_templates(found, pooled)
    np.testing.assert_array_equal(scored.scores > 0.5, scored.same)


def test_people_have_names_where_a_list_gives_them(cfp, tmp_path):
    names = cfp / "Data" / "list_name.txt"
    names.write_text("".join(f"Some  Name {chr(64 + n)}\r\n" for n in range(1, 21)))
    found = benchmark(tmp_path / "out", image=PLAIN, **section(cfp, names=str(names)))
    assert found.manifest.people == "named"
    who = found.index.set_index("name")["identity"]
    assert who["003/frontal/01.jpg"] == who["003/profile/01.jpg"] == "Some_Name_C"
    pair = read_cfp(cfp / "Protocol", "P", names)[0]
    assert (pair.a.identity, pair.b.identity) == ("Some_Name_A", "Some_Name_A")
    names.write_text("".join(f"Some Name {chr(64 + n)}\n" for n in range(1, 20)))
    with pytest.raises(UserError, match="has 19 names, so none of person 020"):
        read_cfp(cfp / "Protocol", "P", names)
    names.write_text("One\nTwo\nOne\n")
    with pytest.raises(UserError, match=r"list_name\.txt:3: duplicate name: it is also line 1"):
        read_cfp(cfp / "Protocol", "P", names)


def test_names_are_of_cfp_only(tmp_path):
    with pytest.raises(ValueError, match="names: given, but the images of calfw"):
        benchmark(tmp_path / "out", kind="pair_list", format="calfw", images="a", pairs="b",
                  names="c")  # fmt: skip


def test_how_images_were_aligned_is_kept(cfp, tmp_path):
    by = "three points"
    found = benchmark(tmp_path / "out", image=PLAIN, **section(cfp, aligned_by=by))
    assert found.manifest.alignment == by
    assert found.manifest.warnings == ()


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize(
    ("file", "line", "to", "problem"),
    [
        ("P", 20, None, "person 020 has frontal images but no profile one"),
        ("P", 3, "3 ../Data/Images/002/profile/01.jpg", r"P\.txt:3: 002/profile/01\.jpg is also"),
        ("F", 3, "3 ../../etc/passwd", r"must be \.\.\./001/frontal"),
        ("F", 3, "3 ../Data/Images/002/frontal/09.jpg", r"F\.txt:3: .*09\.jpg does not exist"),
    ],
)  # fmt: skip
def test_malformed_lists(cfp, tmp_path, file, line, to, problem):
    path = cfp / "Protocol" / f"Pair_list_{file}.txt"
    path.write_text(changed(path.read_text(), line, to))
    with pytest.raises(UserError, match=problem):
        benchmark(tmp_path / "out", image=PLAIN, **section(cfp))


def test_a_search_needs_people_to_choose_from(cfp, tmp_path):
    for side, count in (("F", 6), ("P", 3)):
        path = cfp / "Protocol" / f"Pair_list_{side}.txt"
        path.write_text("\n".join(path.read_text().splitlines()[:count]))
    with pytest.raises(UserError, match="3 people; two galleries need at least 4"):
        benchmark(tmp_path / "out", image=PLAIN, **section(cfp))
