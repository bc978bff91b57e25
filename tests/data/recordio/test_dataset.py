import io
import pickle
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from torch.utils.data import DataLoader

from frcore.data.pixels.decoding import BadImageError
from frcore.data.recordio.container import RecordError, RecordFile
from frcore.data.recordio.dataset import RecordIODataset, read_property
from frcore.errors import UserError
from tests.data.making import pixels
from tests.data.recordio.rec_writer import MAGIC, insightface, packed, part, record, write_rec


def jpeg(picture, **options):
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "JPEG", **options)
    return buffer.getvalue()


LABELS = [0, 0, 1, 2, 2, 2]
JPEGS = [jpeg(pixels(row)) for row in range(6)]


def decoded(content):
    return np.array(Pillow.open(io.BytesIO(content)).convert("RGB"))


@pytest.fixture(params=["insightface", "im2rec"])
def layout(request):
    return request.param


def contents(layout, labels=LABELS, images=JPEGS):
    if layout == "insightface":
        return insightface(labels, images)
    return [(row, packed(label, image, key=row))
            for row, (label, image) in enumerate(zip(labels, images, strict=True))]  # fmt: skip


@pytest.mark.parametrize("idx", [True, False])
def test_images_and_labels(tmp_path, layout, idx):
    data = RecordIODataset(write_rec(tmp_path / "train.rec", contents(layout), idx=idx))
    assert len(data) == 6
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == LABELS
    assert data.num_classes == 3
    assert data.images.keys[0] == (1 if layout == "insightface" else 0)
    for row, (image, label) in enumerate(data):
        assert bytes(data.encoded(row)) == JPEGS[row]
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, decoded(JPEGS[row]))
        assert (type(label), label) == (int, LABELS[row])
    np.testing.assert_array_equal(data[-1][0], data[5][0])
    for row in (6, -7):
        with pytest.raises(IndexError):
            data[row]


def test_images_follow_their_keys_not_the_file(tmp_path):
    shuffled = [contents("im2rec")[row] for row in (3, 1, 5, 0, 4, 2)]
    data = RecordIODataset(write_rec(tmp_path / "a.rec", shuffled))
    assert data.labels.tolist() == LABELS
    scanned = RecordIODataset(write_rec(tmp_path / "b.rec", shuffled, idx=False))
    assert scanned.labels.tolist() == [LABELS[row] for row in (3, 1, 5, 0, 4, 2)]


def test_where_the_file_is_found(tmp_path):
    write_rec(tmp_path / "one" / "faces.rec", contents("im2rec"))
    assert len(RecordIODataset(tmp_path / "one")) == 6
    write_rec(tmp_path / "one" / "more.rec", contents("im2rec"))
    with pytest.raises(UserError, match=r"several: faces\.rec, more\.rec"):
        RecordIODataset(tmp_path / "one")
    write_rec(tmp_path / "one" / "train.rec", contents("im2rec")[:4])
    assert len(RecordIODataset(tmp_path / "one")) == 4
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no train\.rec; other \.rec files there: none"):
        RecordIODataset(tmp_path / "none")
    with pytest.raises(UserError, match="No such file"):
        RecordIODataset(tmp_path / "missing.rec")
    apart = tmp_path / "elsewhere.idx"
    (tmp_path / "one" / "more.idx").replace(apart)
    apart.write_text("".join(apart.read_text().splitlines(keepends=True)[:2]))
    assert len(RecordIODataset(tmp_path / "one" / "more.rec", apart)) == 2
    assert len(RecordIODataset(tmp_path / "one" / "more.rec")) == 6


# --- split records -------------------------------------------------------------------------------

SPLIT = [
    MAGIC, MAGIC * 3, b"abcd" + MAGIC, MAGIC + b"ab", b"abc" + MAGIC, b"abcdefg" + MAGIC + MAGIC,
    b"x" * 8 + MAGIC + b"y" * 5 + MAGIC + b"z" * 3 + MAGIC, MAGIC[:3], b"a" + MAGIC + b"bcd",
]  # fmt: skip


