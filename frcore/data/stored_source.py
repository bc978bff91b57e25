"""How a prepared folder keeps what its images are read from, where they stay in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.encoded import open_encoded
from frcore.data.images import refuse
from frcore.data.in_place import InPlaceImages
from frcore.data_config import Image
from frcore.errors import UserError, first_line
from frcore.files import read_json, write_json

SOURCE, TABLE, STAMPS, LANDMARKS = "source.json", "source.parquet", "files.parquet", "landmarks.npy"


def write_source(folder: Path, images: InPlaceImages) -> None:
    """Write what `open_source` needs into the prepared `folder`."""
    settings, table = images.source.describe()
    about = {
        "kind": images.source.kind,
        "settings": settings,
        "image": images.image.model_dump(mode="json"),
        "landmarks": images.landmarks is not None,
    }
    write_json(folder / SOURCE, about)
    table.to_parquet(folder / TABLE, index=False)
    _stamps(images.source.files()).to_parquet(folder / STAMPS, index=False)
    if images.landmarks is not None:
        np.save(folder / LANDMARKS, np.asarray(images.landmarks, np.float32))


def open_source(folder: Path, threads: int | None = None) -> InPlaceImages:
    """The images of a prepared folder that is read in place.

    Raises:
        UserError: the folder is damaged, or a file of the source is gone or was changed.
    """
    try:
        about: dict[str, Any] = read_json(folder / SOURCE)
        table = pd.read_parquet(folder / TABLE)
        stamps = pd.read_parquet(folder / STAMPS)
        image = Image.model_validate(about["image"])
        landmarks = None
        if about["landmarks"]:
            landmarks = np.load(folder / LANDMARKS, mmap_mode="r", allow_pickle=False)
        kind, settings = str(about["kind"]), dict(about["settings"])
        problems = _changes(stamps)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise UserError(
            f"{folder / SOURCE} and what belongs to it cannot be read: {first_line(error)}; run "
            "`frcore prepare` again"
        ) from error
    refuse(f"files that {folder} is read from are not as they were", problems,
           "Put them back, or run `frcore prepare` again")  # fmt: skip
    return InPlaceImages(
        open_encoded(kind, settings, table), image, landmarks=landmarks, threads=threads
    )


def _stamps(files: list[Path]) -> pd.DataFrame:
    """Size and time of the last change of each file: path, bytes, mtime_ns."""
    stats = [path.stat() for path in files]
    return pd.DataFrame(
        {
            "path": pd.Series([str(path) for path in files], dtype="str"),
            "bytes": np.array([stat.st_size for stat in stats], np.int64),
            "mtime_ns": np.array([stat.st_mtime_ns for stat in stats], np.int64),
        }
    )


def _changes(stamps: pd.DataFrame) -> list[str]:
    """What differs from the `stamps` of preparation."""
    found = []
    for path, size, mtime in zip(stamps["path"], stamps["bytes"], stamps["mtime_ns"], strict=True):
        try:
            stat = Path(path).stat()
        except OSError as error:
            found.append(f"{path}: {error.strerror or error}")
            continue
        if stat.st_size != size:
            found.append(f"{path}: had {size} bytes, has {stat.st_size}")
        elif stat.st_mtime_ns != mtime:
            found.append(f"{path}: was changed after it was prepared (its time of change differs)")
    return found
