"""A folder with one sub-folder of images for each identity."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from frcore.data.contents import Contents, CopiedFiles, EncodedFiles, index_by_name
from frcore.data.names import by_stem, normalised
from frcore.data.pixels.picture_kinds import is_picture
from frcore.data.refusal import folder_at, refuse
from frcore.data.source import File, Source
from frcore.errors import UserError

SYSTEM_FILES = frozenset((".ds_store", "thumbs.db", "desktop.ini"))

_PEOPLE = "give one with a sub-folder of images per identity"
_DEEPER = "pictures that lie in a folder inside that of their identity, where none is read"


class Listing(NamedTuple):
    """The contents of an identity's folder, except hidden and system files."""

    pictures: list[Path]
    """Sorted by name. Not yet decoded: they may be damaged or in an unsupported format."""
    deeper: list[Path]
    """Images in sub-folders, which are not read."""
    others: list[Path]
    """Files that are not images by name or content."""


class ImageFolder:
    """The identities and image files under a folder; names are in their composed (NFC) form.

    Raises:
        UserError: the folder is missing, or two identities differ only in case or Unicode form.
    """

    def __init__(self, root: str | Path):
        self.root = folder_at(root, _PEOPLE)
        self._folders: dict[str, Path] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}
        self.stray: list[str] = []
        """Files that belong to no identity."""
        folded: dict[str, Path] = {}
        for entry in sorted(self.root.iterdir()):
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                if entry.name.lower() not in SYSTEM_FILES:
                    self.stray.append(entry.name)
                continue
            name = normalised(entry.name)
            twin = folded.setdefault(name.casefold(), entry)
            if twin != entry:
                raise UserError(
                    f"{self.root}: the folders {twin.name!r} and {entry.name!r} differ only in "
                    "case or Unicode form, so they would be one identity on other file systems; "
                    "merge or rename them"
                )
            self._folders[name] = entry

    @property
    def identities(self) -> list[str]:
        """Names of the sub-folders, sorted."""
        return sorted(self._folders)

    def nearest(self, name: str) -> str | None:
        """The identity whose name is most like `name`, for error messages."""
        near = difflib.get_close_matches(name, self._folders, n=1, cutoff=0.6)
        return near[0] if near else None

    def files(self, identity: str) -> list[Path]:
        """The image files of an identity, sorted by name; none for an unknown identity."""
        folder = self._folders.get(normalised(identity))
        return [] if folder is None else _sorted_out(folder)[0]

    def contents(self, identity: str) -> Listing:
        """All that lies in the folder of an identity that there is."""
        pictures, others, folders = _sorted_out(self._folders[identity])
        deeper: list[Path] = []
        while folders:
            here, more, inner = _sorted_out(folders.pop())
            deeper, others = deeper + here, others + more
            # A link could lead back.
            folders += [folder for folder in inner if not folder.is_symlink()]
        return Listing(pictures, sorted(deeper), sorted(others))

    def numbered(self, identity: str, number: int) -> list[Path]:
        """Image files `<identity>_%04d` with any suffix or none: one, none, or several."""
        name = normalised(identity)
        if name not in self._stems:
            self._stems[name] = by_stem(path.name for path in self.files(name))
        files = self._stems[name].get(f"{name}_{number:04d}", [])
        return [self._folders[name] / file for file in files]

    def relative(self, path: Path) -> str:
        """A file's name below the folder, the same on every system."""
        return normalised(path.relative_to(self.root).as_posix())


def _sorted_out(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """The pictures in a folder, other files, and folders; sorted by name."""
    pictures, others, folders = [], [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES:
            continue
        if entry.is_dir():
            folders.append(path)
        # A broken link is named when it is read; a pipe would never end.
        elif (entry.is_file() or not path.exists()) and is_picture(path):
            pictures.append(path)
        else:
            others.append(path)
    return pictures, others, folders


class FolderSource(Source):
    """A training set from a folder of images."""

    def read(self) -> Contents:
        spec, folder = self.section, ImageFolder(self.section.root)
        found = {who: folder.contents(who) for who in folder.identities}
        pictures = [(who, path) for who in found for path in found[who].pictures]
        deeper = [folder.relative(path) for who in found for path in found[who].deeper]
        if spec.on_bad_image == "refuse":
            refuse(_DEEPER, [str(folder.root / name) for name in deeper],
                   "Move them up, or `root` down; on_bad_image: skip leaves them out")  # fmt: skip
        if not pictures:
            raise UserError(
                f"{folder.root}: no sub-folder of an identity has an image; check `root`"
            )
        paths = [path for _, path in pictures]
        images: EncodedFiles = CopiedFiles(folder.root, paths)
        if spec.storage == "in_place":
            relative = [path.relative_to(folder.root).as_posix() for path in paths]
            images = EncodedFiles(folder.root, relative)
        return Contents(
            "train",
            images,
            index_by_name(images.names, [who for who, _ in pictures]),
            skipped=[(name, f"one of {_DEEPER}") for name in deeper],
            warnings=_unused(folder, found),
        )

    def files(self) -> Iterator[File]:
        """Every file of an identity, including sub-folders; of other files only the names."""
        root = folder_at(self.section.root, _PEOPLE)
        waiting = [""]
        while waiting:
            below = waiting.pop()
            with os.scandir(root / below) as entries:
                shown = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
            inner = []
            for entry in shown:
                name = f"{below}{entry.name}"
                if entry.is_dir():
                    yield f"{name}/", None
                    # A link to an identity is followed; deeper ones could lead back.
                    inner += [f"{name}/"] if not below or not entry.is_symlink() else []
                elif entry.name.lower() not in SYSTEM_FILES:
                    # Anything that is not a file, such as a broken link, is reported on reading.
                    yield name, entry.path if below and entry.is_file() else None
            waiting += reversed(inner)


def _unused(folder: ImageFolder, found: dict[str, Listing]) -> list[str]:
    """Counts of unused files and folders, with the first of each kind."""
    others = [folder.relative(path) for who in found for path in found[who].others]
    empty = [who for who in found if not found[who].pictures]
    return [
        f"{len(names)} {what}, the first is {names[0]!r}"
        for what, names in (
            ("files are outside the identities' folders and were ignored", folder.stray),
            ("files are not images by name or content and were ignored", others),
            ("folders contain no image", empty),
        )
        if names
    ]
