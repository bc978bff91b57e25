"""Images and labels in mxnet's RecordIO files (`.rec`), as written by InsightFace and im2rec.

The container format is in `frcore.data.recordio.container`, the content of its records in
`frcore.data.recordio.layout`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray

from frcore.data.contents import EncodedImages
from frcore.data.pixels.decoding import BadImageError, decode_rgb
from frcore.data.recordio.container import RecordError, RecordFile
from frcore.data.recordio.layout import EXACT, find_images, split_header
from frcore.data.refusal import reading, refuse_rows
from frcore.errors import UserError

PROPERTY = "property"
T = TypeVar("T")


class RecordIOImages(EncodedImages):
    """The encoded images of a `.rec` file.

    Args:
        rec: the file.
        table: `offset` of each image's record, and its `key`, int64 (N,).
    """

    kind = "recordio"

    def __init__(self, rec: str | Path, table: pd.DataFrame):
        self.file = RecordFile(rec)
        super().__init__({"rec": str(self.file.path)}, table)
        self.offsets, self.keys = (table[name].to_numpy(np.int64) for name in ("offset", "key"))

    def encoded(self, row: int) -> memoryview:
        try:
            record = self.file.record(int(self.offsets[row]))
            return record[split_header(record)[2] :]
        except RecordError as error:
            raise BadImageError(str(error)) from error

    @property
    def names(self) -> pd.Series:
        """The keys, as text."""
        return pd.Series(pyarrow.array(self.keys).cast(pyarrow.string()).to_pandas(), dtype="str")

    def files(self) -> list[Path]:
        """Only the `.rec` file: the index is not read again."""
        return [self.file.path]


class RecordIODataset:
    """Images and labels of a `.rec` file, for `torch.utils.data.DataLoader` or direct use.

    The file is memory-mapped, never copied; worker processes of a DataLoader map it again. Without
    an index the file is scanned once. Images are in the order of their keys or, without an index,
    of the file.

    Args:
        path: the `.rec`, or a folder with `train.rec` or with a single `.rec`.
        idx: the index; by default the `.idx` file of the same name next to it, if there is one.
        num_classes: number of identities. By default from the file `property` next to it, else
            from the labels. Labels without images are allowed only if this is given.
        relabel: renumber the labels that occur as 0, 1, ... in order; `stored` has the old ones.
        label: which of a record's several labels is the identity.
        transform: applied to the image.
        skip: leave out records without an image, and any that the `.idx` next to the file lacks
            although they are in the header record's count or in the file, instead of refusing. An
            index given as `idx` may name any subset of the records.

    Raises:
        UserError: a file is missing or damaged, or labels are not class labels.
    """

    def __init__(
        self,
        path: str | Path,
        idx: str | Path | None = None,
        num_classes: int | None = None,
        *,
        relabel: bool = False,
        label: int = 0,
        transform: Callable[[NDArray[np.uint8]], Any] | None = None,
        skip: bool = False,
    ):
        self.path = find_rec(Path(path))
        self.transform = transform
        given = Path(idx) if idx else None
        self.images, found, self.empty, self.notes = _read(self.path, given, label, skip)
        self.stored: NDArray[np.int64] = np.sort(pd.unique(found))
        """The labels that occur, as stored in the file (C,)."""
        stated = num_classes if num_classes is not None else read_property(self.path)
        count = int(self.stored[-1]) + 1 if stated is None else stated
        where = "num_classes" if num_classes is not None else self.path.parent / PROPERTY
        refuse_rows(
            f"labels of {self.path} are not below {stated}, the number in {where}",
            np.flatnonzero(found >= count),
            lambda row: f"record {self.images.keys[row]}: label {found[row]}",
            "Labels are 0-based: correct the number or leave it out",
        )
        missing = count - len(self.stored)
        first = int(np.argmin(np.append(self.stored, -1) == np.arange(len(self.stored) + 1)))
        gaps = f"{missing} of the labels 0 to {count - 1} have no image, the first is {first}"
        if relabel:
            self.notes += [f"{gaps}; the others were renumbered"] if missing else []
            found, count = np.searchsorted(self.stored, found), len(self.stored)
        elif missing and num_classes is None:
            raise UserError(
                f"{self.path}: {gaps}; a centre without images would only be pushed away. Give "
                "num_classes (in a study `identities`) if this is intended, or relabel them"
            )
        self.labels: NDArray[np.int64] = found
        """The identity of each image, int64 (N,), 0-based."""
        self.num_classes = count

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.images)

    def encoded(self, row: int) -> memoryview:
        """The image file of image `row`, as stored in the record.

        Raises:
            IndexError: there is no such row.
            UserError: the record was damaged after the file was opened.
        """
        return self._usable(row, lambda encoded: encoded)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        """The image, uint8 RGB (H, W, 3) or the output of `transform`, and its label.

        Raises:
            IndexError: there is no such row.
            UserError: the image is damaged.
        """
        image = self._usable(row, decode_rgb)
        return (self.transform(image) if self.transform else image), int(self.labels[row])

    def _usable(self, row: int, convert: Callable[[memoryview], T]) -> T:
        if not -len(self) <= row < len(self):
            raise IndexError(f"image {row} of {len(self)} in {self.path}")
        at = row % len(self)
        try:
            return convert(self.images.encoded(at))
        except BadImageError as error:
            raise UserError(
                f"{self.path}: image {at} (record {self.images.keys[at]}) cannot be used: {error}; "
                "copy the file again, or give an `idx` without the record"
            ) from error


def find_rec(path: Path) -> Path:
    """The `.rec` that is `path`, or in it.

    Raises:
        UserError: there is none, or several.
    """
    if not path.is_dir():
        return path.resolve()
    found = sorted(path.glob("*.rec"))
    train = path / "train.rec"
    if train in found:
        return train.resolve()
    if len(found) != 1:
        what = f"several: {', '.join(file.name for file in found[:10])}" if found else "none"
        raise UserError(f"{path} has no train.rec; other .rec files there: {what}. Name the file")
    return found[0].resolve()


def _read(
    path: Path, idx: Path | None, label: int, skip: bool
) -> tuple[RecordIOImages, NDArray[np.int64], NDArray[np.int64], list[str]]:
    """The images of a file, their stored labels, keys without an image, and any remarks."""
    file = RecordFile(path)
    beside = path.with_suffix(".idx")
    found, notes = find_images(file, idx or (beside if beside.is_file() else None), label)
    if notes and idx is None and not skip:
        raise UserError(
            f"{beside}: {'; '.join(notes)}. It is truncated or belongs to another file: copy it "
            "again, or move it away so that the .rec is scanned; on_bad_image: skip trains on the "
            "rest"
        )
    empty = found["key"][found["content"] == 0].to_numpy()
    if not skip:
        refuse_rows(
            f"records of {path} have no image", empty, lambda key: f"record {key}",
            "Copy the file again; on_bad_image: skip leaves them out. Identity records have no "
            "image either, but need a header record with key 0 and two labels",
        )  # fmt: skip
    found = found[found["content"] > 0].reset_index(drop=True)
    if not len(found):
        raise UserError(f"{path} has no images; give a .rec of images")
    labels = found["label"]
    refuse_rows(
        f"labels of {path} are not identities",
        np.flatnonzero(~((labels >= 0) & (labels < EXACT) & (labels % 1 == 0))),
        lambda row: f"record {found['key'][row]}: label {labels[row]:.9g}",
        f"A label is a whole number from 0 to {EXACT - 1}: it is stored as float32, in which "
        "larger ones are not exact",
    )
    images = RecordIOImages(path, found[["offset", "key"]])
    return images, labels.to_numpy(np.int64), empty, notes


def read_property(rec: Path) -> int | None:
    """The number of identities in InsightFace's file `property` next to a `.rec`, if there is one.

    Raises:
        UserError: it is not `identities,height,width`.
    """
    path = rec.parent / PROPERTY
    if not path.exists():
        return None
    remedy = (
        "it is `identities,height,width`, for example 85742,112,112: correct it or move it away"
    )
    with reading(path, remedy, ValueError):
        number, _, _ = (int(field) for field in path.read_text(encoding="utf-8").split(","))
        if number < 1:
            raise ValueError(f"{number} identities")
    return number
