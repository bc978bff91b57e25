import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import PngImagePlugin, features

from frcore.data.pixels.decoding import LARGEST, BadImageError, decode_rgb, read_jpeg
from tests.data.making import pixels

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)


def encoded(picture, form="JPEG", **options):
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Pillow.Image) else Pillow.fromarray(picture)
    image.save(buffer, form, **options)
    return buffer.getvalue()


def by_pillow(content):
    return np.array(Pillow.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_refused(progressive):
    content = encoded(NOISE, progressive=progressive)
    assert decode_rgb(content).shape == NOISE.shape
    for kept in range(2, len(content)):
        with pytest.raises(BadImageError):
            decode_rgb(content[:kept])


def test_bytes_after_the_end_do_not_matter():
    content = encoded(NOISE)
    for rest in (b"\0", b"\0" * 500, b"junk \xff\xd8 junk"):
        np.testing.assert_array_equal(decode_rgb(content + rest), by_pillow(content))


def test_what_the_segments_say():
    found = read_jpeg(encoded(NOISE))
    assert (found.height, found.width, found.components, found.is_plain) == (24, 20, 3, True)
    assert read_jpeg(encoded(NOISE[:, :, 0])).components == 1
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert not read_jpeg(encoded(NOISE, exif=exif)).is_plain


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_applied(orientation):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    upright = by_pillow(encoded(NOISE, quality=95))
    turned = [upright, upright[:, ::-1], upright[::-1, ::-1], upright[::-1],
              upright.transpose(1, 0, 2), np.rot90(upright, -1),
              np.rot90(upright, 2).transpose(1, 0, 2), np.rot90(upright)]  # fmt: skip
    found = decode_rgb(encoded(NOISE, quality=95, exif=exif))
    np.testing.assert_array_equal(found, turned[orientation - 1])


@pytest.mark.parametrize("form", ["WEBP", "PNG"])
def test_damaged_exif_data_are_said_to_be_that(form):
    content = encoded(NOISE, form, exif=b"Exif\0\0" + bytes(20))
    with pytest.raises(BadImageError, match="its EXIF data are damaged"):
        decode_rgb(content)


def test_four_components_are_pillows():
    content = encoded(Pillow.fromarray(NOISE).convert("CMYK"))
    assert read_jpeg(content).components == 4
    np.testing.assert_array_equal(decode_rgb(content), by_pillow(content))


def test_restart_markers_are_no_end():
    done, content = cv2.imencode(".jpg", NOISE, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])
    assert done
    assert content.tobytes().count(b"\xff\xd0") > 0
    np.testing.assert_array_equal(decode_rgb(content.tobytes()), by_pillow(content.tobytes()))


