"""The prepared data set: the one folder format that training and evaluation read.

The files and their columns are in `docs/formats.md`. A folder appears whole or not at all, its
manifest is written last, and `content_sha256` covers the values of images, index and protocol
tables (not the Parquet encoding), so that two folders with the same hash give the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pydantic
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from frcore.data.tables import TABLES, Images, content_sha256, typed
from frcore.errors import UserError
from frcore.files import atomic_directory, read_json, write_json

FORMAT = 1
IMAGES, MANIFEST = "images.npy", "manifest.json"


class Skipped(pydantic.BaseModel):
    """A source file that was left out, and why."""

    file: str
    reason: str


class Manifest(pydantic.BaseModel):
    """What a prepared data set is, where it comes from, and the hash of its content."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    kind: str
    protocol: Literal["train", "pairs", "templates"]
    spec: dict[str, Any]
    spec_hash: str
    images: int
    identities: int
    image_size: int
    label_range: tuple[int, int]
    alignment: str
    colour: Literal["RGB"] = "RGB"
    synthetic: bool
    content_sha256: str
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()


class Prepared:
    """A prepared data set on disk: images are a read-only memory map, tables are read when asked.

    Open one with `Prepared.open(folder)`.
    """

    def __init__(self, folder: Path, manifest: Manifest, images: Images):
        self.folder = folder
        self.manifest = manifest
        self.images = images
        """uint8 (N, H, W, 3), RGB."""

    @classmethod
    def open(cls, folder: str | Path) -> Prepared:
        """Open `folder`.

        Raises:
            UserError: it is not a prepared data set of this format, or its parts disagree.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        images = _open_images(folder, manifest)
        for name in ("index", *TABLES[manifest.protocol]):
            rows = _row_count(folder / f"{name}.parquet", manifest.protocol)
            if name == "index" and rows != manifest.images:
                raise UserError(
                    f"{folder}: index.parquet has {rows} rows but manifest.json says "
                    f"{manifest.images} images; the folder is damaged, run `frcore prepare` again"
                )
        return cls(folder, manifest, images)

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row per image: name, identity, label, medium, true_identity."""
        return self._table("index")

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,), 0-based.

        Raises:
            UserError: a label lies outside the manifest's range, so it would have no class centre.
        """
        labels = self.index["label"].to_numpy(np.int64)
        low, high = self.manifest.label_range
        wrong = np.flatnonzero((labels < max(0, low)) | (labels > high))
        if len(wrong):
            raise UserError(
                f"{self.folder}: label {labels[wrong[0]]} of image {wrong[0]} is outside "
                f"{low}..{high} of manifest.json; run `frcore prepare` again"
            )
        return labels

    @property
    def num_classes(self) -> int:
        """How many class centres the labels need."""
        return self.manifest.label_range[1] + 1

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row per pair: a, b (image rows), same, fold, split."""
        return self._table("pairs")

    @cached_property
    def templates(self) -> pd.DataFrame:
        """One row per image of a template: template, image, medium, identity."""
        return self._table("templates")

    @cached_property
    def template_pairs(self) -> pd.DataFrame:
        """One row per pair of templates: a, b, same."""
        return self._table("template_pairs")

    def verify(self) -> None:
        """Recompute the content hash.

        Raises:
            UserError: it is not the manifest's.
        """
        tables = {name: self._table(name) for name in ("index", *TABLES[self.manifest.protocol])}
        found = content_sha256(self.images, tables)
        if found != self.manifest.content_sha256:
            raise UserError(
                f"{self.folder}: the content's sha256 is {found[:12]}… but manifest.json says "
                f"{self.manifest.content_sha256[:12]}…; the files were changed after they were "
                "prepared, run `frcore prepare` again"
            )

    def _table(self, name: str) -> pd.DataFrame:
        if name != "index" and name not in TABLES[self.manifest.protocol]:
            raise UserError(
                f"{self.folder} is a data set of protocol '{self.manifest.protocol}', which has no "
                f"{name}; use a benchmark that has"
            )
        return typed(name, pd.read_parquet(self.folder / f"{name}.parquet"))


class Draft:
    """A prepared data set while it is written: fill `images`, set the tables, add warnings."""

    def __init__(self, folder: Path, count: int, size: int):
        self.folder = folder
        self.images: Images = open_memmap(
            folder / IMAGES, mode="w+", dtype=np.uint8, shape=(count, size, size, 3)
        )
        """uint8 (N, size, size, 3), RGB; a memory map of `images_path`."""
        self.tables: dict[str, pd.DataFrame] = {}
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []

    @property
    def images_path(self) -> Path:
        """The file behind `images`, for workers that fill parts of it."""
        return self.folder / IMAGES

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Keep the images `rows` only, in that order."""
        kept = self.folder / "kept.npy"
        shape = (len(rows), *self.images.shape[1:])
        target = open_memmap(kept, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, len(rows), 1024):
            target[start : start + 1024] = self.images[rows[start : start + 1024]]
        target.flush()
        kept.replace(self.images_path)
        self.images = target


@contextlib.contextmanager
def written(
    out: str | Path,
    *,
    count: int,
    size: int,
    protocol: Literal["train", "pairs", "templates"],
    **about: Any,
) -> Iterator[Draft]:
    """Yield a `Draft` that becomes the prepared data set `out` if the block succeeds.

    Args:
        out: the folder; an older one is replaced.
        count: number of images; `Draft.keep` may lower it.
        size: their side in pixels.
        protocol: decides which protocol tables the block must set.
        about: `kind`, `spec`, `spec_hash`, `alignment`, `synthetic` of the manifest.
    """
    with atomic_directory(out) as folder:
        draft = Draft(folder, count, size)
        yield draft
        names = ("index", *TABLES[protocol])
        tables = {name: typed(name, draft.tables[name]) for name in names}
        for name, table in tables.items():
            table.to_parquet(folder / f"{name}.parquet", index=False)
        draft.images.flush()  # type: ignore[attr-defined]
        index = tables["index"]
        manifest = Manifest(
            protocol=protocol,
            images=len(draft.images),
            identities=int(index["identity"].nunique()),
            image_size=size,
            label_range=(int(index["label"].min()), int(index["label"].max())),
            content_sha256=content_sha256(draft.images, tables),
            skipped=tuple(draft.skipped),
            warnings=tuple(draft.warnings),
            **about,
        )
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _row_count(path: Path, protocol: str) -> int:
    if not path.is_file():
        raise UserError(
            f"{path} is missing, which a prepared data set of protocol '{protocol}' has; "
            "run `frcore prepare` again"
        )
    try:
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}; run `frcore prepare` again") from error


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        what = "has no manifest.json" if folder.is_dir() else "does not exist"
        raise UserError(
            f"{folder} {what}, so it is not a prepared data set; make one with `frcore prepare`"
        )
    try:
        content = read_json(path)
        given = content.get("format") if isinstance(content, dict) else None
        if given != FORMAT:
            raise UserError(
                f"{path}: format {given!r}, but this version reads format {FORMAT}; "
                "run `frcore prepare` again"
            )
        return Manifest.model_validate(content)
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {error}; run `frcore prepare` again") from error


def _open_images(folder: Path, manifest: Manifest) -> Images:
    path = folder / IMAGES
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {error}; run `frcore prepare` again") from error
    size = manifest.image_size
    expected = (manifest.images, size, size, 3)
    if images.shape != expected or images.dtype != np.uint8:
        raise UserError(
            f"{path} is {images.dtype} {images.shape} but manifest.json says uint8 {expected}; "
            "the folder is damaged, run `frcore prepare` again"
        )
    return images
