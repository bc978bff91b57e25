from __future__ import annotations

import io
import os
import pickle
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from sklearn.model_selection import KFold

from frcore.data.check.check import check
from frcore.data.pixels.decoding import BadImageError
from frcore.data.prepared.folder import Prepared
from frcore.data.verification.insightface_bin import VerificationBin
from frcore.errors import UserError
from tests.data.making import PLAIN, benchmark, pixels

PYTHON_2 = sorted((Path(__file__).parent / "bins").glob("python2_*.bin"))
"""Written by Python 2.7.18: ([four PNG files' content], [True, False])."""


def encoded(seed: int, suffix: str = "png") -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels(seed, 16)).save(stream, suffix)
    return stream.getvalue()


IMAGES = [encoded(seed) for seed in range(8)]
SAME = [True, False, False, True]


def opened(tmp_path, value, protocol=4) -> VerificationBin:
    path = tmp_path / "set.bin"
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return VerificationBin(path)


def contents(found: VerificationBin) -> list[bytes]:
    return [bytes(found.images.encoded(row)) for row in range(len(found))]


WRITINGS = {
    "bytes": (IMAGES, SAME),
    "two lists": [IMAGES, SAME],
    "text": ([image.decode("latin-1") for image in IMAGES], SAME),
    "arrays": ([np.frombuffer(image, np.uint8) for image in IMAGES], SAME),
    "OpenCV's arrays": ([np.frombuffer(i, np.uint8).reshape(-1, 1).copy() for i in IMAGES], SAME),
    "numpy bools": (IMAGES, [np.bool_(same) for same in SAME]),
    "a numpy array of bools": (IMAGES, np.array(SAME)),
    "ints": (IMAGES, [int(same) for same in SAME]),
    "numpy ints": (IMAGES, [np.uint8(same) for same in SAME]),
}


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", sorted(WRITINGS))
def test_every_writing(tmp_path, name, protocol):
    found = opened(tmp_path, WRITINGS[name], protocol)
    assert contents(found) == IMAGES
    assert found.same.tolist() == SAME


def test_byte_arrays_of_protocol_5(tmp_path):
    found = opened(tmp_path, ([bytearray(image) for image in IMAGES], SAME), 5)
    assert contents(found) == IMAGES


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("path", PYTHON_2, ids=lambda path: path.stem)
def test_written_by_python_2(path):
    found = VerificationBin(path)
    assert found.same.tolist() == [True, False]
    assert len(found) == 4
    images, labels = pickle.loads(path.read_bytes(), encoding="latin1")
    assert [content.decode("latin-1") for content in contents(found)] == images
    assert labels == found.same.tolist()
    for row in range(4):
        decoded = np.array(Pillow.open(io.BytesIO(contents(found)[row])))
        assert decoded.shape == (16, 16, 3)
        assert decoded[0, 0, 2] == 40 * row


def test_there_are_files_of_python_2():
    assert len(PYTHON_2) == 6


def test_images_are_not_copied(tmp_path):
    found = opened(tmp_path, (IMAGES, SAME))
    assert isinstance(found.images.encoded(3), memoryview)
    assert found.images.encoded(3).readonly


@pytest.mark.parametrize("pairs", [1, 2, 10, 37])
def test_folds_are_those_of_kfold(tmp_path, pairs):
    found = opened(tmp_path, ([IMAGES[0]] * 2 * pairs, [True] * pairs))
    expected = np.empty(pairs, int)
    if pairs > 1:
        for number, (_, test) in enumerate(KFold(min(10, pairs)).split(np.zeros(pairs))):
            expected[test] = number
    else:
        expected[:] = 0
    np.testing.assert_array_equal(found.fold, expected)


def test_people_as_far_as_pictures_tell(tmp_path):
    # Pairs: (0, 1) same; (2, 0) different: the first file again; (3, 4) same; (5, 3) same.
    order = [0, 1, 2, 0, 3, 4, 5, 3]
    found = opened(tmp_path, ([IMAGES[i] for i in order], [True, False, True, True]))
    who = found.people
    assert who[0] == who[1] == who[3]
    assert who[4] == who[5] == who[6] == who[7]
    assert len({who[0], who[2], who[4]}) == 3
    # Without any repeated file, each pair has its own people.
    alone = opened(tmp_path, (IMAGES, SAME)).people
    assert alone[0] == alone[1]
    assert alone[6] == alone[7]
    assert np.unique(alone).size == 6


def test_a_wrong_label_is_not_followed(tmp_path):
    # Files 0 and 1 are one person by the first pair, two by the second.
    order = [0, 1, 0, 1, 2, 3, 2, 4]
    found = opened(tmp_path, ([IMAGES[i] for i in order], [True, False, True, True]))
    assert np.unique(found.people).size == 5
    assert (found.people[::2] == found.people[1::2]).tolist() == [True, False, True, True]


