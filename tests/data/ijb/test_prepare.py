import numpy as np
import pytest
from PIL import Image as Pillow

from frcore.data.pixels.align import align_face
from frcore.data.pixels.images import read_image
from frcore.errors import UserError
from frcore.study.data import Image
from tests.data.ijb import folder
from tests.data.making import benchmark, pixels

ALIGNED = Image(size=32, alignment="arcface-112")
TEN, TWENTY = "ijbc/subject/10", "ijbc/subject/20"


@pytest.fixture
def root(tmp_path):
    root = folder.write(tmp_path / "IJBC")
    (root / "loose_crop").mkdir()
    for number in range(1, 9):
        picture = pixels(number, side=110 + number)[:, : 100 + number]
        Pillow.fromarray(picture).save(root / "loose_crop" / f"{number}.jpg")
    return root


def prepared(out, root, **changes):
    image = changes.pop("image", ALIGNED)
    return benchmark(out, image=image, kind="ijb", root=str(root), name="ijbc", **changes)


def test_the_tables(tmp_path, root):
    data = prepared(tmp_path / "out", root)
    data.verify()
    assert data.manifest.storage == "in_place"
    assert data.manifest.alignment == "arcface-112"
    assert (data.manifest.images, data.manifest.identities) == (8, 2)
    assert data.index["name"].tolist() == [f"{number}.jpg" for number in range(1, 9)]
    assert data.index["identity"].tolist() == [TEN] * 3 + [TWENTY, TEN] + [TWENTY] * 3
    assert data.index["label"].tolist() == [0, 0, 0, 1, 0, 1, 1, 1]
    assert data.templates["template"].tolist() == [1, 1, 1, 2, 5, 6, 8, 8]
    assert data.templates["image"].tolist() == list(range(8))
    assert data.templates["medium"].tolist() == [100, 100, 101, 200, 102, 201, 202, 203]
    assert data.templates["weight"].round(3).tolist() == pytest.approx(
        [0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97]
    )
    assert data.template_pairs.to_numpy().tolist() == [
        [1, 5, True], [2, 6, True], [1, 6, False], [2, 5, False], [1, 8, False]
    ]  # fmt: skip
    assert data.has_search
    assert data.galleries.to_numpy().tolist() == [[1, 1, TEN], [2, 2, TWENTY]]
    assert data.probes.to_numpy().tolist() == [[5, TEN], [6, TWENTY], [8, TWENTY]]
    assert data.manifest.warnings[0].startswith("not the released IJB-C")


def test_images_are_aligned_when_they_are_used(tmp_path, root):
    images = prepared(tmp_path / "out", root).images
    for row, points in enumerate(folder.landmarks()):
        source = read_image(root / "loose_crop" / f"{row + 1}.jpg")
        np.testing.assert_array_equal(images[row], align_face(source, np.float32(points), 32))
    assert not (tmp_path / "out" / "images.npy").exists()


@pytest.mark.slow
def test_a_changed_list_changes_the_hash(tmp_path, root):
    first = prepared(tmp_path / "a", root).manifest.content_sha256
    assert prepared(tmp_path / "b", root).manifest.content_sha256 == first
    for short, text in (
        ("pair", folder.PAIRS.replace("2 5 0\n", "")),
        ("score", folder.score_list().replace("0.97\n", "0.98\n")),
        ("G1", folder.GALLERY_1.replace("10", "11").replace("TEMPLATE", "TEMPLATE")),
    ):
        changes = {short: text}
        if short == "G1":
            changes["probe"] = folder.PROBES.replace("5,10", "5,11")
        folder.write(root, **changes)
        assert prepared(tmp_path / "c", root).manifest.content_sha256 != first
        folder.write(root)


def test_a_changed_picture_is_noticed(tmp_path, root):
    prepared(tmp_path / "out", root)
    Pillow.fromarray(pixels(9, side=70)).save(root / "loose_crop" / "3.jpg")
    from frcore.data.prepared.folder import Prepared

    with pytest.raises(UserError, match=r"3\.jpg"):
        Prepared.open(tmp_path / "out")


def test_without_images(tmp_path, root):
    for path in (root / "loose_crop").iterdir():
        path.unlink()
    (root / "loose_crop").rmdir()
    with pytest.raises(UserError, match="`images: false`"):
        prepared(tmp_path / "out", root)
    assert not (tmp_path / "out").exists()
    data = prepared(tmp_path / "out", root, images=False)
    data.verify()
    assert data.manifest.storage == "absent"
    assert len(data.templates) == 8
    with pytest.raises(UserError, match="without images"):
        _ = data.images


def test_missing_and_empty_pictures_are_named(tmp_path, root):
    (root / "loose_crop" / "4.jpg").unlink()
    (root / "loose_crop" / "6.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"(?s)^2 images.*4\.jpg: no such.*6\.jpg: empty"):
        prepared(tmp_path / "out", root)
    assert not (tmp_path / "out").exists()


def test_a_damaged_picture_is_named_when_it_is_used(tmp_path, root):
    whole = (root / "loose_crop" / "4.jpg").read_bytes()
    (root / "loose_crop" / "4.jpg").write_bytes(whole[: len(whole) // 2])
    data = prepared(tmp_path / "out", root)
    with pytest.raises(UserError, match=r"4\.jpg"):
        data.images[2:5]


def test_settings_of_the_study_that_do_not_apply_are_mentioned(tmp_path, root):
    data = prepared(tmp_path / "out", root, image=Image(size=32, crop=40, alignment="none"))
    warnings = " ".join(data.manifest.warnings)
    assert "image.alignment is 'none'" in warnings
    assert "image.crop does not apply" in warnings


def test_without_the_search_lists(tmp_path, root):
    for path in (root / "meta").glob("*.csv"):
        path.unlink()
    data = prepared(tmp_path / "out", root)
    assert not data.has_search
    with pytest.raises(UserError, match="no galleries"):
        _ = data.galleries
    assert data.index["identity"].nunique() == 3
    assert any("counts as a separate person" in text for text in data.manifest.warnings)
