"""Image files as network input: a damaged one is reported by name, never silently used."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.pixels.decoding import BadImageError, decode_rgb
from frcore.data.progress import progress_bar
from frcore.machine.faults import raise_refusal
from frcore.study.data import Image

_PART = 4096


def read_file(path: Path) -> bytes:
    """The content of an image file.

    Raises:
        BadImageError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        if not isinstance(error, PermissionError):
            raise_refusal(error)
        raise BadImageError(error.strerror or str(error)) from error


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode a file to RGB: uint8 (H, W, 3); see `decode_rgb`.

    Raises:
        BadImageError: the file is missing or cannot be used.
    """
    return decode_rgb(read_file(path))


def fit(image: NDArray[np.uint8], wanted: Image) -> NDArray[np.uint8]:
    """Crop the centre to `wanted.crop`, then resize to `wanted.size`: uint8 (size, size, 3).

    Raises:
        BadImageError: the image is smaller than the crop, or not square and there is no crop.
    """
    height, width = image.shape[:2]
    side = wanted.crop
    if side is None:
        if height != width:
            raise BadImageError(f"{width}×{height} is not square, and image.crop is not set")
        side = height
    if min(height, width) < side:
        raise BadImageError(f"{width}×{height} is smaller than image.crop = {side}")
    top, left = (height - side) // 2, (width - side) // 2
    image = image[top : top + side, left : left + side]
    if side == wanted.size:
        return image
    # INTER_AREA averages when downsampling; when upsampling it would only repeat pixels.
    method = cv2.INTER_AREA if side > wanted.size else cv2.INTER_LINEAR
    size = (wanted.size, wanted.size)
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def each_image(
    work: Callable[[int], None], count: int, what: str, threads: int | None
) -> dict[int, str]:
    """Call `work` with 0 to `count` − 1, in threads and with a progress bar.

    Returns:
        the reason for each image that could not be used.
    """
    problems: dict[int, str] = {}

    def attempt(row: int) -> None:
        try:
            work(row)
        except BadImageError as problem:
            problems[row] = str(problem)

    with ThreadPoolExecutor(threads) as pool, progress_bar() as progress:
        bar = progress.add_task(what, total=count)
        # In parts, or the pool would queue millions of images at once.
        for start in range(0, count, _PART):
            for _ in pool.map(attempt, range(start, min(start + _PART, count))):
                progress.advance(bar)
    return dict(sorted(problems.items()))
