import itertools

import numpy as np
import pytest

from frcore.data.ijb.lists import read_lists
from frcore.data.ijb.people import people_of
from frcore.errors import UserError
from tests.data.ijb import folder
from tests.data.ijb.folder import PAIRS, PROBES

NO_LISTS = {"G1": None, "G2": None, "probe": None}


def people(tmp_path, **changes):
    return people_of(read_lists(folder.write(tmp_path, **changes), "ijbc"), "ijbc")


def test_subjects_name_people(tmp_path):
    found = people(tmp_path)
    assert found.template.tolist() == [1, 2, 5, 6, 8]
    ten, twenty = "ijbc/subject/10", "ijbc/subject/20"
    assert found.identity.tolist() == [ten, twenty, ten, twenty, twenty]
    assert found.of(np.array([8, 1], np.int32)).tolist() == [twenty, ten]
    assert found.warnings == []


def test_without_lists_pairs_say_who_is_who(tmp_path):
    found = people(tmp_path, **NO_LISTS)
    assert found.identity.tolist() == ["ijbc/template/1", "ijbc/template/2", "ijbc/template/1",
                                       "ijbc/template/2", "ijbc/template/8"]  # fmt: skip
    assert found.alone.tolist() == [False, False, False, False, True]
    assert found.warnings[0].startswith("1 templates are in no genuine pair")


def test_a_subject_reaches_through_genuine_pairs(tmp_path):
    found = people(tmp_path, G2=None, probe=None)
    assert found.identity.tolist()[:3] == ["ijbc/subject/10", "ijbc/template/2", "ijbc/subject/10"]


def test_an_impostor_pair_of_one_person(tmp_path):
    with pytest.raises(UserError, match=r"label\.txt:6: templates 2 and 8 have the label 0"):
        people(tmp_path, pair=PAIRS + "2 8 0\n")
    with pytest.raises(UserError, match=r"^impostor pairs.*\n.*:6: templates 8 and 1"):
        people(tmp_path / "chain", pair="1 5 1\n2 6 1\n5 6 0\n5 8 1\n2 1 0\n8 1 0\n", **NO_LISTS)


def test_a_genuine_pair_of_two_subjects(tmp_path):
    with pytest.raises(UserError, match=r"subjects 10 \(template \d\), 20 \(template \d\)"):
        people(tmp_path, pair=PAIRS + "5 8 1\n".replace("0", "1"))
    with pytest.raises(UserError, match="subjects 10"):
        # Only a chain over template 8, which has no subject here, joins them.
        people(tmp_path / "chain", pair="1 8 1\n2 8 1\n",
               probe=PROBES.replace("8,20,7.jpg\n8,20,8.jpg\n", ""))  # fmt: skip


def test_components_by_a_slow_walk(tmp_path):
    rng = np.random.default_rng(3)
    count = 60
    person = rng.integers(0, 25, count)
    images = "".join(f"{t}.jpg {t} {t}\n" for t in range(count))
    points = " ".join(map(str, folder.landmarks()[0].ravel()))
    scores = "".join(f"{t}.jpg {points} 1\n" for t in range(count))
    pairs = [(a, b) for a, b in itertools.combinations(range(count), 2) if rng.random() < 0.3]
    text = "".join(f"{a} {b} {int(person[a] == person[b])}\n" for a, b in pairs)
    # A pair that is labelled impostor never joins; unjoined templates of a person stay apart,
    # unless an impostor label of one person would contradict: there is none by construction.
    found = people(tmp_path, face_tid=images, score=scores, pair=text, **NO_LISTS)
    reached = {t: {t} for t in range(count)}
    for _ in range(count):
        for a, b in pairs:
            if person[a] == person[b]:
                union = reached[a] | reached[b]
                reached[a] = reached[b] = union
                for other in union:
                    reached[other] = union
    expected = [f"ijbc/template/{min(reached[t])}" for t in range(count)]
    assert found.identity.tolist() == expected
