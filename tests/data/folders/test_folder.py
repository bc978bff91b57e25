import unicodedata

import numpy as np
import pytest
from PIL import Image as Pillow

from frcore.errors import UserError
from tests.data.making import PLAIN, pixels, train, write_person


def folder(out, root, **options):
    return train(out, image=PLAIN, kind="folder", root=str(root), **options)


@pytest.fixture
def people(tmp_path):
    root = tmp_path / "people"
    for name, count in (("Bea", 3), ("Ada", 2), ("Cyd", 1)):
        write_person(root, name, count, suffix=".png")
    return root


def test_a_folder_becomes_a_training_set(tmp_path, people):
    data = folder(tmp_path / "out", people)
    assert data.index["name"].tolist() == [
        "Ada/Ada_0001.png", "Ada/Ada_0002.png", "Bea/Bea_0001.png", "Bea/Bea_0002.png",
        "Bea/Bea_0003.png", "Cyd/Cyd_0001.png",
    ]  # fmt: skip
    assert data.labels.tolist() == [0, 0, 1, 1, 1, 2]
    assert data.index["medium"].tolist() == list(range(6))
    assert not data.manifest.synthetic
    assert data.manifest.warnings == ()
    # 20 pixels to 16: the mean colour stays.
    np.testing.assert_allclose(data.images[4].mean((0, 1)), pixels(2).mean((0, 1)), atol=1)


def test_people_with_few_images_are_left_out(tmp_path, people):
    data = folder(tmp_path / "out", people, min_images=2)
    assert sorted(set(data.index["identity"])) == ["Ada", "Bea"]
    assert data.num_classes == 2
    assert "1 identities with fewer than 2" in data.manifest.warnings[0]
    with pytest.raises(UserError, match="none of 3 identities has 4 usable images"):
        folder(tmp_path / "out2", people, min_images=4)


def test_bad_images_are_refused_by_name(tmp_path, people):
    (people / "Ada" / "Ada_0001.png").write_bytes(b"")
    whole = (people / "Bea" / "Bea_0002.png").read_bytes()
    (people / "Bea" / "Bea_0002.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError) as caught:
        folder(tmp_path / "out", people)
    text = str(caught.value)
    assert text.startswith("2 images cannot be used")
    assert "Ada_0001.png: the file is empty" in text
    assert "Bea_0002.png: " in text
    assert not (tmp_path / "out").exists()


def test_bad_images_are_skipped_and_recorded(tmp_path, people):
    clean = folder(tmp_path / "clean", people)
    (people / "Ada" / "Ada_0001.png").write_bytes(b"")
    (people / "Cyd" / "Cyd_0001.png").write_bytes(b"GIF89a")
    data = folder(tmp_path / "out", people, on_bad_image="skip")
    assert [s.file for s in data.manifest.skipped] == ["Ada/Ada_0001.png", "Cyd/Cyd_0001.png"]
    assert "2 bad images" in data.manifest.warnings[-1]
    np.testing.assert_array_equal(data.images, clean.images[[1, 2, 3, 4]])
    # Cyd is gone, so labels are without a gap.
    assert data.labels.tolist() == [0, 1, 1, 1]
    data.verify()
    # Ada's one good image is now too few.
    with pytest.raises(UserError, match="a training set of 1 class; at least 2 identities"):
        folder(tmp_path / "one", people, on_bad_image="skip", min_images=2)
    assert not (tmp_path / "one").exists()
    write_person(people, "Dan", 2)
    fewer = folder(tmp_path / "fewer", people, on_bad_image="skip", min_images=2)
    assert set(fewer.index["identity"]) == {"Bea", "Dan"}


@pytest.mark.parametrize("storage", ["copied", "in_place"])
def test_one_identity_is_no_training_set_and_is_told_before_an_image_is_read(tmp_path, storage):
    for path in write_person(tmp_path / "people", "Ada", 3):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="people: a training set of 1 class; at least 2 identities"):
        folder(tmp_path / "out", tmp_path / "people", storage=storage)


def test_nothing_left_after_skipping(tmp_path):
    for name in ("Ada", "Bea"):
        write_person(tmp_path / "people", name, 1)[0].write_bytes(b"")
    with pytest.raises(UserError, match="none of 2 identities has 1 usable images"):
        folder(tmp_path / "out", tmp_path / "people", on_bad_image="skip")


@pytest.mark.parametrize(
    "twins",
    [("Ada", "ADA"), (unicodedata.normalize("NFC", "Zoé"), unicodedata.normalize("NFD", "Zoé"))],
)
def test_names_that_differ_only_in_case_or_form_are_refused(tmp_path, twins):
    for name in twins:
        write_person(tmp_path / "people", name, 1)
    with pytest.raises(UserError, match="differ only in case or Unicode form"):
        folder(tmp_path / "out", tmp_path / "people")


def test_names_beyond_ascii_are_composed(tmp_path):
    write_person(tmp_path / "people", unicodedata.normalize("NFD", "Zoé_Müller"), 1)
    write_person(tmp_path / "people", "李小龍", 1)
    data = folder(tmp_path / "out", tmp_path / "people")
    assert data.index["identity"].tolist() == [unicodedata.normalize("NFC", "Zoé_Müller"), "李小龍"]


def test_stray_files_and_empty_folders_are_mentioned(tmp_path, people):
    (people / "notes.txt").write_text("x")
    (people / ".DS_Store").write_text("x")
    (people / "Ada" / "readme.txt").write_text("x")
    (people / "Dan").mkdir()
    data = folder(tmp_path / "out", people)
    assert data.manifest.images == 6
    assert any("notes.txt" in warning for warning in data.manifest.warnings)
    assert any("'Dan'" in warning for warning in data.manifest.warnings)


def test_suffixes_in_capitals_count(tmp_path):
    path = write_person(tmp_path / "people", "Ada", 1)[0]
    path.rename(path.with_suffix(".JPEG"))
    write_person(tmp_path / "people", "Bea", 1)
    assert folder(tmp_path / "out", tmp_path / "people").manifest.images == 2


def test_a_missing_root(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        folder(tmp_path / "out", tmp_path / "nothing")


def test_images_of_several_shapes_need_a_crop(tmp_path, people):
    Pillow.fromarray(pixels(0, 30)[:, :24]).save(people / "Ada" / "Ada_0002.png")
    with pytest.raises(UserError, match="24×30 is not square"):
        folder(tmp_path / "out", people)
    cropped = PLAIN.model_copy(update={"crop": 18})
    data = train(tmp_path / "out", image=cropped, kind="folder", root=str(people))
    assert data.manifest.images == 6
