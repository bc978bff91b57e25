"""The prepared data set: the only folder format that training and evaluation read.

The files and their columns are in `docs/formats.md`. `content_sha256` covers the values of images,
index and protocol tables (not the Parquet encoding), so that two folders with the same hash give
the same numbers. `frcore.data.prepared.writing` writes such folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from frcore.components.catalogue import at_place
from frcore.data.prepared.tables import (
    AGAIN,
    COLUMNS,
    OPTIONAL,
    TABLES,
    Images,
    again,
    content_sha256,
    pixels,
    read_column,
    typed,
)
from frcore.data.refusal import reading
from frcore.errors import UserError
from frcore.files import read_json
from frcore.records.manifest import Manifest

if TYPE_CHECKING:
    from frcore.data.prepared.in_place import InPlaceImages

FORMAT = 2
IMAGES, MANIFEST = "images.npy", "manifest.json"


OPENED = {"in_place": "frcore.data.prepared.stored_source:open_source"}
COMPARED = {"in_place": "frcore.data.prepared.stored_source:refuse_changed_source"}
"""Where to find the functions that open images in place, and that check their files again."""


class Prepared:
    """A prepared data set on disk: images and tables are read on demand.

    Open one with `Prepared.open(folder)`.
    """

    def __init__(self, folder: Path, manifest: Manifest, place: Path | None = None):
        self.folder = folder
        self.manifest = manifest
        self._place = place

    @classmethod
    def open(
        cls, folder: str | Path, *, place: str | Path | None = None, images: bool = True
    ) -> Prepared:
        """Open `folder`.

        Args:
            folder: a prepared data set.
            place: where its source is now, if images are read in place and were moved.
            images: whether to open them now, so that a changed source is refused at once, instead
                of when they are first used.

        Raises:
            UserError: it is not a prepared data set of this format, its parts disagree, or the
                source of images read in place was changed.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        data = cls(folder, manifest, Path(place) if place is not None else None)
        if images:
            _ = data.stored_images
        for name in ("index", *_tables(manifest)):
            rows = _row_count(folder / f"{name}.parquet", manifest.protocol)
            if name == "index" and rows != manifest.images:
                raise again(
                    f"{folder}: index.parquet has {rows} rows but manifest.json says "
                    f"{manifest.images} images; the folder is damaged"
                )
        return data

    @cached_property
    def stored_images(self) -> Images | InPlaceImages | None:
        """As `images`; None if there are none."""
        return _open_images(self.folder, self.manifest, self._place)

    def refuse_changed(self) -> None:
        """Check again the files that images are read from.

        Raises:
            UserError: one is gone or was changed since the data set was prepared.
        """
        if self.manifest.storage in COMPARED:
            at_place(COMPARED[self.manifest.storage])(self.folder, self._place)

    @property
    def images(self) -> Images | InPlaceImages:
        """uint8 (N, H, W, 3), RGB, by rows: a read-only memory map, or decoded when read in place.

        Raises:
            UserError: the data set has none.
        """
        images = self.stored_images
        if images is None:
            raise UserError(
                f"{self.folder} was prepared without images (storage 'absent'), so it can only "
                "evaluate embeddings computed elsewhere; to embed or train, prepare it with images"
            )
        return images

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row per image: name, identity, label, medium, true_identity."""
        return self._table("index")

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,), 0-based.

        Raises:
            UserError: a label is outside the manifest's range, so it has no class centre.
        """
        labels = self.index["label"].to_numpy(np.int64)
        low, high = self.manifest.label_range
        wrong = np.flatnonzero((labels < max(0, low)) | (labels > high))
        if len(wrong):
            raise again(f"{self.folder}: label {labels[wrong[0]]} of image {wrong[0]} is outside "
                        f"{low}..{high} of manifest.json")  # fmt: skip
        return labels

    @property
    def num_classes(self) -> int:
        """The number of class centres that the labels need."""
        return self.manifest.label_range[1] + 1

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per pair: a, b (image rows), same, fold, split."""
        return self._table("pairs")

    @cached_property
    def templates(self) -> pd.DataFrame:
        """One row per image of a template: template, image, medium, identity, weight."""
        return self._table("templates")

    @property
    def has_search(self) -> bool:
        """Whether there are `galleries` and `probes` for 1:N search."""
        return {"galleries", "probes"} <= set(_tables(self.manifest))

    @cached_property
    def galleries(self) -> pd.DataFrame:
        """One row per enrolled template: gallery (from 1), template, identity."""
        return self._table("galleries")

    @cached_property
    def probes(self) -> pd.DataFrame:
        """One row per probe template: template, identity."""
        return self._table("probes")

    @cached_property
    def template_pairs(self) -> pd.DataFrame:
        """One row per pair of templates: a, b, same."""
        return self._table("template_pairs")

    def column(self, table: str, name: str) -> NDArray[Any]:
        """One numeric column of a protocol table, read alone: int32 if its values fit.

        A list of 15.7 million pairs then takes 140 MB, instead of the gigabyte for reading and
        casting the whole table.
        """
        self._refuse_unknown_table(table)
        return read_column(self.folder / f"{table}.parquet", name, COLUMNS[table][name])

    def verify(self) -> None:
        """Recompute the content hash, which reads every image.

        Raises:
            UserError: it is not the manifest's.
        """
        tables = {name: self._table(name) for name in ("index", *_tables(self.manifest))}
        found = content_sha256(image_content(self.stored_images), tables)
        if found != self.manifest.content_sha256:
            raise again(
                f"{self.folder}: the content's sha256 is {found[:12]}… but manifest.json says "
                f"{self.manifest.content_sha256[:12]}…: the files were changed after they were "
                "prepared"
            )

    def _table(self, name: str) -> pd.DataFrame:
        self._refuse_unknown_table(name)
        return typed(name, pd.read_parquet(self.folder / f"{name}.parquet"))

    def _refuse_unknown_table(self, name: str) -> None:
        if name != "index" and name not in _tables(self.manifest):
            raise UserError(
                f"{self.folder} is a data set with the protocol '{self.manifest.protocol}', which "
                f"has no {name}; use a benchmark that has"
            )


def _tables(manifest: Manifest) -> tuple[str, ...]:
    optional = OPTIONAL.get(manifest.protocol, ())
    return (*TABLES[manifest.protocol], *(name for name in optional if name in manifest.tables))


def _row_count(path: Path, protocol: str) -> int:
    if not path.is_file():
        raise again(f"{path} is missing; a prepared data set with protocol '{protocol}' needs it")
    with reading(path, AGAIN, pyarrow.ArrowException):
        return int(pyarrow.parquet.read_metadata(path).num_rows)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        what = "has no manifest.json" if folder.is_dir() else "does not exist"
        raise UserError(
            f"{folder} {what}, so it is not a prepared data set; make one with `frcore prepare`"
        )
    with reading(path, AGAIN, ValueError):
        content = read_json(path)
        given = content.get("format") if isinstance(content, dict) else None
        if given != FORMAT:
            raise again(f"{path}: format {given!r}, but this version reads format {FORMAT}")
        return Manifest.model_validate(content)


def image_content(images: Images | InPlaceImages | None) -> Iterator[bytes | memoryview]:
    """The bytes that determine the pixels of `images`, for the content hash."""
    if images is None:
        return iter((b"absent",))
    return pixels(images) if isinstance(images, np.ndarray) else images.content()


def _open_images(
    folder: Path, manifest: Manifest, place: Path | None
) -> Images | InPlaceImages | None:
    if manifest.storage == "absent":
        return None
    images: Images | InPlaceImages = (
        at_place(OPENED[manifest.storage])(folder, place=place)
        if manifest.storage in OPENED
        else _mapped(folder / IMAGES)
    )
    size = manifest.image_size
    expected = (manifest.images, size, size, 3)
    if images.shape != expected or images.dtype != np.uint8:
        raise again(f"the images of {folder} are {images.dtype} {images.shape} but manifest.json "
                    f"says uint8 {expected}; the folder is damaged")  # fmt: skip
    return images


def _mapped(path: Path) -> Images:
    with reading(path, AGAIN, ValueError, EOFError):
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
