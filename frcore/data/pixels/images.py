"""Image files as the network wants them: a damaged one is named, never silently used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from frcore.data.pixels.decoding import BadImageError, decode_rgb
from frcore.data.progress import progress_bar
from frcore.errors import UserError
from frcore.machine.faults import raise_refusal
from frcore.study.data import Image

_SHOWN = 10
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

    def read(row: int) -> None:
        into[row] = fit(read_image(paths[row]), wanted)

    return each_image(read, len(paths), "reading images", workers)


def each_image(
    work: Callable[[int], None], count: int, what: str, threads: int | None
) -> dict[int, str]:
    """Call `work` with 0 to `count` − 1, in threads and under a progress bar.

    Returns:
        the reason for each image that it could not use.
    """
    problems: dict[int, str] = {}

    def attempt(row: int) -> None:
        try:
            work(row)
        except BadImageError as problem:
            problems[row] = str(problem)

    with ThreadPoolExecutor(threads) as pool, progress_bar() as progress:
        bar = progress.add_task(what, total=count)
        # In parts: the pool would otherwise queue millions of images at once.
        for start in range(0, count, _PART):
            for _ in pool.map(attempt, range(start, min(start + _PART, count))):
                progress.advance(bar)
    return dict(sorted(problems.items()))


def refuse(what: str, problems: Sequence[str], remedy: str, *, total: int | None = None) -> None:
    """Raise a `UserError` with the first ten `problems` and how many there are, if there are any.

    Args:
        what: they are, such as "images cannot be used".
        problems: one text each.
        remedy: what the user can do.
        total: how many there are, where `problems` are only the first of them.

    >>> refuse("images cannot be used", [], "repair them")
    """
    if not problems:
        return
    count = len(problems) if total is None else total
    shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    more = count - min(len(problems), _SHOWN)
    rest = f"\n  … and {more} more" if more > 0 else ""
    raise UserError(f"{count} {what}:{shown}{rest}\n{remedy}")


def refuse_rows(
    what: str,
    rows: Sequence[int] | NDArray[np.int64],
    problem: Callable[[int], str],
    remedy: str,
) -> None:
    """As `refuse`, where only the first ten of perhaps millions of problems are put into words."""
    refuse(what, [problem(int(row)) for row in rows[:_SHOWN]], remedy, total=len(rows))