@pytest.mark.parametrize("idx", [True, False])
def test_images_that_hold_the_magic(tmp_path, idx):
    path = write_rec(tmp_path / "a.rec", contents("im2rec", range(len(SPLIT)), SPLIT), idx=idx)
    kinds = RecordFile(path).words
    assert (np.count_nonzero(kinds == int.from_bytes(MAGIC, "little"))) > len(SPLIT)
    data = RecordIODataset(path)
    assert [bytes(data.encoded(row)) for row in range(len(data))] == SPLIT
    assert data.labels.tolist() == list(range(len(SPLIT)))


@pytest.mark.parametrize("idx", [True, False])
def test_headers_that_hold_the_magic(tmp_path, idx):
    # As its id, and as one of its labels, which is then no identity.
    key = int.from_bytes(MAGIC + b"\0\0\0\0", "little")
    (odd,) = struct.unpack("<f", MAGIC)
    records = [(0, packed(1, JPEGS[0], key=key)), (1, packed([0, odd], JPEGS[1])),
               (2, packed([odd, 2], JPEGS[2]))]  # fmt: skip
    path = write_rec(tmp_path / "a.rec", records[:2], idx=idx)
    data = RecordIODataset(path)
    assert data.labels.tolist() == [1, 0]
    assert [bytes(data.encoded(row)) for row in (0, 1)] == JPEGS[:2]
    path = write_rec(tmp_path / "b.rec", records[2:], idx=idx)
    assert RecordIODataset(path, label=1, relabel=True).stored.tolist() == [2]
    with pytest.raises(UserError, match=rf"record {2 if idx else 0}: label -1\.8"):
        RecordIODataset(path)


def test_a_writer_that_does_not_split(tmp_path):
    # Not mxnet's, but other writers forget it; the lengths still tell where records begin.
    whole = b"".join(part(0, packed(row, image)) for row, image in enumerate(SPLIT))
    (tmp_path / "a.rec").write_bytes(whole)
    data = RecordIODataset(tmp_path / "a.rec")
    assert [bytes(data.encoded(row)) for row in range(len(data))] == SPLIT


# --- labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "said"),
    [(0.5, "label 0.5"), (-1, "label -1"), (float("nan"), "label nan"), (float("inf"), "label inf"),
     (2**24, "label 16777216"), (2**25, "label 33554432")],
)  # fmt: skip
def test_labels_that_are_no_identities(tmp_path, layout, label, said):
    path = write_rec(tmp_path / "a.rec", contents(layout, [0, label], JPEGS[:2]))
    key = 2 if layout == "insightface" else 1
    with pytest.raises(UserError, match=rf"(?s)record {key}: {said}.*0 to 16777215"):
        RecordIODataset(path)


def test_the_largest_exact_label(tmp_path):
    path = write_rec(tmp_path / "a.rec", contents("im2rec", [2**24 - 1], JPEGS[:1]))
    assert RecordIODataset(path, num_classes=2**24).labels.tolist() == [2**24 - 1]


def test_labels_beyond_the_number_of_identities(tmp_path, layout):
    path = write_rec(tmp_path / "train.rec", contents(layout))
    with pytest.raises(UserError, match=r"(?s)3 labels of .*below 2, the number in num_classes"):
        RecordIODataset(path, num_classes=2)
    (tmp_path / "property").write_text("2,112,112")
    with pytest.raises(UserError, match=r"not below 2, the number in .*property"):
        RecordIODataset(path)
    assert RecordIODataset(path, num_classes=3).num_classes == 3


def test_labels_with_gaps(tmp_path):
    path = write_rec(tmp_path / "train.rec", contents("im2rec", [0, 4, 2, 4, 0, 2]))
    message = "2 of the labels 0 to 4 have no image, the first is 1"
    with pytest.raises(UserError, match=message):
        RecordIODataset(path)
    given = RecordIODataset(path, num_classes=7)
    assert (given.num_classes, given.labels.tolist()) == (7, [0, 4, 2, 4, 0, 2])
    again = RecordIODataset(path, relabel=True)
    assert (again.num_classes, again.labels.tolist()) == (3, [0, 2, 1, 2, 0, 1])
    assert again.stored.tolist() == [0, 2, 4]
    assert again.notes == [f"{message}; the others were renumbered"]


