"""Data sources: their interface and their catalogue.

A `Source` belongs to one kind of data section of a study. It only reads: it lists its files (for
`frcore.data.signatures`) and returns its `Contents`. `frcore.data.prepare` validates, numbers and
writes these, and `frcore prepare --check` does the same without writing. A new kind is one file
with a class derived from `Source`, and one line in `SOURCES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frcore.components.catalogue import at_place

if TYPE_CHECKING:
    from frcore.data.contents import Contents

SOURCES = {
    "synthetic": "frcore.data.synthetic.sets:Faces",
    "synthetic_identities": "frcore.data.synthetic.identities:Identities",
    "folder": "frcore.data.folders.folder:FolderSource",
    "list": "frcore.data.folders.image_list:ListSource",
    "parquet": "frcore.data.shards.parquet:ParquetSource",
    "tar": "frcore.data.shards.tar:TarSource",
    "recordio": "frcore.data.recordio.training:RecordIOSource",
    "lfw": "frcore.data.verification.lfw:PeopleSource",
    "synthetic_pairs": "frcore.data.synthetic.sets:Pairs",
    "synthetic_identity_pairs": "frcore.data.synthetic.identities:IdentityPairs",
    "synthetic_templates": "frcore.data.synthetic.sets:Templates",
    "lfw_pairs": "frcore.data.verification.lfw:PairsSource",
    "folder_pairs": "frcore.data.verification.lfw:FolderPairsSource",
    "insightface_bin": "frcore.data.verification.insightface_bin:BinSource",
    "pair_list": "frcore.data.verification.pair_lists:PairListSource",
    "cfp_templates": "frcore.data.verification.cfp:TemplatesSource",
    "ijb": "frcore.data.ijb.prepare:IJBSource",
}
"""Kind of data -> the location of its class."""

File = tuple[str, str | Path | None]
"""Name and path; None if only the name matters. The name of an image is its path below the folder,
that of a list or archive its file name, so that moving a folder changes none of them."""


class Source(ABC):
    """Where a data section of a study is read from.

    Args:
        section: of the study.
    """

    def __init__(self, section: Any):
        self.section = section

    @abstractmethod
    def read(self) -> Contents:
        """The contents of the source.

        Raises:
            UserError: it is missing, or nothing in it can be used.
        """

    def files(self) -> Iterator[File]:
        """Every file that `read` depends on; no other file affects the prepared data.

        Raises:
            UserError: the list that names these files is missing or malformed.
        """
        return iter(())

    def needed(self) -> list[tuple[str, Path]]:
        """Key and path of everything the section names, for a first check that it exists."""
        places = _places(self.section)
        lists = _texts(self.section, ("list", "pairs", "names"))
        return [*places, *((key, below(places[0][1], name)) for key, name in lists)]


def _places(section: Any) -> list[tuple[str, Path]]:
    return [(key, Path(value)) for key, value in _texts(section, ("root", "images", "path"))]


def _texts(section: Any, keys: tuple[str, ...]) -> list[tuple[str, str]]:
    given = ((key, getattr(section, key, None)) for key in keys)
    # IJB's `images` is a switch, and synthetic `pairs` are a number.
    return [(key, value) for key, value in given if isinstance(value, str)]


def place_of(section: Any) -> Path | None:
    """The folder or file with the images of a data section; None for synthetic data."""
    return next((path for _, path in _places(section)), None)


def below(root: str | Path, name: str) -> Path:
    """The path of a list, which is looked for below the folder, then in the working directory.

    A file stands for its folder.
    """
    folder = Path(root)
    inside = (folder.parent if folder.is_file() else folder) / name
    return inside if inside.is_file() else Path(name)


def open_source(section: Any) -> Source:
    """The source of a data section."""
    source: Source = at_place(SOURCES[section.kind])(section)
    return source
