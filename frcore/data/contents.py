"""The contents of a source, and images that stay in place.

Images that stay in place are `EncodedImages`: opened by the source for preparation, and again for
training from their own description: JSON settings, and a table with one row per image. Both are in
the prepared folder, so nothing is searched or parsed twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.components.catalogue import at_place
from frcore.data.names import normalised
from frcore.data.pixels.decoding import Encoded
from frcore.data.pixels.images import read_file
from frcore.errors import UserError, unknown_name
from frcore.records.manifest import Protocol

KINDS = {
    "files": "frcore.data.contents:EncodedFiles",
    "insightface_bin": "frcore.data.verification.insightface_bin:BinImages",
    "recordio": "frcore.data.recordio.dataset:RecordIOImages",
    "parquet": "frcore.data.shards.parquet:ColumnImages",
    "tar": "frcore.data.shards.tar:MemberImages",
    "synthetic_identities": "frcore.data.synthetic.identities:VectorImages",
    "synthetic_identity_pairs": "frcore.data.synthetic.identities:TestVectors",
}
"""Kind of encoded images -> the location of its class."""


class EncodedImages(ABC):
    """Encoded image files (JPEG, PNG, ...) of a data set, numbered 0 to N − 1.

    Args:
        settings: what `opened` needs besides the table, as JSON; paths are absolute.
        table: what it needs for each image, one row each.
    """

    kind: ClassVar[str]
    """Its name in `KINDS`."""

    def __init__(self, settings: dict[str, Any], table: pd.DataFrame):
        self.settings = settings
        self.table = table.reset_index(drop=True)

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self.table)

    @abstractmethod
    def encoded(self, row: int) -> Encoded:
        """The content of image `row`, which must not be changed. Safe to call from threads.

        Raises:
            BadImageError: it cannot be read.
        """

    @property
    @abstractmethod
    def names(self) -> pd.Series:
        """A unique name for each image (N,), for messages and `index.parquet`."""

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that the images are read from; they must not change after preparation."""

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        """A reader of the images in `table`, opened without searching or scanning anything.

        Raises:
            UserError: the source is gone, or does not match the settings.
        """
        return cls(**settings, table=table)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """A reader of the images `rows` only, in that order."""
        return type(self).opened(self.settings, self.table.iloc[rows])


class GeneratedImages(EncodedImages):
    """Images that are computed from settings and table, many at a time, instead of decoded."""

    @abstractmethod
    def generated(self, rows: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        """The images `rows`, uint8 (B, size, size, 3). Safe to call from threads."""

    def encoded(self, row: int) -> Encoded:
        raise TypeError(f"{type(self).__name__} has no encoded images: read them with `generated`")


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
            paths = pd.Series(names, dtype="str")
        except UnicodeEncodeError as error:
            raise UserError(
                f"the file name {error.object!a} below {self.root} is not UTF-8, so no table can "
                "hold it; rename the file (convmv does it for whole folders)"
            ) from error
        outside = paths[paths.str.contains(r"(?:^|[/\\])\.\.(?:[/\\]|$)|^[/\\]")]
        if len(outside):
            raise UserError(
                f"the image name {outside.iloc[0]!r} leads out of {self.root}; give names below it"
            )
        super().__init__({"root": str(self.root)}, pd.DataFrame({"path": paths}))

    def encoded(self, row: int) -> bytes:
        return read_file(self.root / self.names.array[row])

    @property
    def names(self) -> pd.Series:
        return self.table["path"]

    def files(self) -> list[Path]:
        return [self.root / name for name in self.names]

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        return cls(settings["root"], table["path"])


class CopiedFiles(EncodedFiles):
    """Files to copy, whose names in tables are composed (NFC) whatever their form on disk.

    Args:
        root: the folder.
        paths: of the files below it.
    """

    def __init__(self, root: Path, paths: Sequence[Path]):
        super().__init__(root, [normalised(path.relative_to(root).as_posix()) for path in paths])
        self.root, self._paths = root, paths

    def encoded(self, row: int) -> bytes:
        return read_file(self._paths[row])

    def files(self) -> list[Path]:
        return list(self._paths)

    def take(self, rows: NDArray[np.int64]) -> Self:
        return type(self)(self.root, [self._paths[row] for row in rows])


def open_encoded(kind: str, settings: dict[str, Any], table: pd.DataFrame) -> EncodedImages:
    """The reader described by `settings` and `table`.

    Raises:
        UserError: an unknown kind, the settings do not fit it, or its source is gone.
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


@dataclass
class Contents:
    """The contents of a source.

    Errors that leave other images usable are reported in `problems`; those that make the whole
    source unusable are raised as a `UserError`.
    """

    protocol: Protocol
    images: EncodedImages | None
    """N images; None if there are only names (protocol templates), or `draw` makes the images."""
    index: pd.DataFrame
    """One row per image, see `index_of`. Identities of a training set may still have too few."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """The tables of the protocol (`frcore.data.prepared.tables`): pairs, templates, ..."""
    landmarks: NDArray[np.float32] | None = None
    """(N, 5, 2): images are aligned by these instead of being cropped."""
    draw: Callable[[Path, int | None], None] | None = None
    """Fills the file of pixels, `.npy` of uint8 (N, size, size, 3), with that many processes."""
    decode: bool = True
    """Whether every image is decoded once before it is considered usable."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Entries of the manifest that the source overrides: `people`, `alignment`."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Files left out of the images, and why; `on_bad_image: refuse` refuses them."""
    problems: list[str] = field(default_factory=list)
    """Errors in lists and labels, one text each; nothing is prepared until they are corrected."""
    wrong: str = "entries of the source cannot be used"
    """What `problems` are."""
    remedy: str = "Correct the source"
    """How to fix them."""
    warnings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Other counts for `frcore prepare --check`, such as shards."""


def index_of(
    names: pd.Series | Sequence[str],
    codes: NDArray[np.int64],
    identities: pd.Series | Sequence[str],
    medium: Any = None,
) -> pd.DataFrame:
    """The index of N images.

    Args:
        names: of the images (N,).
        codes: which of `identities` each shows (N,).
        identities: their names (C,), unique, in the order of the class centres.
        medium: the still or video of each image (N,); by default each is a separate one.
    """
    who = pd.Series(identities, dtype="str").iloc[codes].reset_index(drop=True)
    return pd.DataFrame(
        {
            "name": pd.Series(names, dtype="str").reset_index(drop=True),
            "identity": who,
            "label": codes,
            "medium": np.arange(len(codes)) if medium is None else medium,
            "true_identity": who,
        }
    )


def index_by_name(
    names: pd.Series, who: Sequence[str] | pd.Series, medium: Any = None
) -> pd.DataFrame:
    """The index of N images that show `who` (N,), whose classes follow the sorted names."""
    codes, identities = pd.factorize(pd.Series(who, dtype="str"), sort=True)
    return index_of(names, codes.astype(np.int64), pd.Series(identities), medium)