@pytest.mark.parametrize("content", ["", "a,112,112", "0,112,112", "3", "3,112,112,112", "\xff"])
def test_a_property_that_is_none(tmp_path, content):
    (tmp_path / "property").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match="identities,height,width"):
        read_property(tmp_path / "train.rec")


def test_property_and_labels_must_agree(tmp_path):
    path = write_rec(tmp_path / "train.rec", contents("insightface"))
    (tmp_path / "property").write_text("3,112,112\n")
    assert RecordIODataset(path).num_classes == 3
    (tmp_path / "property").write_text("5,112,112\n")
    with pytest.raises(UserError, match="2 of the labels 0 to 4 have no image, the first is 3"):
        RecordIODataset(path)


@pytest.mark.parametrize("idx", [True, False])
def test_several_labels_in_a_record(tmp_path, layout, idx):
    labels = [[0, 9, 0.25], [1, 8, 0.5], [0, 7, 0.125]]
    path = write_rec(tmp_path / "a.rec", contents(layout, labels, JPEGS[:3]), idx=idx)
    assert RecordIODataset(path).labels.tolist() == [0, 1, 0]
    assert RecordIODataset(path, label=1, relabel=True).stored.tolist() == [7, 8, 9]
    with pytest.raises(UserError, match=r"label 0\.25"):
        RecordIODataset(path, label=2)
    with pytest.raises(UserError, match=r"has 3 labels, so no number 3 \(counted from 0\)"):
        RecordIODataset(path, label=3)
    assert bytes(RecordIODataset(path).encoded(2)) == JPEGS[2]


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 30, 200, -5, -4])
@pytest.mark.parametrize("idx", [True, False])
def test_a_truncated_file(tmp_path, layout, kept, idx):
    path = write_rec(tmp_path / "a.rec", contents(layout), idx=idx)
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    with pytest.raises(UserError, match=r"truncated|does not begin"):
        RecordIODataset(path)


@pytest.mark.parametrize("missing", [1, 4, 5])
def test_a_record_that_the_file_cuts_off_is_not_read(tmp_path, missing):
    path = tmp_path / "a.rec"
    path.write_bytes(part(0, bytes(12))[:-missing])
    with pytest.raises(RecordError, match="truncated"):
        RecordFile(path).record(0)


