"""How a prepared folder stores the source of images that stay in place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.contents import open_encoded
from frcore.data.origin import Origin
from frcore.data.prepared.in_place import InPlaceImages
from frcore.data.prepared.tables import AGAIN
from frcore.data.refusal import reading, refuse
from frcore.data.signatures import Hashes
from frcore.files import read_json, sha256_of_file, write_json
from frcore.study.data import Image

SOURCE, TABLE, STAMPS, LANDMARKS = "source.json", "source.parquet", "files.parquet", "landmarks.npy"


def write_source(folder: Path, images: InPlaceImages, origin: Origin | None = None) -> None:
    """Write what `open_source` needs into the prepared `folder`.

    Args:
        folder: being written.
        images: that are read in place.
        origin: of the data. If it is known, the images may be moved; if it was signed by content,
            their modification times may change.
    """
    about = {
        "kind": images.source.kind,
        "settings": images.source.settings,
        "image": images.image.model_dump(mode="json"),
        "landmarks": images.landmarks is not None,
        "base": None if origin is None or origin.base is None else str(origin.base),
    }
    write_json(folder / SOURCE, about)
    images.source.table.to_parquet(folder / TABLE, index=False)
    by_content = origin is not None and origin.signature.by == "content"
    stamps = _stamps(images.source.files(), origin.data if origin and by_content else None)
    stamps.to_parquet(folder / STAMPS, index=False)
    if images.landmarks is not None:
        np.save(folder / LANDMARKS, np.asarray(images.landmarks, np.float32))


def open_source(
    folder: Path, *, place: Path | None = None, threads: int | None = None
) -> InPlaceImages:
    """The images of a prepared folder that are read in place.

    Args:
        folder: the prepared folder.
        place: where the source is now; by default where it was at preparation.
        threads: that decode.

    Raises:
        UserError: the folder is damaged, or a source file is gone or was changed.
    """
    with _reading(folder):
        about: dict[str, Any] = read_json(folder / SOURCE)
        table = pd.read_parquet(folder / TABLE)
        image = Image.model_validate(about["image"])
        landmarks = None
        if about["landmarks"]:
            landmarks = np.load(folder / LANDMARKS, mmap_mode="r", allow_pickle=False)
        moved = _moved(about.get("base"), place)
        kind = str(about["kind"])
        settings = {key: moved(value) for key, value in about["settings"].items()}
    refuse_changed_source(folder, place)
    return InPlaceImages(
        open_encoded(kind, settings, table), image, landmarks=landmarks, threads=threads
    )


def refuse_changed_source(folder: Path, place: Path | None = None) -> None:
    """Refuse a prepared folder if its source files have changed since preparation.

    Raises:
        UserError: a file is gone or was changed, or the folder is damaged.
    """
    with _reading(folder):
        moved = _moved(read_json(folder / SOURCE).get("base"), place)
        problems = _changes(pd.read_parquet(folder / STAMPS), moved)
    refuse(f"source files of {folder} have changed", problems,
           "Put them back, or run the study (or `frcore prepare`) again")  # fmt: skip


def _reading(folder: Path) -> AbstractContextManager[None]:
    damaged = (ValueError, KeyError, TypeError, AttributeError, EOFError)
    return reading(f"{folder / SOURCE}, or a table that belongs to it,", AGAIN, *damaged)


def _moved(base: str | None, place: Path | None) -> Callable[[Any], Any]:
    """A function that moves a path, or the paths in a setting, from below `base` to below `place`.

    Folders prepared by earlier versions do not record `base`.
    """
    old, new = (base, str(place.resolve())) if base is not None and place is not None else ("", "")

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if old == new or not (isinstance(value, str) and Path(value).is_relative_to(old)):
            return value
        return str(Path(new) / Path(value).relative_to(old))

    return moved


def _stamps(files: list[Path], hashed: Any = None) -> pd.DataFrame:
    """Size and modification time of each file, and its sha256 (or empty).

    Args:
        files: the files.
        hashed: the data section whose hashes are cached; None: without hashes.
    """
    stats = [path.stat() for path in files]
    digests = [""] * len(files)
    if hashed is not None:
        with Hashes.beside_snakemake(hashed, update=False) as hashes:
            digests = [hashes.of(path, stat) for path, stat in zip(files, stats, strict=True)]
    return pd.DataFrame(
        {
            "path": pd.Series([str(path) for path in files], dtype="str"),
            "bytes": np.array([stat.st_size for stat in stats], np.int64),
            "mtime_ns": np.array([stat.st_mtime_ns for stat in stats], np.int64),
            "sha256": pd.Series(digests, dtype="str"),
        }
    )


def _changes(stamps: pd.DataFrame, moved: Callable[[Any], Any]) -> list[str]:
    """The differences from the `stamps` of preparation."""
    found = []
    known = stamps["sha256"] if "sha256" in stamps else itertools.repeat("")
    for path, size, mtime, sha256 in zip(
        stamps["path"], stamps["bytes"], stamps["mtime_ns"], known, strict=False
    ):
        now = moved(path)
        try:
            stat = os.stat(now)  # noqa: PTH116  # a Path for each of a million files takes longer
            if stat.st_size != size:
                found.append(f"{now}: had {size} bytes, has {stat.st_size}")
            elif stat.st_mtime_ns != mtime and not (sha256 and sha256_of_file(now) == sha256):
                why = "its content" if sha256 else "its modification time"
                found.append(f"{now}: was changed after it was prepared ({why} differs)")
        except OSError as error:
            found.append(f"{now}: {error.strerror or error}")
    return found
