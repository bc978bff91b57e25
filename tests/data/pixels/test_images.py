import io

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from frcore.data.pixels.decoding import BadImageError
from frcore.data.pixels.images import fit, read_image
from frcore.data.refusal import refuse
from frcore.errors import UserError
from frcore.study.data import Image
from tests.data.making import pixels


def encoded(picture, form="png", **options):
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tiff", "ppm"])
def test_lossless_formats_come_back_in_rgb(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(encoded(pixels(3), suffix, **options))
    np.testing.assert_array_equal(read_image(path), pixels(3))


def test_jpeg_agrees_with_opencv(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(pixels(3, 64), "jpeg", quality=90))
    other = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert np.abs(read_image(path).astype(int) - other).max() <= 2


def test_grey_is_repeated_and_alpha_dropped(tmp_path):
    grey = pixels(0)[:, :, 0]
    for name, picture, expected in (
        ("grey.png", grey, np.dstack([grey] * 3)),
        ("rgba.png", np.dstack([pixels(1), grey]), pixels(1)),
        ("la.png", np.dstack([grey, grey[::-1]]), np.dstack([grey] * 3)),
    ):
        (tmp_path / name).write_bytes(encoded(picture))
        np.testing.assert_array_equal(read_image(tmp_path / name), expected)


def test_16_bits_keep_their_upper_8(tmp_path):
    colour = pixels(2).astype(np.uint16) * 256 + 77
    for name, picture in (("grey.png", colour[:, :, 0]), ("colour.png", colour[:, :, ::-1])):
        cv2.imwrite(str(tmp_path / name), picture)
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png"), pixels(2))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[:, :, 1], pixels(2)[:, :, 0])


def test_an_exif_orientation_is_applied(tmp_path):
    exif = Pillow.Exif()
    exif[0x0112] = 3
    (tmp_path / "a.png").write_bytes(encoded(pixels(1), exif=exif))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels(1)[::-1, ::-1])


def test_a_name_beyond_ascii(tmp_path):
    path = tmp_path / "Žižek_Ünïcode_李.png"
    path.write_bytes(encoded(pixels(4)))
    np.testing.assert_array_equal(read_image(path), pixels(4))


@pytest.mark.parametrize("form", ["jpeg", "png"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_are_bad(tmp_path, form, kept):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = encoded(noise, form)
    (tmp_path / "a").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadImageError, match="truncated"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"no image at all", "not an image"), (b"\xff\xd8\xff\xe0", "truncated"),
     (encoded(np.zeros((20, 20), np.float32), "tiff"), "floating-point"),
     (encoded(np.full((20, 20), 70_000, np.int32), "tiff"), "32-bit")],
)  # fmt: skip
def test_unusable_files_are_bad(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadImageError, match=reason):
        read_image(tmp_path / "a.jpg")


def test_a_missing_file_is_bad(tmp_path):
    with pytest.raises(BadImageError, match="No such file"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(BadImageError, match="directory"):
        read_image(tmp_path)


def test_the_crop_is_the_centre():
    picture = pixels(0, 24)[:, :20]
    wanted = Image(size=16, crop=16, alignment="none")
    np.testing.assert_array_equal(fit(picture, wanted), picture[4:20, 2:18])


def test_shrinking_averages():
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    blocks = picture.reshape(16, 2, 16, 2, 3).mean((1, 3))
    small = fit(picture, Image(size=16, alignment="none"))
    assert np.abs(small - blocks).max() <= 0.5
    assert fit(picture, Image(size=40, alignment="none")).shape == (40, 40, 3)


def test_shapes_that_do_not_fit():
    with pytest.raises(BadImageError, match="20×30 is not square"):
        fit(np.zeros((30, 20, 3), np.uint8), Image(size=16, alignment="none"))
    with pytest.raises(BadImageError, match=r"smaller than image\.crop = 25"):
        fit(np.zeros((30, 20, 3), np.uint8), Image(size=16, crop=25, alignment="none"))


def test_ten_problems_are_shown_and_all_are_counted():
    refuse("files are bad", [], "repair them")
    with pytest.raises(UserError) as caught:
        refuse("files are bad", [f"file{number:02d}" for number in range(13)], "repair them")
    text = str(caught.value)
    assert text.startswith("13 files are bad")
    assert "file09" in text
    assert "file10" not in text
    assert "3 more" in text
    assert text.endswith("repair them")