def test_a_wrong_magic(tmp_path, layout):
    path = write_rec(tmp_path / "a.rec", contents(layout))
    content = bytearray(path.read_bytes())
    lines = path.with_suffix(".idx").read_text().splitlines()
    key, offset = map(int, lines[3].split("\t"))
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"record {key} at offset .*is not the magic"):
        RecordIODataset(path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(UserError, match=r"record 3: no record at offset"):
        RecordIODataset(path)
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="does not begin"):
        RecordIODataset(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [("0\t0\n1\t99999996\n", "record 1 at offset 99999996"), ("0\t0\n1\t-4\n", "offset -4"),
     ("0\t0\n1\t2\n", "offset 2"), ("0\t0\n1\t4\n", "record 1 at offset 4: no record"),
     ("0\t0\n0\t700\n", "0 is a duplicate key"),
     ("1\t0\n2\t0\n", "record 2 at offset 0 begins inside"),
     ("", "cannot be read|empty"), ("\n", "cannot be read|empty"), ("0 0\n", "cannot be read"),
     ("0\t0\t0\n", "cannot be read"), ("0\n", "cannot be read"), ("a\tb\n", "cannot be read"),
     ("0\t0.5\n", "cannot be read"), ("0\t99999999999999999999\n", "cannot be read"),
     ("0\t\n", "cannot be read"), ("\xff\xfe\t0\n", "cannot be read"),
     ('0\t"0"\n', "cannot be read")],
)  # fmt: skip
def test_an_index_that_does_not_fit(tmp_path, lines, message):
    path = write_rec(tmp_path / "a.rec", contents("im2rec"))
    path.with_suffix(".idx").write_text(lines, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        RecordIODataset(path)


def test_an_index_into_a_split_record(tmp_path):
    path = write_rec(tmp_path / "a.rec", [(0, packed(0, b"abcd" * 4 + MAGIC + b"abcd"))])
    second = path.read_bytes().rindex(MAGIC)
    path.with_suffix(".idx").write_text(f"0\t{second}\n")
    with pytest.raises(UserError, match="inside a split record"):
        RecordIODataset(path)


def test_an_image_cut_short_is_named(tmp_path, layout):
    images = [*JPEGS[:2], JPEGS[2][:-10], *JPEGS[3:]]
    data = RecordIODataset(write_rec(tmp_path / "a.rec", contents(layout, LABELS, images)))
    assert data[1][0].shape == (20, 20, 3)
    key = 3 if layout == "insightface" else 2
    with pytest.raises(UserError, match=rf"image 2 \(record {key}\) cannot be used: a truncated"):
        data[2]


def test_records_without_images(tmp_path):
    path = write_rec(tmp_path / "a.rec", [(0, packed(0, JPEGS[0])), (1, packed(1, b""))])
    with pytest.raises(UserError, match=r"(?s)have no image.*record 1"):
        RecordIODataset(path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(UserError, match=r"(?s)have no image.*record 1"):
        RecordIODataset(path)
    path = write_rec(tmp_path / "b.rec", [(0, b"too short")])
    with pytest.raises(
        UserError, match="record 0 at offset 0: a record of 9 bytes is too short for its header"
    ):
        RecordIODataset(path)
    path = write_rec(tmp_path / "c.rec", [(0, struct.pack("<IfQQ", 10**6, 0, 0, 0) + b"abcd")])
    with pytest.raises(UserError, match="too short for 1000000 labels"):
        RecordIODataset(path)


def test_a_header_record_of_another_file(tmp_path):
    records = insightface(LABELS, JPEGS)
    fewer = [*records[:-1], (0, packed([4, 6], b""))]
    path = write_rec(tmp_path / "a.rec", fewer)
    with pytest.raises(UserError, match=r"(?s)record 4, but images are 1 to 3"):
        RecordIODataset(path)
    path.with_suffix(".idx").unlink()
    with pytest.raises(UserError, match="none of them is a header record for 6 images"):
        RecordIODataset(path)
    path = write_rec(tmp_path / "b.rec", [records[0], records[1], records[-1]])
    with pytest.raises(
        UserError, match=r"b\.idx: the header record counts 6 images, the index has 2"
    ):
        RecordIODataset(path)
    more = RecordIODataset(path, skip=True)
    assert more.notes == ["the header record counts 6 images, the index has 2"]
    assert more.labels.tolist() == [0, 0]


@pytest.mark.fast_cases(4)
@pytest.mark.parametrize("idx", [True, False])
@pytest.mark.parametrize("lost", [0, 2, 5])
def test_an_empty_record_is_a_lost_image(tmp_path, layout, idx, lost):
    images = [b"" if row == lost else image for row, image in enumerate(JPEGS)]
    path = write_rec(tmp_path / "a.rec", contents(layout, LABELS, images), idx=idx)
    first = 1 if layout == "insightface" else 0
    with pytest.raises(UserError, match=rf"(?s)^records of .*no image.*record {lost + first}\n"):
        RecordIODataset(path)
    data = RecordIODataset(path, skip=True, relabel=True)
    assert data.empty.tolist() == [lost + first]
    kept = [row for row in range(6) if row != lost]
    assert data.images.keys.tolist() == [row + first for row in kept]
    assert [bytes(data.encoded(row)) for row in range(5)] == [JPEGS[row] for row in kept]
    assert data.stored[data.labels].tolist() == [LABELS[row] for row in kept]


@pytest.mark.parametrize("kept", range(1, 6))
def test_a_short_index(tmp_path, layout, kept):
    """Cut at the end of a line, which leaves a valid index of fewer records."""
    path = write_rec(tmp_path / "a.rec", contents(layout))
    index = path.with_suffix(".idx")
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines[:kept]))
    begin = int(lines[kept].split("\t")[1])
    left = path.stat().st_size - begin
    with pytest.raises(
        UserError, match=rf"a\.idx: {left:,} bytes of the \.rec, from byte {begin:,} "
    ):
        RecordIODataset(path)
    assert RecordIODataset(path, skip=True, relabel=True).labels.tolist() == LABELS[:kept]
    index.unlink()
    assert RecordIODataset(path).labels.tolist() == LABELS


