import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from scipy.optimize import least_squares

from frcore.data.pixels.align import (
    TEMPLATE_112,
    align_face,
    similarities,
    template,
    unusable_landmarks,
)
from frcore.data.pixels.decoding import BadImageError
from frcore.errors import UserError
from tests.data.making import pixels


def umeyama(source, target):
    """Umeyama 1991, equations 39 to 42, term by term."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    u, d, vt = np.linalg.svd(covariance)
    signs = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ signs @ vt
    scale = np.trace(np.diag(d) @ signs) / source.var(0).sum()
    shift = target_mean - scale * rotation @ source_mean
    return np.hstack([scale * rotation, shift[:, None]])


def by_search(source, target):
    """The best of a + ib, x + iy by an optimiser that knows no closed form."""
    z, w = source @ [1, 1j], target @ [1, 1j]

    def residuals(p):
        off = (p[0] + 1j * p[1]) * z + p[2] + 1j * p[3] - w
        return np.concatenate([off.real, off.imag])

    a, b, x, y = least_squares(residuals, [1, 0, 0, 0], xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    return np.array([[a, -b, x], [b, a, y]])


def faces(count=50, seed=0):
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0.2, 5, (count, 1, 1)) * np.exp(1j * rng.uniform(-3, 3, (count, 1, 1)))
    points = (TEMPLATE_112 @ [1, 1j])[None, :, None] * turn + rng.normal(0, 300, (count, 1, 1))
    noise = rng.normal(0, 4, (count, 5, 2))
    return np.concatenate([points.real, points.imag], axis=2) + noise


@pytest.mark.slow
def test_similarities_are_umeyamas():
    landmarks = faces()
    found = similarities(landmarks)
    for row, points in enumerate(landmarks):
        np.testing.assert_allclose(found[row], umeyama(points, TEMPLATE_112), atol=1e-10)
        np.testing.assert_allclose(found[row], by_search(points, TEMPLATE_112), rtol=1e-5,
                                   atol=1e-4)  # fmt: skip


def test_mirrored_landmarks_are_turned_never_reflected():
    mirrored = (TEMPLATE_112 * [-1, 1] + [112, 0])[None]
    found = similarities(mirrored)[0]
    np.testing.assert_allclose(found, umeyama(mirrored[0], TEMPLATE_112), atol=1e-10)
    assert np.linalg.det(found[:, :2]) > 0


@given(st.floats(0.05, 20), st.floats(-np.pi, np.pi), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_a_similarity_is_undone_exactly(scale, angle, x, y):
    turn, shift = scale * np.exp(1j * angle), x + 1j * y
    z = (TEMPLATE_112 @ [1, 1j]) * turn + shift
    (matrix,) = similarities(np.stack([z.real, z.imag], axis=1)[None])
    back, origin = 1 / turn, -shift / turn
    wanted = [[back.real, -back.imag, origin.real], [back.imag, back.real, origin.imag]]
    np.testing.assert_allclose(matrix, wanted, rtol=1e-9, atol=1e-6)


def test_landmarks_far_from_the_origin_lose_nothing():
    landmarks = faces(1)
    near, far = similarities(landmarks)[0], similarities(landmarks + 30_000)[0]
    np.testing.assert_allclose(near[:, :2], far[:, :2], atol=1e-9)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (np.full((5, 2), 40.0), "all five landmarks are one point"),
        (np.zeros((5, 2)), "all five landmarks are one point"),
        (np.outer(np.arange(5), [3.0, 1.0]) + 7, "lie on one line"),
        (np.where(np.eye(5, 2) > 0, np.nan, TEMPLATE_112), "not a finite number"),
        (np.where(np.eye(5, 2) > 0, np.inf, TEMPLATE_112), "not a finite number"),
        (1e200 * TEMPLATE_112, "more than 1,000,000 pixels away"),
    ],
)
def test_landmarks_of_no_face(points, reason):
    with pytest.raises(UserError, match=f"face 0: .*{reason}"):
        align_face(pixels(0), points)


def test_each_bad_row_is_named():
    landmarks = faces(4)
    landmarks[1, 3] = np.nan
    landmarks[3] = 5
    problems = unusable_landmarks(landmarks)
    assert list(problems) == [1, 3]
    with pytest.raises(UserError, match="face 1"):
        similarities(landmarks)


def test_landmarks_of_another_shape_are_refused():
    for shape in ((5, 2), (1, 5, 3), (1, 68, 2)):
        with pytest.raises(UserError, match="give \\(N, 5, 2\\)"):
            similarities(np.ones(shape))
    with pytest.raises(UserError, match="give \\(5, 2\\)"):
        align_face(pixels(0), np.ones((68, 2)))


def test_the_template_at_other_sizes():
    np.testing.assert_allclose(template(224), 2 * TEMPLATE_112)
    np.testing.assert_allclose(template(64), TEMPLATE_112 * 64 / 112)
    # estimate_norm of InsightFace: ratio 2, and 8 · 2 pixels to the right.
    np.testing.assert_allclose(template(256), 2 * TEMPLATE_112 + [16, 0])
    np.testing.assert_allclose(template(896), 8 * TEMPLATE_112)
    with pytest.raises(UserError, match="at least 1"):
        template(0)


def bilinear(image, matrix, size):
    """The warp in exact arithmetic: OpenCV rounds source positions to 1/32 pixel."""
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    result = np.zeros((size, size, image.shape[2]))
    for v in range(size):
        for u in range(size):
            x, y, _ = inverse @ [u, v, 1]
            left, top = int(np.floor(x)), int(np.floor(y))
            if not (-1 <= left < image.shape[1] and -1 <= top < image.shape[0]):
                continue
            dx, dy = x - left, y - top
            box = padded[top + 1 : top + 3, left + 1 : left + 3]
            weights = np.outer([1 - dy, dy], [1 - dx, dx])[:, :, None]
            result[v, u] = (box * weights).sum((0, 1))
    return result


def test_the_warp_is_bilinear_with_a_black_border():
    image = pixels(3, side=60)
    landmarks = TEMPLATE_112 * 0.5 + [20.3, -2.7] + np.random.default_rng(0).normal(0, 1, (5, 2))
    crop = align_face(image, landmarks, 48)
    slow = bilinear(image, similarities(landmarks[None], 48)[0], 48)
    # The border itself moves by up to 1/32 pixel, and with it up to 200 / 32 grey levels.
    assert np.abs(crop - slow).max() <= 200 / 32 + 1
    assert np.abs(crop - slow).mean() < 0.3
    assert (crop[:, -1] == 0).all()
    assert crop.shape == (48, 48, 3)


def test_the_identity_copies_pixels():
    image = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    np.testing.assert_array_equal(align_face(image, TEMPLATE_112), image)


def test_an_image_too_large_to_warp_is_refused():
    with pytest.raises(BadImageError, match="40000×1 pixels"):
        align_face(np.zeros((1, 40_000, 3), np.uint8), TEMPLATE_112)


@pytest.mark.slow
def test_real_faces_are_those_of_others(shared_data):
    """Aligned by another program (OpenCV 5's warp) and stored as JPEG of quality 88, 4:2:0."""
    root = shared_data / "lfw"
    lines = (root / "landmarks.txt").read_text().splitlines()
    landmarks = {line.split("\t")[0]: np.array(line.split("\t")[1:], float) for line in lines}
    means, worst = [], 0
    for path in sorted((root / "original-250").rglob("*.jpg")):
        name = path.relative_to(root / "original-250").as_posix()
        ours = align_face(np.array(Pillow.open(path).convert("RGB")),
                          landmarks[name].reshape(5, 2))  # fmt: skip
        stored = io.BytesIO()
        Pillow.fromarray(ours).save(stored, "JPEG", quality=88)
        ours = np.array(Pillow.open(stored)).astype(int)
        difference = np.abs(ours - np.array(Pillow.open(root / "aligned-112" / name)))
        means.append(difference.mean())
        worst = max(worst, difference.max())
    assert len(means) == 200
    # 0.601 and 18 here; faces a quarter of a source pixel away differ by 2.1 on average.
    assert np.mean(means) < 0.65
    assert worst <= 20
