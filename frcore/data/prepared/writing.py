"""Writing a prepared data set: the contents of a source are validated, numbered and written.

A folder is written completely or not at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from frcore.data.contents import Contents, GeneratedImages
from frcore.data.origin import ORIGIN, Origin
from frcore.data.pixels.decoding import BadImageError
from frcore.data.prepared.folder import IMAGES, MANIFEST, image_content
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
from frcore.data.refusal import refuse, refuse_rows
from frcore.errors import UserError, check_classes
from frcore.files import FolderKind, atomic_directory, write_json
from frcore.machine.faults import reserve
from frcore.records.manifest import Manifest, Skipped, Storage
from frcore.study.data import Image

PREPARED = FolderKind(
    "a prepared data set",
    "index.parquet",  # not the manifest: Snakemake deletes that before it prepares again
    (IMAGES, MANIFEST, SOURCE, TABLE, STAMPS, LANDMARKS, ORIGIN,
     *(f"{name}.parquet" for name in COLUMNS)),
)  # fmt: skip


def write(
    out: str | Path,
    contents: Contents,
    image: Image,
    *,
    place: Path | None = None,
    in_place: bool = False,
    min_images: int = 1,
    skip: bool = False,
    decode: bool = True,
    workers: int | None = None,
    origin: Origin | None = None,
    **about: Any,
) -> None:
    """Write the prepared data set of `contents` to the folder `out`.

    Args:
        out: the folder; it replaces an older prepared data set, but nothing else.
        contents: of a source. Labels of a training set are renumbered without gaps.
        image: size and crop.
        place: where the images come from, for messages.
        in_place: leave the images where they are, instead of copying their pixels.
        min_images: identities of a training set with fewer images are left out.
        skip: leave damaged images out and record them, instead of refusing.
        decode: decode images that stay in place once now; otherwise a damaged one stops training.
        workers: that decode or render; all cores by default. They never change the result.
        origin: of the data, if they come from files.
        about: `kind`, `spec`, `spec_hash`, `alignment` and `synthetic` of the manifest.

    Raises:
        UserError: the contents are invalid, or too few images are left.
    """
    refuse(contents.wrong, contents.problems, contents.remedy)
    rows = enough(contents, np.arange(len(contents.index)), min_images, place)
    warnings = [*contents.warnings, *_about_image(contents, image)]
    skipped = [Skipped(file=file, reason=reason) for file, reason in contents.skipped]
    if in_place and contents.decode and not decode:
        warnings.append("images were not decoded when they were prepared (check: none)")
    with atomic_directory(out, PREPARED) as folder:
        images, bad = _stored(folder, contents, rows, image, in_place, decode, workers)
        if bad:
            found = contents.index["name"].iloc[rows[list(bad)]]
            named = list(zip(found, bad.values(), strict=True))
            if not skip:
                refuse_rows(
                    "images cannot be used", range(len(named)),
                    lambda at: ": ".join(named[at]),
                    f"Repair or replace them in {place}, or check `image.crop` and `size`; some "
                    "training sets also allow on_bad_image: skip",
                )  # fmt: skip
            skipped += [Skipped(file=file, reason=reason) for file, reason in named]
            good = np.delete(rows, list(bad))
            kept = enough(contents, good, min_images, place)
            images = _keep(folder, images, np.flatnonzero(np.isin(rows, kept)))
            rows = kept
        index, few = _numbered(contents, rows)
        if few:
            warnings.append(f"{few} identities with fewer than {min_images} images were left out")
        if skipped:
            warnings.append(f"{len(skipped)} bad images were skipped; see `skipped`")
        tables = _write_tables(folder, contents, index)
        for name in ("pairs", "template_pairs"):
            warnings += one_sided(tables[name]) if name in tables else []
        storage: Storage = "absent" if images is None else "copied"
        if isinstance(images, InPlaceImages):
            storage = "in_place"
            write_source(folder, images, origin)
        try:
            content = content_sha256(image_content(images), tables)
        except BadImageError as problem:
            raise UserError(f"an image cannot be read: {problem}; repair the source") from problem
        if origin is not None:
            origin.refuse_changed()
            write_json(folder / ORIGIN, origin.as_record())
        manifest = Manifest(
            protocol=contents.protocol,
            storage=storage,
            tables=tuple(tables)[1:],
            images=len(index),
            identities=int(index["identity"].nunique()),
            image_size=image.size,
            label_range=(int(index["label"].min()), int(index["label"].max())),
            content_sha256=content,
            skipped=tuple(skipped),
            warnings=tuple(warnings),
            **{**about, **contents.about},
        )
        # The manifest comes last: it depends only on the content.
        manifest.write(folder / MANIFEST)


def _about_image(contents: Contents, image: Image) -> list[str]:
    """Warnings for settings in the study's `image` that the source ignores."""
    aligned_here = contents.landmarks is not None
    said, alignment = [], contents.about.get("alignment")
    if aligned_here and alignment != image.alignment:
        said.append(f"image.alignment is '{image.alignment}', but these faces are aligned by their "
                    f"landmarks ({alignment})")  # fmt: skip
    is_made = contents.draw is not None or isinstance(contents.images, GeneratedImages)
    if image.crop is not None and (aligned_here or is_made):
        said.append("image.crop does not apply to faces that are rendered or aligned here; "
                    "ignored")  # fmt: skip
    return said


