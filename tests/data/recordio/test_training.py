import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from frcore.data import loader
from frcore.data.loader import Batches
from frcore.data.recordio.dataset import RecordIODataset
from frcore.errors import UserError
from frcore.study.data import Image
from tests.data.making import PLAIN, train, write_person
from tests.data.recordio.rec_writer import insightface, write_rec

CROPPED = Image(size=16, crop=18, alignment="none")
PEOPLE = {"Ada": 5, "Bea": 3, "Cyd": 1, "Dov": 4}


@pytest.fixture
def source(tmp_path):
    """The same images as a folder of people and as a `.rec` with its list."""
    files = [path for name, count in PEOPLE.items()
             for path in write_person(tmp_path / "people", name, count)]  # fmt: skip
    labels = [sorted(PEOPLE).index(path.parent.name) for path in files]
    lines = [f"1\t{path.parent.name}/{path.name}\t{label}\n"
             for path, label in zip(files, labels, strict=True)]  # fmt: skip
    write_rec(tmp_path / "rec" / "train.rec",
              insightface(labels, [path.read_bytes() for path in files]))  # fmt: skip
    (tmp_path / "rec" / "train.lst").write_text("".join(lines))
    (tmp_path / "rec" / "property").write_text(f"{len(PEOPLE)},20,20")
    return tmp_path


def both(source, image=CROPPED, **options):
    """Copied from the folder, and in place from the `.rec`."""
    copied = train(source / "copied", image, kind="folder", root=str(source / "people"), **options)
    placed = train(source / "placed", image, kind="recordio", root=str(source / "rec"),
                   names="train.lst", **options)  # fmt: skip
    assert (copied.manifest.storage, placed.manifest.storage) == ("copied", "in_place")
    return copied, placed


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("image", [CROPPED, PLAIN])
@pytest.mark.parametrize("min_images", [1, 3, 4])
def test_in_place_and_copied_are_the_same_data(source, image, min_images):
    copied, placed = both(source, image, min_images=min_images)
    np.testing.assert_array_equal(placed.images[:], copied.images[:])
    columns = ["identity", "label", "medium", "true_identity"]
    assert placed.index[columns].equals(copied.index[columns])
    assert placed.num_classes == copied.num_classes == sum(n >= min_images for n in PEOPLE.values())
    placed.verify()
    assert not list((source / "placed").glob("*.npy"))


@pytest.mark.fast_cases(2)
@pytest.mark.parametrize("held", [0, 2**31])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_are_the_same_bit_for_bit(source, held, threads, monkeypatch):
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", held)
    copied, placed = both(source)
    for epoch in (0, 1):
        for start in (0, 2):
            one, other = (list(Batches(data, 3, seed=5, threads=count).epoch(epoch, start))
                          for data, count in ((copied, 1), (placed, threads)))  # fmt: skip
            assert len(one) == len(other) == 4 - start
            for (images, labels), (others, again) in zip(one, other, strict=True):
                assert torch.equal(images, others)
                assert torch.equal(labels, again)


def test_leaving_an_epoch_early(source, monkeypatch):
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    _, placed = both(source)
    batches = Batches(placed, 2, seed=0, threads=2)
    first = next(iter(batches.epoch(0)))
    assert torch.equal(first[0], next(iter(batches.epoch(0)))[0])


def test_numbers_where_nobody_is_named(source):
    data = train(source / "out", CROPPED, kind="recordio", root=str(source / "rec" / "train.rec"))
    assert data.index["identity"].unique().tolist() == [f"recordio/{row}" for row in range(4)]
    assert "not detected" in data.manifest.warnings[0]


def test_the_number_of_identities_is_checked(source):
    with pytest.raises(UserError, match="not below 3"):
        train(source / "out", CROPPED, kind="recordio", root=str(source / "rec"), identities=3)
    assert not (source / "out").exists()


def test_gaps_are_closed_only_where_the_number_is_given(source):
    data = RecordIODataset(source / "rec")
    images = [bytes(data.encoded(row)) for row in range(len(data))]
    path = source / "gaps" / "train.rec"
    write_rec(path, insightface((2 * data.labels).tolist(), images))
    with pytest.raises(UserError, match=r"3 of the labels .* the first is 1.*`identities`"):
        train(source / "out", CROPPED, kind="recordio", root=str(path))
    closed = train(source / "out", CROPPED, kind="recordio", root=str(path), identities=8)
    assert closed.labels.tolist() == data.labels.tolist()
    assert closed.index["identity"].unique().tolist() == [f"recordio/{2 * n}" for n in range(4)]
    assert "renumbered" in closed.manifest.warnings[0]


def test_a_list_of_other_people(source):
    (source / "rec" / "train.lst").write_text("1\tAda/1.jpg\t0\n")
    with pytest.raises(UserError, match=r"(?s)3 labels of .*label 1"):
        both(source)


def break_image(source, row):
    """Cut the JPEG of one record short."""
    data = RecordIODataset(source / "rec")
    images = [bytes(data.encoded(i)) for i in range(len(data))]
    images[row] = images[row][:-9]
    write_rec(source / "rec" / "train.rec", insightface(data.labels.tolist(), images))


def test_a_damaged_image_is_found_before_training(source):
    break_image(source, 6)
    options = {"kind": "recordio", "root": str(source / "rec"), "names": "train.lst"}
    with pytest.raises(UserError, match=r"(?s)^images cannot be used.*7: a truncated JPEG"):
        train(source / "out", CROPPED, **options)
    skipped = train(source / "out", CROPPED, **options, on_bad_image="skip")
    assert [entry.file for entry in skipped.manifest.skipped] == ["7"]
    assert len(skipped.images) == 12
    fewer = train(source / "out", CROPPED, **options, on_bad_image="skip", min_images=3)
    assert sorted(set(fewer.index["identity"])) == ["Ada", "Dov"]


def test_a_damaged_image_that_was_not_looked_for_stops_training(source, monkeypatch):
    monkeypatch.setattr(loader, "HELD_IN_MEMORY", 0)
    break_image(source, 6)
    data = train(source / "out", CROPPED, kind="recordio", root=str(source / "rec"),
                 names="train.lst", check="none")  # fmt: skip
    assert "check: none" in data.manifest.warnings[0]
    with pytest.raises(UserError, match="7: a truncated JPEG"):
        list(Batches(data, 13, seed=0).epoch(0))


def test_images_that_are_not_square(source):
    picture = np.zeros((20, 30, 3), np.uint8)
    path = source / "wide.jpg"
    Pillow.fromarray(picture).save(path)
    write_rec(source / "wide" / "train.rec", insightface([0, 1], [path.read_bytes()] * 2))
    with pytest.raises(UserError, match="1: 30×20 is not square"):
        train(source / "out", PLAIN, kind="recordio", root=str(source / "wide"))


def test_a_changed_file_is_refused(source):
    from frcore.data.prepared.folder import Prepared

    both(source)
    with (source / "rec" / "train.rec").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"train\.rec: had"):
        Prepared.open(source / "placed")


def test_nothing_is_left(source):
    with pytest.raises(UserError, match="none of 4 identities has 6 usable images"):
        train(source / "out", CROPPED, kind="recordio", root=str(source / "rec"), min_images=6)