def test_an_index_cut_inside_a_line(tmp_path, layout):
    path = write_rec(tmp_path / "a.rec", contents(layout))
    index = path.with_suffix(".idx")
    whole = index.read_text()
    for kept in range(1, len(whole)):
        index.write_text(whole[:kept])
        if whole[:kept] in (whole, whole.rstrip("\n")):
            continue
        with pytest.raises(UserError, match=r"\.idx|truncated"):
            RecordIODataset(path)


def test_records_of_an_index_may_not_overlap(tmp_path):
    """Each would be as long as the rest of the file, and reading all of them would take n²."""
    count = 2000
    heads = [MAGIC + (32 * (count - row)).to_bytes(4, "little") + bytes(24) for row in range(count)]
    (tmp_path / "a.rec").write_bytes(b"".join(heads) + bytes(8))
    (tmp_path / "a.idx").write_text("".join(f"{row}\t{32 * row}\n" for row in range(count)))
    with pytest.raises(UserError, match="at offset 32 begins inside record 0 at offset 0"):
        RecordIODataset(tmp_path / "a.rec")


@pytest.mark.parametrize("images", [42_474_557, 42_474_559, 2**24, 2**24 + 2])
def test_more_images_than_a_float32_counts(tmp_path, images):
    # WebFace42M: its header record says 42,474,560 where it means 42,474,558.
    header = packed([images + 1, images + 3], b"")
    records = [(images - 1, packed(0, JPEGS[0])), (images, packed(1, JPEGS[1])),
               (images + 9, packed([1, 2], b"")), (0, header)]  # fmt: skip
    data = RecordIODataset(write_rec(tmp_path / "a.rec", records))
    assert data.images.keys.tolist() == [images - 1, images]
    assert data.notes == []


# --- processes -----------------------------------------------------------------------------------


def test_copies_open_the_file_anew(tmp_path):
    data = RecordIODataset(write_rec(tmp_path / "a.rec", contents("insightface")))
    pickled = pickle.dumps(data)
    # No pixels in it.
    assert len(pickled) < 3000
    copy = pickle.loads(pickled)
    assert copy.labels.tolist() == LABELS
    np.testing.assert_array_equal(copy[4][0], data[4][0])
    with data.path.open("ab") as file:
        file.write(b"0000")
    with pytest.raises(UserError, match="now has"):
        pickle.loads(pickled)


def _sum(image):
    return int(image.sum())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_of_torch(tmp_path, workers):
    path = write_rec(tmp_path / "a.rec", contents("insightface"))
    # A copy made anew is tested above; to start Python anew costs seconds.
    context = "fork" if workers else None
    loader = DataLoader(RecordIODataset(path), batch_size=4, num_workers=workers,
                        multiprocessing_context=context)  # fmt: skip
    found = list(loader)
    assert [tuple(images.shape) for images, _ in found] == [(4, 20, 20, 3), (2, 20, 20, 3)]
    assert [label for _, labels in found for label in labels.tolist()] == LABELS
    sums = [total for total, _ in RecordIODataset(path, transform=_sum)]
    assert sums == [int(image.sum()) for images, _ in found for image in images]


# --- files from strangers ------------------------------------------------------------------------