def test_as_a_benchmark(tmp_path):
    path = tmp_path / "tiny.bin"
    path.write_bytes(pickle.dumps((IMAGES, SAME)))
    prepared = benchmark(tmp_path / "out", image=PLAIN, kind="insightface_bin", path=str(path))
    assert prepared.manifest.storage == "in_place"
    assert prepared.manifest.people == "linked"
    assert "intervals are too narrow" in prepared.manifest.warnings[0]
    assert prepared.pairs["same"].tolist() == SAME
    assert prepared.pairs[["a", "b"]].to_numpy().ravel().tolist() == list(range(8))
    assert prepared.pairs["fold"].tolist() == [0, 1, 2, 3]
    assert (prepared.pairs["split"] == "test").all()
    assert prepared.index["name"].tolist() == [f"tiny.bin#{row}" for row in range(8)]
    np.testing.assert_array_equal(prepared.images[5], pixels(5, 16))
    np.testing.assert_array_equal(prepared.images[::-1][0], pixels(7, 16))
    again = Prepared.open(tmp_path / "out")
    again.verify()
    part = again.images.source.take(np.array([6, 1]))
    assert part.names.tolist() == ["tiny.bin#6", "tiny.bin#1"]
    assert bytes(part.encoded(0)) == IMAGES[6]
    path.write_bytes(pickle.dumps((IMAGES[::-1], SAME)))
    with pytest.raises(UserError, match="have changed"):
        Prepared.open(tmp_path / "out")


def test_a_damaged_image_is_named(tmp_path):
    path = tmp_path / "tiny.bin"
    images = [*IMAGES[:3], IMAGES[3][:60], *IMAGES[4:6], b"", b"no image"]
    path.write_bytes(pickle.dumps((images, SAME)))
    with pytest.raises(
        UserError, match=r"(?s)3 images cannot be used.*tiny.bin#3: .*tiny.bin#6: .*#7: not"
    ):
        benchmark(tmp_path / "out", image=PLAIN, kind="insightface_bin", path=str(path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"", "is empty"),
        (b"\xff\xd8\xff\xe0 a JPEG", "the byte 0xff"),
        (b"\x80\x02K\x01.", "content is a int"),
        ((IMAGES, SAME, 1), "content is a tuple"),
        ((IMAGES[:7], SAME), "7 images for 4 pairs"),
        (([], []), "0 images for 0 pairs"),
        ((IMAGES, [True, False, None, True]), "label 2 is None"),
        ((IMAGES, [True, False, 2, True]), "label 2 is int"),
        ((IMAGES, [True, False, "x", True]), "label 2 is string of bytes"),
        (([*IMAGES[:7], 5], SAME), "image 7 is a int"),
        (([*IMAGES[:7], [b"x"]], SAME), "image 7 is a list"),
        (([*IMAGES[:7], np.zeros((4, 4, 3), np.uint8)], SAME), "image 7 is an array of shape"),
        (([*IMAGES[:7], np.zeros(4, bool)], SAME), "image 7 is a numpy array"),
        ((b"abc", SAME), "the images are a string"),
        ((IMAGES, 5), "the labels are a int"),
        (({}, SAME), "EMPTY_DICT"),
    ],
)
def test_other_content_is_refused(tmp_path, value, problem):
    with pytest.raises(UserError, match=problem):
        opened(tmp_path, value)


@pytest.mark.fast_cases(1)
@pytest.mark.parametrize("protocol", range(6))
def test_a_download_that_stopped(tmp_path, protocol):
    """Cut anywhere: nobody is suspected."""
    whole = pickle.dumps((IMAGES[:2], [True]), protocol)
    for kept in range(1, len(whole)):
        with pytest.raises(UserError, match="the file ends too early; check the download"):
            opened(tmp_path, whole[:kept])


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html>", b"PK\3\4" + bytes(30), b"version https://git-lfs.github.com/spec/v1\n",
     b"\x1f\x8b\x08" + bytes(30), b"Access denied", pickle.dumps(5)],
)  # fmt: skip
def test_another_file_than_was_meant(tmp_path, content):
    with pytest.raises(UserError, match="check the download: it may be damaged, or another file"):
        opened(tmp_path, content)


def test_one_image_that_is_named_many_times_is_hashed_once(tmp_path, monkeypatch):
    """Else a file of n bytes could ask for a hash over n² of them."""
    image = IMAGES[0] * 300
    found = opened(tmp_path, ([image] * 2000, [True] * 1000))
    hashed = []
    monkeypatch.setattr("frcore.data.verification.insightface_bin.sha256",
                        lambda content: hashed.append(len(content)) or sha256(content))  # fmt: skip
    assert found.people.tolist() == [0] * 2000
    assert hashed == [len(image)]


