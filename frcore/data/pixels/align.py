"""Alignment of five landmarks to the ArcFace template: least-squares similarity, bilinear warp.

Template and warp are InsightFace's (`arcface_dst` and `norm_crop` of its
`python-package/insightface/utils/face_align.py`): `cv2.warpAffine`, INTER_LINEAR, border 0. The
similarity is Umeyama's with scale, in float64 (Least-squares estimation of transformation
parameters between two point patterns, PAMI 13(4), 1991, eq. 40-42). Landmarks are in pixels, with
(0, 0) the centre of the first pixel, in the order left eye, right eye, nose tip, left and right
mouth corner, as seen in the image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from frcore.data.pixels.decoding import BadImageError
from frcore.errors import UserError

Floats = NDArray[np.float64]

TEMPLATE_112: Floats = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366],
     [41.5493, 92.3655], [70.7299, 92.2041]]
)  # fmt: skip
"""The positions of the five landmarks in a 112-pixel crop: (5, 2), x and y."""

_LARGEST_SIDE = 32_766
"""OpenCV's warp indexes source pixels with 16 bits."""

_FARTHEST = 1_000_000
"""Pixels; no image is that large, and squares of such distances are still exact enough."""

_FLAT = 1e-6
"""Landmarks collinear up to this share of their extent, or with a scale near 0, are refused."""


def template(size: int = 112) -> Floats:
    """The template in a crop of `size` pixels: (5, 2).

    Scaled by size / 112, except at multiples of 128, where InsightFace scales by size / 128 and
    centres the face: the template was made for 96 × 112 pixels and then widened.

    >>> template(224)[0].tolist()
    [76.5892, 103.3926]
    >>> template(128)[0].tolist()
    [46.2946, 51.6963]
    """
    if size < 1:
        raise UserError(f"a crop of {size} pixels; give a size of at least 1, usually 112")
    if size % 128 == 0 and size % 112:
        ratio = size / 128
        return TEMPLATE_112 * ratio + np.array([8 * ratio, 0.0])
    return TEMPLATE_112 * (size / 112)


def unusable_landmarks(landmarks_N52: ArrayLike) -> dict[int, str]:
    """The rows of `landmarks_N52` (N, 5, 2) that cannot be used for alignment, and why."""
    points = _complex(landmarks_N52)
    not_finite = np.logical_not(np.isfinite(points).all(axis=1))
    far = np.logical_not(np.all(np.abs(points) <= _FARTHEST, axis=1))
    points = np.where(far[:, None], 0, points)
    centred = points - points.mean(axis=1, keepdims=True)
    power = (np.abs(centred) ** 2).sum(axis=1)
    # The two eigenvalues of the scatter matrix are power ± |Σ z²|, halved.
    thin = power - np.abs((centred**2).sum(axis=1))
    wanted = _complex(TEMPLATE_112[None])[0]
    turn = np.abs((centred.conj() * (wanted - wanted.mean())).sum(axis=1))
    reach = np.sqrt(power) * np.linalg.norm(wanted - wanted.mean())
    reasons = (
        (not_finite, "a landmark is not a finite number"),
        (far, f"a landmark is more than {_FARTHEST:,} pixels away"),
        (power <= 1e-12, "all five landmarks are one point"),
        (thin <= 2 * _FLAT**2 * power, "the five landmarks lie on one line"),
        (turn <= _FLAT * reach, "no rotation and scale maps the landmarks onto a face's"),
    )
    problems: dict[int, str] = {}
    for wrong, reason in reasons:
        for row in np.flatnonzero(wrong):
            problems.setdefault(int(row), reason)
    return dict(sorted(problems.items()))


def similarities(landmarks_N52: ArrayLike, size: int = 112) -> Floats:
    """The maps from image to crop that bring landmarks closest to the template: (N, 2, 3).

    Each is [[a, −b, x], [b, a, y]] with the least sum of squared distances to the template. In the
    plane Umeyama's solution is one complex number: with centred landmarks s and template d, a + ib
    = Σ s̄ d / Σ |s|², the projection of d onto s. It never reflects.

    Raises:
        UserError: landmarks that are not finite, equal, or collinear (naming the first row).

    >>> print(similarities(TEMPLATE_112[None] / 2).round(9)[0] + 0)
    [[2. 0. 0.]
     [0. 2. 0.]]
    """
    problems = unusable_landmarks(landmarks_N52)
    if problems:
        row, reason = next(iter(problems.items()))
        raise UserError(
            f"landmarks of face {row}: {reason}; give five different points (x, y) in pixels: "
            "eyes, nose tip and mouth corners. Correct them or leave the image out"
        )
    points, wanted = _complex(landmarks_N52), _complex(template(size)[None])
    middle, goal = points.mean(axis=1, keepdims=True), wanted.mean()
    centred = points - middle
    turn = (centred.conj() * (wanted - goal)).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
    origin = goal - turn * middle[:, 0]
    rows = [turn.real, -turn.imag, origin.real, turn.imag, turn.real, origin.imag]
    return np.stack(rows, axis=1).reshape(-1, 2, 3)


def align_face(
    image: NDArray[np.uint8], landmarks_52: ArrayLike, size: int = 112
) -> NDArray[np.uint8]:
    """Crop the face, rotated and scaled to the template: uint8 (size, size, C).

    Args:
        image: uint8 (H, W, C), channels in any order.
        landmarks_52: (5, 2), x and y in pixels of `image`; they may lie outside it.
        size: side of the crop. Areas outside the image are black.

    Raises:
        UserError: landmarks that cannot be aligned.
        BadImageError: an image that OpenCV cannot warp.
    """
    height, width = image.shape[:2]
    if max(height, width) > _LARGEST_SIDE or min(height, width) < 1:
        raise BadImageError(
            f"an image of {width}×{height} pixels cannot be aligned; its sides must have 1 to "
            f"{_LARGEST_SIDE} pixels: crop the face with a margin first"
        )
    points = np.asarray(landmarks_52)
    if points.shape != (5, 2):
        raise UserError(f"landmarks have shape {points.shape}; give (5, 2), x and y of each")
    matrix = similarities(points[None], size)[0]
    crop = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(crop, np.uint8)


def _complex(landmarks_N52: ArrayLike) -> NDArray[np.complex128]:
    """Points (x, y) as x + iy: (N, 5)."""
    points = np.ascontiguousarray(landmarks_N52, np.float64)
    if points.ndim != 3 or points.shape[1:] != (5, 2):
        raise UserError(f"landmarks have shape {points.shape}; give (N, 5, 2), x and y of each")
    return points.view(np.complex128)[:, :, 0]
