import cv2
import numpy as np
import pytest

from frcore.data.pixels.augment import INTERPOLATIONS, resize_matrix

SIDES = {16: range(3, 17), 112: (22, 27, 28, 37, 55, 56, 57, 75, 84, 100, 111)}


def resized(image: np.ndarray, side: int, interpolation: str) -> np.ndarray:
    matrix = resize_matrix(interpolation, len(image), side)
    return np.einsum("ij,jkc,lk->ilc", matrix, image.astype(np.float64), matrix, optimize=True)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", SIDES)
def test_both_ways_are_those_of_opencv(interpolation, size):
    noise = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    for side in SIDES[size]:
        small = cv2.resize(noise, (side, side), interpolation=INTERPOLATIONS[interpolation])
        # OpenCV's 11-bit weights and its intermediate roundings are worth up to one level.
        off_down = np.abs(resized(noise, side, interpolation).round().clip(0, 255) - small)
        assert off_down.max() <= (0 if interpolation == "nearest" else 1), side
        large = cv2.resize(small, (size, size), interpolation=INTERPOLATIONS[interpolation])
        off_up = np.abs(resized(small, size, interpolation).round().clip(0, 255) - large)
        assert off_up.max() <= (0 if interpolation == "nearest" else 1), side


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_in_floating_point_opencv_agrees_closely(interpolation):
    noise = np.random.default_rng(1).random((30, 30, 3)).astype(np.float32)
    for side in (7, 11, 15, 29, 30, 47):
        expected = cv2.resize(noise, (side, side), interpolation=INTERPOLATIONS[interpolation])
        np.testing.assert_allclose(resized(noise, side, interpolation), expected, atol=2e-5)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_same_size_changes_nothing(interpolation):
    np.testing.assert_array_equal(resize_matrix(interpolation, 23, 23), np.eye(23))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_flat_image_stays_flat(interpolation):
    for source, target in ((112, 23), (23, 112), (16, 16), (5, 4)):
        rows = resize_matrix(interpolation, source, target).sum(axis=1)
        np.testing.assert_allclose(rows, 1, atol=1e-6)
