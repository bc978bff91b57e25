"""A training set that is read in place: checked, indexed and described; no image is copied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.pixels.images import refuse_rows
from frcore.data.prepared.draft import written_in_place
from frcore.data.prepared.encoded import EncodedImages
from frcore.data.prepared.folder import Skipped
from frcore.data.prepared.in_place import InPlaceImages
from frcore.errors import UserError, check_classes
from frcore.study.data import Check, Image


def write_training_in_place(
    source: EncodedImages,
    labels: NDArray[np.int64],
    identities: Sequence[str] | pd.Series,
    image: Image,
    out: Path,
    about: dict[str, Any],
    *,
    min_images: int = 1,
    check: Check = "decode",
    skip: bool = False,
    workers: int | None = None,
    warnings: Sequence[str] = (),
    skipped: Sequence[Skipped] = (),
) -> None:
    """Write the prepared training set of the images of `source` to the folder `out`.

    Args:
        source: the images (N).
        labels: which of `identities` each shows (N,).
        identities: their names (C,), unique; the new labels follow this order.
        image: size and crop.
        out: the folder.
        about: what of the manifest depends on the spec alone.
        min_images: identities with fewer images are left out.
        check: `decode` every image now, or `none`: a damaged one then stops training.
        skip: leave damaged images out and record them, instead of refusing.
        workers: threads that decode; all cores when absent. They never change the result.
        warnings: of the source.
        skipped: what of the source is not among the images, because it cannot be used.

    Raises:
        UserError: an image is damaged and `skip` is false, or none is left.
    """
    said = list(warnings)
    rows = _enough(labels, np.arange(len(source)), min_images)
    _check_left(labels, rows, len(identities), min_images)  # before hours of decoding
    bad: dict[int, str] = {}
    if check == "decode":
        chosen = source if len(rows) == len(source) else source.take(rows)
        found = InPlaceImages(chosen, image, threads=workers).problems()
        bad = {int(rows[at]): reason for at, reason in found.items()}
    else:
        said.append("images were not decoded when they were prepared (check: none)")
    names = source.names
    if not skip:
        refuse_rows(
            "images cannot be used", list(bad), lambda row: f"{names.iloc[row]}: {bad[row]}",
            "Repair the source, or set on_bad_image: skip",
        )  # fmt: skip
    good = rows[~np.isin(rows, np.array(list(bad), np.int64))]
    rows = _enough(labels, good, min_images)
    _check_left(labels, rows, len(identities), min_images)
    kept, new_labels = np.unique(labels[rows], return_inverse=True)
    if len(kept) < len(identities):
        few = len(identities) - len(kept)
        said.append(f"{few} identities with fewer than {min_images} images were left out")
    chosen = source if len(rows) == len(source) else source.take(rows)
    images = InPlaceImages(chosen, image, threads=workers)
    left_out = [*skipped, *(Skipped(file=names.iloc[row], reason=bad[row]) for row in bad)]
    if left_out:
        said.append(skipped_images(len(left_out)))
    with written_in_place(out, images, protocol="train", **about) as draft:
        draft.warnings += said
        draft.skipped += left_out
        who = pd.Series(identities, dtype="str").iloc[labels[rows]].reset_index(drop=True)
        draft.tables["index"] = pd.DataFrame(
            {
                "name": chosen.names,
                "identity": who,
                "label": new_labels,
                # Nothing says which images are frames of one video: each is a medium of its own.
                "medium": np.arange(len(rows)),
                "true_identity": who,
            }
        )


def skipped_images(count: int) -> str:
    """What a training set says of images that it was told to skip."""
    return f"{count} bad images were skipped; see `skipped`"


def _check_left(
    labels: NDArray[np.int64], rows: NDArray[np.int64], identities: int, min_images: int
) -> None:
    """Refuse a training set of none or one of `identities`."""
    if not len(rows):
        raise UserError(
            f"no identity of {identities} has {min_images} usable images; lower `min_images`, or "
            "check the source"
        )
    check_classes(len(np.unique(labels[rows])), "a training set")


def _enough(
    labels: NDArray[np.int64], rows: NDArray[np.int64], min_images: int
) -> NDArray[np.int64]:
    """Those of `rows` whose identity has `min_images` of them."""
    counts = np.bincount(labels[rows])
    return rows[counts[labels[rows]] >= min_images]