def use(folder, rec, idx):
    """Read everything there is; only errors for users may come out."""
    (folder / "a.rec").write_bytes(rec)
    (folder / "a.idx").unlink(missing_ok=True)
    if idx is not None:
        (folder / "a.idx").write_bytes(idx)
    try:
        data = RecordIODataset(folder / "a.rec", num_classes=2**24)
        assert len(data.labels) == len(data)
        assert sum(len(data.encoded(row)) for row in range(len(data))) <= len(rec)
        for row in range(len(data)):
            data[row]
    except (UserError, BadImageError):
        pass


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    made = []
    for layout in ("insightface", "im2rec"):
        images = [*JPEGS[:4], SPLIT[5], SPLIT[6]]
        path = write_rec(folder / layout / "a.rec", contents(layout, LABELS, images))
        made.append((path.read_bytes(), path.with_suffix(".idx").read_bytes()))
    return made


FUZZ = settings(max_examples=150, deadline=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip


@pytest.mark.slow
@FUZZ
@given(rec=st.binary(max_size=200), idx=st.none() | st.binary(max_size=40), magic=st.booleans())
def test_random_bytes(tmp_path, rec, idx, magic):
    use(tmp_path, MAGIC + rec if magic else rec, idx)


@pytest.mark.slow
@FUZZ
@given(data=st.data())
def test_valid_files_with_changes(tmp_path, valid, data):
    rec, idx = map(bytearray, data.draw(st.sampled_from(valid)))
    with_idx = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(1, 3))):
        target = idx if with_idx and data.draw(st.booleans()) else rec
        at = data.draw(st.integers(0, len(target) - 1)) if target else 0
        action = data.draw(st.sampled_from(["flip", "cut", "insert", "word", "lengthen"]))
        if action == "flip" and target:
            target[at] ^= 1 << data.draw(st.integers(0, 7))
        elif action == "cut":
            del target[at : at + data.draw(st.integers(1, 8))]
        elif action == "insert":
            target[at:at] = data.draw(st.binary(max_size=8) | st.just(MAGIC))
        elif action == "word":
            target[at // 4 * 4 : at // 4 * 4 + 4] = data.draw(
                st.sampled_from([b"\xff" * 4, b"\0" * 4, MAGIC, b"\x01\0\0\0"])
            )
        else:
            target += data.draw(st.binary(max_size=9))
    use(tmp_path, bytes(rec), bytes(idx) if with_idx else None)


# --- written by mxnet ----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_file_that_mxnet_wrote(shared_data):
    """All 5,985 images; labels as in the list it was made from; pixels as Pillow decodes them."""
    folder = shared_data / "lfw" / "recordio-min5"
    data = RecordIODataset(folder)
    lines = [line.split("\t") for line in (folder / "train.lst").read_text().splitlines()]
    assert (len(data), data.num_classes, data.notes) == (5985, 423, [])
    assert data.labels.tolist() == [int(label) for _, _, label in lines]
    for row in range(0, 5985, 20):
        np.testing.assert_array_equal(data[row][0], decoded(data.encoded(row)))


@pytest.mark.slow
def test_every_image_that_mxnet_wrote(shared_data, tmp_path):
    data = RecordIODataset(shared_data / "lfw" / "recordio-min5")
    for row, (image, _) in enumerate(data):
        assert image.shape == (112, 112, 3)
        np.testing.assert_array_equal(image, decoded(data.encoded(row)))
    copied = (tmp_path / "train.rec").write_bytes(data.path.read_bytes())
    scanned = RecordIODataset(tmp_path / "train.rec")
    assert copied == data.images.file.size
    np.testing.assert_array_equal(scanned.images.offsets, data.images.offsets)
    np.testing.assert_array_equal(scanned.images.keys, data.images.keys)
    np.testing.assert_array_equal(scanned.labels, data.labels)


def test_the_tests_writer_makes_mxnets_bytes(shared_data):
    file = RecordFile(shared_data / "lfw" / "recordio-min5" / "train.rec")
    offsets = file.scan()
    content = file.path.read_bytes()
    for offset, end in [*pairwise(offsets[:50]), (offsets[-1], file.size)]:
        assert record(bytes(file.record(int(offset)))) == content[offset:end]
