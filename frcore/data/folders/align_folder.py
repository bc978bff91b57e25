"""`frcore prepare --align`: crop and align a folder of images using a list of landmarks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.names import NamesOnDisk, normalised
from frcore.data.pixels.align import align_face
from frcore.data.pixels.images import each_image, read_image
from frcore.data.pixels.picture_kinds import is_picture, without_suffix
from frcore.data.refusal import folder_at, refuse
from frcore.data.text_table import POINT_COLUMNS, Kind, TextTable, landmarks_of, unsafe_names
from frcore.errors import UserError
from frcore.files import FolderKind, atomic_directory, refuse_other_folder, refuse_overlap

ALIGNED = FolderKind("a folder of aligned faces", ".frcore-aligned.json")
"""Its faces have the names of their images, so it lists them itself."""

_ENCODINGS: Mapping[str, tuple[str, list[int]]] = {
    "jpeg95": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 95]),
    "jpeg100": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 100]),
    "png": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 3]),
}
_COLUMNS: Mapping[str, Kind] = {"path": "name", **POINT_COLUMNS}
_REMEDY = (
    "A line is the path of an image below the folder, and x and y of left eye, right eye, nose "
    "tip, left and right mouth corner, separated by tabs or spaces"
)


def align_folder(
    images: str | Path,
    landmarks: str | Path,
    out: str | Path,
    *,
    size: int = 112,
    encoding: str = "jpeg95",
    threads: int | None = None,
) -> tuple[int, list[str]]:
    """Align every image that the list `landmarks` names, and write the faces to the folder `out`.

    Sub-folders (one per identity) and names stay; the suffix becomes that of the encoding.

    Args:
        images: folder of the images.
        landmarks: the list, `path x1 y1 … x5 y5` per line, in pixels of each image.
        out: the folder of faces; written completely or not at all. It replaces older faces, but
            nothing else.
        size: side of a face in pixels.
        encoding: JPEG of quality 95 or 100, or PNG, which is lossless.
        threads: that decode, align and encode; Python's default number if None. They never change
            the result.

    Returns:
        how many faces were written, and the images below the folder that the list does not name.

    Raises:
        UserError: a line is malformed, leads out of the folder, is a duplicate or names a missing
            or damaged image (the first ten are listed); nothing is written.
    """
    images, landmarks = Path(images), Path(landmarks)
    refuse_overlap(Path(out), (images, landmarks))
    refuse_other_folder(Path(out), ALIGNED)
    folder_at(images, "give the one that the list's paths are relative to")
    if encoding not in _ENCODINGS:
        raise UserError(f"no encoding '{encoding}'; allowed: {', '.join(_ENCODINGS)}")
    if not 16 <= size <= 512:
        raise UserError(f"faces of {size} pixels; allowed are 16 to 512, usually 112")
    table = TextTable(landmarks, _COLUMNS, _REMEDY, separator=None)
    points = _checked_points(table)
    on_disk = NamesOnDisk(images)
    names = [on_disk.actual(name) for name in table.texts("path").to_pylist()]
    unlisted = sorted(set(_pictures(images)) - set(names))
    suffix, options = _ENCODINGS[encoding]

    def write(row: int) -> None:
        face = align_face(read_image(images / names[row]), points[row], size)
        target = folder / (without_suffix(names[row]) + suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        _, code = cv2.imencode(suffix, cv2.cvtColor(face, cv2.COLOR_RGB2BGR), options)
        target.write_bytes(code.tobytes())

    with atomic_directory(out, ALIGNED) as folder:
        reasons = each_image(write, len(names), "aligning faces", threads)
        problems = [f"{landmarks}:{row + 1}: {images / names[row]}: {reason}"
                    for row, reason in reasons.items()]  # fmt: skip
        refuse("images cannot be aligned", problems, "Replace the images, or remove their lines")
    return len(names), unlisted


def _pictures(images: Path) -> Iterator[str]:
    """The images below a folder except hidden ones: paths with `/`."""
    for folder, inner, files in os.walk(images):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and is_picture(path):
                yield path.relative_to(images).as_posix()


def _checked_points(table: TextTable) -> NDArray[np.float64]:
    """Landmarks (N, 5, 2), checked to be usable."""
    names = table.texts("path")
    # If two names differ only in case or suffix, one would overwrite the other on some systems.
    stems = [normalised(without_suffix(name)).casefold() for name in names.to_pylist()]
    codes = pd.factorize(np.array(stems, object))[0]
    table.refuse_where(
        (unsafe_names(names), "the path must lead to a file below the folder of images"),
        table.repeated(codes, "the image (apart from case and suffix)"),
    )
    points, unusable = landmarks_of(table)
    table.refuse_where(unusable)
    return points
