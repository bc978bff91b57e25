"""Reading image files strictly: a damaged one is named, never silently filled with grey.

Pillow and not OpenCV decodes, because OpenCV gives a truncated JPEG back as if it were whole.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps
from rich.console import Console
from rich.progress import Progress

from frcore.config import Image
from frcore.errors import UserError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
"""What counts as an image file, in any case."""

_LARGEST = 100_000_000
_SHOWN = 10
_PART = 4096


class BadImageError(Exception):
    """An image file that cannot be used; the message is the reason."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode a file to RGB: uint8 (H, W, 3).

    Grey is repeated over the channels, alpha is dropped, 16 bits keep their upper 8, and an EXIF
    orientation is applied.

    Raises:
        BadImageError: the file is missing, empty, truncated, corrupt or of an unsupported kind.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error
    if not content:
        raise BadImageError("the file is empty")
    try:
        with Pillow.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > _LARGEST:
                raise BadImageError(
                    f"{picture.width}×{picture.height} pixels are too many for a face"
                )
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture))
    except BadImageError:
        raise
    except Pillow.UnidentifiedImageError as error:
        raise BadImageError("not an image, or damaged at its beginning") from error
    except Exception as error:  # Damaged files make decoders raise nearly anything.
        raise BadImageError(str(error) or type(error).__name__) from error


def _to_rgb(picture: Pillow.Image) -> NDArray[np.uint8]:
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise BadImageError("32-bit pixels; convert the file to 8 or 16 bits")
        grey = (values.astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise BadImageError("floating-point pixels; convert the file to 8 or 16 bits")
    return np.array(picture.convert("RGB"), np.uint8)


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


def refuse(what: str, problems: Sequence[str], remedy: str) -> None:
    """Raise a `UserError` with the first ten `problems` and how many there are, if there are any.

    >>> refuse("images cannot be used", [], "repair them")
    """
    if not problems:
        return
    shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
    more = len(problems) - _SHOWN
    rest = f"\n  … and {more} more" if more > 0 else ""
    raise UserError(f"{len(problems)} {what}:{shown}{rest}\n{remedy}")
