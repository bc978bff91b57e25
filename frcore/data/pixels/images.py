"""Image files as the network wants them: a damaged one is named, never silently used."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from frcore.data.pixels.decoding import BadImageError, decode_rgb
from frcore.data.refusal import refuse, refuse_rows
from frcore.machine.faults import raise_refusal
from frcore.study.data import Image

__all__ = ["fit", "read_all", "read_image", "refuse", "refuse_rows"]

_PART = 4096


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode a file to RGB: uint8 (H, W, 3); see `decode_rgb`.

    Raises:
        BadImageError: the file is missing, or cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        if not isinstance(error, PermissionError):
            raise_refusal(error)
        raise BadImageError(error.strerror or str(error)) from error
    return decode_rgb(content)


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
    # INTER_AREA averages when it shrinks; when it enlarges it would only repeat pixels.
    method = cv2.INTER_AREA if side > wanted.size else cv2.INTER_LINEAR
    size = (wanted.size, wanted.size)
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


def read_all(
    paths: Sequence[Path], wanted: Image, into: NDArray[np.uint8], *, workers: int | None = None
) -> dict[int, str]:
    """Read the files `paths` into the rows of `into`, uint8 (N, size, size, 3).

    Returns:
        the reason for each row that could not be read.
    """
    problems: dict[int, str] = {}

    def read(row: int) -> None:
        try:
            into[row] = fit(read_image(paths[row]), wanted)
        except BadImageError as problem:
            problems[row] = str(problem)

    console = Console(stderr=True)
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("reading images", total=len(paths))
        # In parts: the pool would otherwise queue millions of files at once.
        for start in range(0, len(paths), _PART):
            rows = range(start, min(start + _PART, len(paths)))
            for _ in pool.map(read, rows):
                progress.advance(task)
    return dict(sorted(problems.items()))
