"""Prepared data sets while they are written. A folder appears whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from frcore.data.origin import ORIGIN, Origin
from frcore.data.pixels.decoding import BadImageError
from frcore.data.prepared.folder import (
    IMAGES,
    MANIFEST,
    image_content,
)
from frcore.data.prepared.in_place import InPlaceImages
from frcore.data.prepared.stored_source import LANDMARKS, SOURCE, STAMPS, TABLE, write_source
from frcore.data.prepared.tables import (
    COLUMNS,
    OPTIONAL,
    TABLES,
    Images,
    content_sha256,
    one_sided,
    typed,
)
from frcore.errors import UserError, check_classes
from frcore.files import FolderKind, atomic_directory, write_json
from frcore.machine.faults import reserve
from frcore.records.manifest import Manifest, Protocol, Skipped, Storage

PREPARED = FolderKind(
    "a prepared data set",
    "index.parquet",  # not the manifest: Snakemake deletes that before it prepares again
    (IMAGES, MANIFEST, SOURCE, TABLE, STAMPS, LANDMARKS, ORIGIN,
     *(f"{name}.parquet" for name in COLUMNS)),
)  # fmt: skip


class BareDraft:
    """A prepared data set while it is written: set the tables, add warnings."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.tables: dict[str, pd.DataFrame] = {}
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []


class Draft(BareDraft):
    """One whose images are copied: fill `images` too."""

    def __init__(self, folder: Path, count: int, size: int):
        super().__init__(folder)
        self.images: Images = _new_images(self.images_path, (count, size, size, 3))
        """uint8 (N, size, size, 3), RGB; a memory map of `images_path`."""

    @property
    def images_path(self) -> Path:
        """The file behind `images`, for workers that fill parts of it."""
        return self.folder / IMAGES

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Keep the images `rows` only, in that order."""
        kept = self.folder / "kept.npy"
        shape = (len(rows), *self.images.shape[1:])
        target = _new_images(kept, shape)
        for start in range(0, len(rows), 1024):
            target[start : start + 1024] = self.images[rows[start : start + 1024]]
        target.flush()
        kept.replace(self.images_path)
        self.images = target


def _new_images(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A memory map of a new `.npy` file with all its room on the disk."""
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    reserve(path, path.stat().st_size)
    return images


@contextlib.contextmanager
def written(
    out: str | Path, *, count: int, size: int, protocol: Protocol, **about: Any
) -> Iterator[Draft]:
    """Yield a `Draft` that becomes the prepared data set `out` if the block succeeds.

    Args:
        out: the folder; an older prepared data set is replaced, and nothing else.
        count: number of images; `Draft.keep` may lower it.
        size: their side in pixels.
        protocol: decides which protocol tables the block must set.
        about: `kind`, `spec`, `spec_hash`, `alignment`, `synthetic` of the manifest, and the
            `origin` of the data where they come from files.
    """
    with atomic_directory(out, PREPARED) as folder:
        draft = Draft(folder, count, size)
        yield draft
        draft.images.flush()  # type: ignore[attr-defined]
        _finish(draft, draft.images, size, "copied", protocol, about)


@contextlib.contextmanager
def written_in_place(
    out: str | Path, images: InPlaceImages, *, protocol: Protocol, **about: Any
) -> Iterator[BareDraft]:
    """As `written`, for images that stay where they are; their row is that of their source.

    Every image is read once for the content hash. Whether it can be decoded is not checked here:
    `InPlaceImages.problems` tells.
    """
    with atomic_directory(out, PREPARED) as folder:
        draft = BareDraft(folder)
        yield draft
        write_source(folder, images, about.get("origin"))
        _finish(draft, images, images.image.size, "in_place", protocol, about)


@contextlib.contextmanager
def written_absent(
    out: str | Path, *, size: int, protocol: Protocol, **about: Any
) -> Iterator[BareDraft]:
    """As `written`, for a protocol whose images are not there, only their names (the index)."""
    with atomic_directory(out, PREPARED) as folder:
        draft = BareDraft(folder)
        yield draft
        _finish(draft, None, size, "absent", protocol, about)


def _finish(
    draft: BareDraft,
    images: Images | InPlaceImages | None,
    size: int,
    storage: Storage,
    protocol: Protocol,
    about: dict[str, Any],
) -> None:
    """Write the tables, and the manifest last, which nothing but the content changes."""
    origin: Origin | None = about.get("origin")
    optional = [name for name in OPTIONAL.get(protocol, ()) if name in draft.tables]
    names = ("index", *TABLES[protocol], *optional)
    tables = {name: typed(name, draft.tables[name], narrow=True) for name in names}
    for name, table in tables.items():
        table.to_parquet(draft.folder / f"{name}.parquet", index=False)
    index = tables["index"]
    if protocol == "train":
        check_classes(index["label"].nunique(), "a training set")
    for name in ("pairs", "template_pairs"):
        draft.warnings += one_sided(tables[name]) if name in tables else []
    try:
        content = content_sha256(image_content(images), tables)
    except BadImageError as problem:
        raise UserError(f"an image cannot be read: {problem}; repair the source") from problem
    if origin is not None:
        origin.refuse_changed()
        write_json(draft.folder / ORIGIN, origin.as_record())
    manifest = Manifest(
        protocol=protocol,
        storage=storage,
        tables=names[1:],
        images=len(index) if images is None else len(images),
        identities=int(index["identity"].nunique()),
        image_size=size,
        label_range=(int(index["label"].min()), int(index["label"].max())),
        content_sha256=content,
        skipped=tuple(draft.skipped),
        warnings=tuple(draft.warnings),
        **{key: value for key, value in about.items() if key != "origin"},
    )
    manifest.write(draft.folder / MANIFEST)
