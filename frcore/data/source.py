"""What data are read from: the contract of every source, and the catalogue of them.

A `Source` belongs to one kind of data section of a study. It only reads: it lists its files (for
`frcore.data.signatures`) and gives its `Contents`. `frcore.data.prepare` validates, numbers and
writes these, and `frcore prepare --check` does the same without writing. A new kind is one file
with a class derived from `Source`, and one line in `SOURCES`.

Images that stay in place are `EncodedImages`: opened by the source for preparation, and again for
training from what they said of themselves: settings that are JSON, and a table with one row per
image. Both are in the prepared folder, so nothing is searched or parsed twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.components.catalogue import at_place
from frcore.data.pixels.decoding import BadImageError, Encoded
from frcore.errors import UserError, unknown_name
from frcore.machine.faults import raise_refusal

SOURCES = {
    "synthetic": "frcore.data.synthetic.sets:Faces",
    "folder": "frcore.data.folders.folder:FolderSource",
    "list": "frcore.data.folders.image_list:ListSource",
    "parquet": "frcore.data.shards.parquet:ParquetSource",
    "tar": "frcore.data.shards.tar:TarSource",
    "recordio": "frcore.data.recordio.training:RecordIOSource",
    "lfw": "frcore.data.verification.lfw:PeopleSource",
    "synthetic_pairs": "frcore.data.synthetic.sets:Pairs",
    "synthetic_templates": "frcore.data.synthetic.sets:Templates",
    "lfw_pairs": "frcore.data.verification.lfw:PairsSource",
    "folder_pairs": "frcore.data.verification.lfw:FolderPairsSource",
    "insightface_bin": "frcore.data.verification.insightface_bin:BinSource",
    "pair_list": "frcore.data.verification.pair_lists:PairListSource",
    "ijb": "frcore.data.ijb.prepare:IJBSource",
}
"""Kind of data -> the place of its class."""

KINDS = {
    "files": "frcore.data.source:EncodedFiles",
    "insightface_bin": "frcore.data.verification.insightface_bin:BinImages",
    "recordio": "frcore.data.recordio.dataset:RecordIOImages",
    "parquet": "frcore.data.shards.parquet:ColumnImages",
    "tar": "frcore.data.shards.tar:MemberImages",
}
"""Kind of encoded images -> the place of its class."""

Protocol = Literal["train", "pairs", "templates"]

File = tuple[str, str | Path | None]
"""Name, and where it is; None where the name alone counts. The name of an image is its path below
the folder, that of a list or archive the file's, so that moving a folder changes none."""


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
        return len(self._names)

    def encoded(self, row: int) -> bytes:
        try:
            return (self.root / self._names.array[row]).read_bytes()
        except OSError as error:
            if not isinstance(error, PermissionError):
                raise_refusal(error)
            raise BadImageError(error.strerror or str(error)) from error

    @property
    def names(self) -> pd.Series:
        return self._names

    def files(self) -> list[Path]:
        return [self.root / name for name in self._names]

    def describe(self) -> tuple[dict[str, Any], pd.DataFrame]:
        return {"root": str(self.root)}, pd.DataFrame({"path": self._names})

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        return cls(settings["root"], table["path"])


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


@dataclass
class Contents:
    """What a source holds.

    A source with something wrong in it that leaves other images usable says so in `problems`; what
    makes all of it unusable it raises as a `UserError`.
    """

    protocol: Protocol
    images: EncodedImages | None
    """N of them; None where only names are there (protocol templates), or `draw` makes them."""
    index: pd.DataFrame
    """One row per image, see `index_of`. Identities of a training set may still have too few."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Those of the protocol (`frcore.data.prepared.tables`): pairs, templates, ..."""
    landmarks: NDArray[np.float32] | None = None
    """(N, 5, 2): images are aligned by these, and not cropped."""
    draw: Callable[[Path, int | None], None] | None = None
    """Fills the file of pixels, `.npy` of uint8 (N, size, size, 3), with so many processes."""
    decode: bool = True
    """Whether every image is decoded once before it is taken for usable."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Entries of the manifest that the source knows better: `people`, `alignment`."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Files that are not among the images, and why; `on_bad_image: refuse` refuses them."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with lists and labels, one text each; nothing is prepared until it is right."""
    wrong: str = "entries of the source cannot be used"
    """What `problems` are, after their number."""
    remedy: str = "Correct the source"
    """What to do about `problems`."""
    warnings: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """What else `frcore prepare --check` counts, such as shards."""


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
        medium: the still or video of each image (N,); absent: each is one of its own.
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


class Source(ABC):
    """Where a data section of a study is read from.

    Args:
        section: of the study.
    """

    def __init__(self, section: Any):
        self.section = section

    @abstractmethod
    def read(self) -> Contents:
        """What it holds.

        Raises:
            UserError: it is missing, or nothing of it can be used.
        """

    def files(self) -> Iterator[File]:
        """Every file that `read` depends on; a file that is not named changes nothing prepared.

        Raises:
            UserError: what says which files these are is missing or malformed.
        """
        return iter(())

    def needed(self) -> list[tuple[str, Path]]:
        """Key and path of what the section names, for a first look whether it is there."""
        return [
            (key, Path(value))
            for key in ("root", "images", "path")
            if isinstance(value := getattr(self.section, key, None), str)
        ]


def place_of(section: Any) -> Path | None:
    """Where the images of a data section lie: a folder or file; None for what is drawn."""
    given = (getattr(section, key, None) for key in ("root", "images", "path"))
    return next((Path(value) for value in given if isinstance(value, str)), None)


def below(root: str | Path, name: str) -> Path:
    """A list as readers look for it: below the folder, then from the working directory."""
    inside = Path(root) / name
    return inside if inside.is_file() else Path(name)


def open_source(section: Any) -> Source:
    """The source of a data section."""
    source: Source = at_place(SOURCES[section.kind])(section)
    return source