def _stored(
    folder: Path,
    contents: Contents,
    rows: NDArray[np.int64],
    image: Image,
    in_place: bool,
    decode: bool,
    workers: int | None,
) -> tuple[Images | InPlaceImages | None, dict[int, str]]:
    """The stored images, and why some of these rows cannot be used."""
    source = contents.images
    shape = (len(rows), image.size, image.size, 3)
    if contents.draw is not None:
        pixels = _new_images(folder / IMAGES, shape)
        contents.draw(folder / IMAGES, workers)
        return pixels, {}
    if source is None:
        return None, {}
    images = InPlaceImages(source, image, landmarks=contents.landmarks, threads=workers)
    if len(rows) < len(source):
        images = images.take(rows)
    if in_place:
        return images, images.problems() if contents.decode and decode else {}
    pixels = _new_images(folder / IMAGES, shape)
    return pixels, images.problems(pixels)


def _new_images(path: Path, shape: tuple[int, ...]) -> Images:
    """A memory map of a new `.npy` file with all its disk space reserved."""
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    reserve(path, path.stat().st_size)
    return images


def _keep(
    folder: Path, images: Images | InPlaceImages | None, rows: NDArray[np.int64]
) -> Images | InPlaceImages | None:
    """The stored images of `rows`."""
    if isinstance(images, InPlaceImages):
        return images.take(rows)
    if images is None or len(rows) == len(images):
        return images
    target = _new_images(folder / "kept.npy", (len(rows), *images.shape[1:]))
    for start in range(0, len(rows), 1024):
        target[start : start + 1024] = images[rows[start : start + 1024]]
    (folder / "kept.npy").replace(folder / IMAGES)
    return target


def enough(
    contents: Contents, rows: NDArray[np.int64], min_images: int, place: Path | None
) -> NDArray[np.int64]:
    """The `rows` whose identity has at least `min_images` of them.

    Raises:
        UserError: none is left, or only one identity of a training set.
    """
    labels = contents.index["label"].to_numpy(np.int64)
    if min_images > 1 and len(rows):
        counts = np.bincount(labels[rows])
        rows = rows[counts[labels[rows]] >= min_images]
    if not len(rows):
        raise UserError(
            f"{place}: none of {len(np.unique(labels))} identities has {min_images} usable images; "
            "lower `min_images`, or check the source"
        )
    if contents.protocol == "train":
        check_classes(len(np.unique(labels[rows])), f"{place}: a training set")
    return rows


def _numbered(contents: Contents, rows: NDArray[np.int64]) -> tuple[pd.DataFrame, int]:
    """The index of `rows` with labels without gaps, and how many identities are left out."""
    index = contents.index
    if contents.protocol != "train":
        return index, 0
    before = index["label"].nunique()
    if len(rows) < len(index):
        index = index.iloc[rows].reset_index(drop=True)
        index["medium"] = pd.factorize(index["medium"])[0]
    kept, labels = np.unique(index["label"], return_inverse=True)
    return index.assign(label=labels), before - len(kept)


def _write_tables(folder: Path, contents: Contents, index: pd.DataFrame) -> dict[str, pd.DataFrame]:
    given = contents.tables | {"index": index}
    optional = [name for name in OPTIONAL.get(contents.protocol, ()) if name in given]
    names = ("index", *TABLES[contents.protocol], *optional)
    tables = {name: typed(name, given[name], narrow=True) for name in names}
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return tables