@pytest.mark.parametrize(("same", "missing"), [(True, "impostor"), (False, "genuine")])
def test_pairs_of_one_kind_are_named(tmp_path, same, missing):
    path = tmp_path / "tiny.bin"
    path.write_bytes(pickle.dumps((IMAGES, [same] * 4)))
    problem = (
        f"there are no {missing} pairs, so neither accuracy nor TAR at a FAR can be computed; give "
        "a list with both kinds"
    )
    (report,) = check(path)
    assert report.problems == [problem]
    data = benchmark(tmp_path / "out", image=PLAIN, kind="insightface_bin", path=str(path))
    assert problem.replace(" pairs,", " pairs in the split 'test',") in data.manifest.warnings
    (report,) = check(tmp_path / "out")
    assert report.problems == [problem.replace(" pairs,", " pairs in the split 'test',")]


def test_a_label_that_is_quoted_wrongly(tmp_path):
    whole = pickle.dumps((IMAGES, [np.bool_(same) for same in SAME]), 0)
    assert whole.count(b"V\\u0000\n") == 1
    with pytest.raises(UserError, match="a label is not stored as bytes"):
        opened(tmp_path, whole.replace(b"V\\u0000\n", b"V\\u000\n"))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read.*must be an InsightFace \.bin file"):
        VerificationBin(tmp_path / "none.bin")
    with pytest.raises(UserError, match="cannot be read"):
        VerificationBin(tmp_path)


class Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_program_in_the_list_does_not_run(tmp_path, protocol):
    trace = tmp_path / "ran"
    value = ([*IMAGES[:7], Evil(f"touch {trace}")], SAME)
    with pytest.raises(UserError, match=r"reference to '\w+\.system'.*do not load it with Python"):
        opened(tmp_path, value, protocol)
    assert not trace.exists()
    pickle.loads(pickle.dumps(value, protocol))
    assert trace.exists()


@pytest.mark.slow
def test_a_large_set_takes_little_memory(tmp_path):
    import tracemalloc

    pairs, size = 6000, 20_000
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        blob = os.urandom(size)
        images = [row.to_bytes(4, "big") + blob for row in range(2 * pairs)]
        pickle.dump((images, [True] * pairs), file, 4)
    del images
    tracemalloc.start()
    found = VerificationBin(path)
    assert bytes(found.images.encoded(11_999)[:4]) == (11_999).to_bytes(4, "big")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 200e6
    assert peak < 10e6


@pytest.mark.slow
def test_lfw_packed_is_lfw(tmp_path, shared_data):
    """View 2 packed as InsightFace does it is the benchmark that its lists give."""
    root = shared_data / "lfw"
    listed = benchmark(tmp_path / "lfw", image=PLAIN, kind="lfw_pairs", root=str(root), view=2)
    rows = listed.pairs[["a", "b"]].to_numpy().ravel()
    files = [root / "aligned-112" / listed.index["name"][row] for row in rows]
    same = listed.pairs["same"].tolist()
    (tmp_path / "lfw.bin").write_bytes(pickle.dumps(([f.read_bytes() for f in files], same)))
    packed = benchmark(
        tmp_path / "bin", image=PLAIN, kind="insightface_bin", path=str(tmp_path / "lfw.bin")
    )
    for column in ("same", "fold"):
        np.testing.assert_array_equal(packed.pairs[column], listed.pairs[column])
    for start in range(0, 12_000, 3000):
        some = np.arange(start, start + 50)
        np.testing.assert_array_equal(packed.images[some], listed.images[rows[some]])
    # What pictures tell of people is true, and far from all.
    who = listed.index["identity"].to_numpy()[rows]
    code = packed.index["identity"].to_numpy()
    assert len(set(zip(code, who, strict=True))) == len(set(code))
    assert len(set(who)) == 4281
    assert len(set(code)) > len(set(who))


VALID = [pickle.dumps((IMAGES[:4], [True, np.bool_(False)]), protocol) for protocol in range(6)] + [
    pickle.dumps(([np.frombuffer(image, np.uint8) for image in IMAGES[:4]], [True, False]), 2),
    *(path.read_bytes() for path in PYTHON_2[:3]),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@given(
    st.sampled_from(VALID),
    st.lists(
        st.tuples(
            st.integers(0, 2**16), st.integers(0, 40), st.binary(max_size=8), st.booleans()
        ),
        min_size=1, max_size=6,
    ),
)  # fmt: skip
@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files_only_ever_raise_user_errors(tmp_path, data, edits):
    changed = bytearray(data)
    for place, cut, insert, front in edits:
        # The opcodes are mostly in front of, and between, the images' content.
        at = place % (min(len(changed), 400 if front else 2**16) + 1)
        changed[at : at + cut % 7] = insert
    path = tmp_path / "damaged.bin"
    path.write_bytes(changed)
    try:
        found = VerificationBin(path)
        contents(found)
        assert found.people.size == 2 * found.same.size
    except (UserError, BadImageError):
        pass