def with_size(content, height, width):
    """The same JPEG, but its frame says another size."""
    at = content.index(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def test_bombs_are_refused_before_they_are_decoded():
    content = encoded(NOISE)
    with pytest.raises(BadImageError, match="60000×60000 pixels are too many"):
        decode_rgb(with_size(content, 60000, 60000))
    png = encoded(NOISE, "PNG")
    huge = png[:16] + struct.pack(">II", 20000, 20000) + png[24:]
    with pytest.raises(BadImageError):
        decode_rgb(huge)
    # A second frame may not say another size than the one that was looked at.
    at = content.index(b"\xff\xc0")
    segment = content[at : at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")]
    with pytest.raises(BadImageError, match="two frame headers"):
        decode_rgb(content[:at] + segment + content[at:])


def test_too_many_scans_are_refused():
    content = encoded(NOISE, progressive=True)
    scan = content.rindex(b"\xff\xda")
    body, end = content[scan:-2], content[-2:]
    large = content.replace(
        struct.pack(">HH", 24, 20), struct.pack(">HH", 10_000, LARGEST // 10_000), 1
    )
    with pytest.raises(BadImageError, match="too many scans"):
        read_jpeg(large[:scan] + body * 25 + end)


@pytest.mark.slow
def test_long_texts_in_a_png_are_no_bomb():
    about = PngImagePlugin.PngInfo()
    about.add_text("text", "a" * 30_000_000, zip=True)
    with pytest.raises(BadImageError):
        decode_rgb(encoded(NOISE, "PNG", pnginfo=about))


@pytest.mark.parametrize("form", ["GIF", "EPS", "PDF", "ICO"])
def test_other_kinds_are_not_read(form):
    said = "^GIF is not supported" if form == "GIF" else "not an image"
    with pytest.raises(BadImageError, match=said):
        decode_rgb(encoded(NOISE, form))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_kinds_without_loss(form):
    np.testing.assert_array_equal(decode_rgb(memoryview(encoded(NOISE, form))), NOISE)


@pytest.mark.fast_cases(1)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize(
    ("form", "options"),
    [("JPEG2000", {}), ("JPEG2000", {"no_jp2": True}),
     ("JPEG2000", {"irreversible": True, "quality_layers": [20]}), ("AVIF", {}), ("WEBP", {}),
     ("TIFF", {"compression": "tiff_lzw"})],
)  # fmt: skip
def test_other_kinds_cut_anywhere_are_refused(form, options):
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    content = encoded(NOISE, form, **options)
    assert decode_rgb(content).shape == NOISE.shape
    for kept in range(2, len(content), 7 if form == "JPEG2000" else 1):
        with pytest.raises(BadImageError):
            decode_rgb(content[:kept])


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"), (b"\0\0\0\x18ftypmif1" + bytes(40), "HEIC"),
     (b"\xff\x0a" + bytes(40), "JPEG XL"), (b"II*\0\x10\0\0\0CR" + bytes(40), "a camera's raw"),
     (b"P2\n1 1\n255\n7\n", "PNM as text"), (b"P3 1 1 255 7 7 7\n", "PNM as text")],
)  # fmt: skip
def test_what_is_known_but_not_read_is_named(content, kind):
    with pytest.raises(BadImageError, match=f"^{kind}.* is not supported"):
        decode_rgb(content)


def test_the_preview_of_a_raw_photograph_is_no_picture():
    content = encoded(NOISE, "TIFF", tiffinfo={254: 1})
    with pytest.raises(BadImageError, match="the small preview in a camera's raw file"):
        decode_rgb(content)


# --- bounded work ---------------------------------------------------------------------------------


def with_segments(content, segments):
    return content[:2] + segments + content[2:]


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.slow
def test_pillow_gets_one_exif_segment_and_no_other_metadata(monkeypatch):
    """It joins all EXIF segments, copying n² bytes: 800 of them took 15 seconds, 3,000 minutes."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    content, bare = encoded(NOISE, exif=exif), encoded(NOISE)
    upright = by_pillow(bare)
    given = []
    opened = Pillow.open
    monkeypatch.setattr(
        Pillow, "open", lambda file, **kw: given.append(len(file.getbuffer())) or opened(file, **kw)
    )
    expected = decode_rgb(content)
    hostile = with_segments(content, segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 2000)
    # The first segment counts, which is an empty one here.
    np.testing.assert_array_equal(decode_rgb(hostile), upright)
    begin = content.index(b"\xff\xe1")
    end = begin + 2 + int.from_bytes(content[begin + 2 : begin + 4], "big")
    others = (segment(0xED, b"Photoshop 3.0\0" + bytes(60_000)) + segment(0xFE, bytes(60_000))
              + segment(0xE2, b"MPF\0" + bytes(60_000)))  # fmt: skip
    hostile = (
        content[:end] + (segment(0xE1, b"Exif\0\0" + bytes(60_000)) + others) * 500 + content[end:]
    )
    np.testing.assert_array_equal(decode_rgb(hostile), expected)
    assert given == [len(content), len(bare) + 4 + 65_006, len(content)]


@pytest.mark.parametrize(
    "content",
    [b"P2\n10 10\n255\n" + b"#\n" * 2_000_000 + b"1 " * 100,
     b"P1 " + b" " * 5_000_000 + b"9 9 " + b"#\n" * 2_000_000],
)  # fmt: skip
def test_comments_of_text_pictures_are_not_cut_out_one_by_one(content, monkeypatch):
    monkeypatch.setattr(Pillow, "open", None)
    with pytest.raises(BadImageError, match="PNM as text"):
        decode_rgb(content)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_bytes_never_do_more_than_be_refused(data):
    content = bytearray(data.draw(st.sampled_from(
        [encoded(NOISE), encoded(NOISE, progressive=True), encoded(pixels(1), "PNG"),
         encoded(NOISE, "TIFF"), encoded(NOISE, "WEBP"), encoded(NOISE, "JPEG2000")])))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        image = decode_rgb(bytes(content))
    except BadImageError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
