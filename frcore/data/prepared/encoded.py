"""Encoded images of a data set, read where they lie: the contract of its readers.

A reader is opened for preparation in its own way (by a path and options of the study), and again
for training from what it then said of itself: settings that are JSON, and a table with one row per
image. Both are stored in the prepared folder, so nothing is searched or parsed twice. A new kind of
source is one class derived from `EncodedImages` and one line in `KINDS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.components.catalogue import at_place
from frcore.data.pixels.decoding import BadImageError, Encoded
from frcore.errors import UserError, unknown_name
from frcore.machine.faults import raise_refusal


class EncodedImages(ABC):
    """Encoded image files (JPEG, PNG, ...) of a data set, numbered 0 to N − 1."""

    kind: ClassVar[str]
    """Its name in `KINDS`."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images, N."""

    @abstractmethod
    def encoded(self, row: int) -> Encoded:
        """The content of image `row`, which must not be changed. Safe to call from threads.

        Raises:
            BadImageError: it cannot be read.
        """

    @property
    @abstractmethod
    def names(self) -> pd.Series:
        """A name of each image (N,), unique, for messages and `index.parquet`."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that the images are read from; they must not change after preparation."""

    @abstractmethod
    def describe(self) -> tuple[dict[str, Any], pd.DataFrame]:
        """What `opened` needs: settings that are JSON, and a table with one row per image.

        Paths in it are absolute. A table with fewer rows, or in another order, is a valid one.
        """

    @classmethod
    @abstractmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        """The reader of the images in `table`, without searching or scanning anything.

        Raises:
            UserError: the source is gone, or is not what the settings say.
        """

    def take(self, rows: NDArray[np.int64]) -> Self:
        """A reader of the images `rows` only, in that order."""
        settings, table = self.describe()
        return type(self).opened(settings, table.iloc[rows].reset_index(drop=True))


class EncodedFiles(EncodedImages):
    """One file per image, below a folder.

    Args:
        root: the folder.
        names: path of each file relative to `root`, with `/` on every system.

    Raises:
        UserError: a name leads out of the folder, or is not UTF-8.
    """

    kind = "files"

    def __init__(self, root: str | Path, names: Sequence[str] | pd.Series):
        self.root = Path(root).resolve()
        try:
            self._names = pd.Series(names, dtype="str").reset_index(drop=True)
        except UnicodeEncodeError as error:
            raise UserError(
                f"the file name {error.object!a} below {self.root} is not UTF-8, so no table can "
                "hold it; rename the file (convmv does it for whole folders)"
            ) from error
        outside = self._names[self._names.str.contains(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]")]
        if len(outside):
            raise UserError(
                f"the image name {outside.iloc[0]!r} leads out of {self.root}; give names below it"
            )

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self._names)

    def encoded(self, row: int) -> bytes:
        """The content of file `row`."""
        try:
            return (self.root / self._names.array[row]).read_bytes()
        except OSError as error:
            if not isinstance(error, PermissionError):
                raise_refusal(error)
            raise BadImageError(error.strerror or str(error)) from error

    @property
    def names(self) -> pd.Series:
        """Paths below the root."""
        return self._names

    def files(self) -> list[Path]:
        """Every image file."""
        return [self.root / name for name in self._names]

    def describe(self) -> tuple[dict[str, Any], pd.DataFrame]:
        """The root, and the path of each file."""
        return {"root": str(self.root)}, pd.DataFrame({"path": self._names})

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        """The reader of the files in `table`."""
        return cls(settings["root"], table["path"])


KINDS = {
    "files": "frcore.data.prepared.encoded:EncodedFiles",
    "insightface_bin": "frcore.data.verification.insightface_bin:BinImages",
    "recordio": "frcore.data.recordio.dataset:RecordIOImages",
    "parquet": "frcore.data.shards.parquet:ColumnImages",
    "tar": "frcore.data.shards.tar:MemberImages",
}
"""The place of each kind of source."""


def open_encoded(kind: str, settings: dict[str, Any], table: pd.DataFrame) -> EncodedImages:
    """The reader that once described itself by `settings` and `table`.

    Raises:
        UserError: no such kind, the settings are not its own, or its source is gone.
    """
    if kind not in KINDS:
        raise unknown_name("kind of encoded images", kind, KINDS)
    reader: type[EncodedImages] = at_place(KINDS[kind])
    try:
        return reader.opened(settings, table)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the source of encoded images ({kind}) cannot be opened again: {error!r}; "
            "run `frcore prepare` again"
        ) from error
