"""A folder with one sub-folder of images for each identity."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from frcore.data.names import NamesOnDisk, normalised
from frcore.data.pixels.images import read_all, refuse
from frcore.data.pixels.picture_kinds import is_picture
from frcore.data.prepared.draft import Draft, written
from frcore.data.prepared.encoded import EncodedFiles
from frcore.data.prepared.folder import Skipped
from frcore.data.prepared.training_set import skipped_images, write_training_in_place
from frcore.errors import UserError, check_classes
from frcore.study.data import Folder, Image

__all__ = ["NamesOnDisk", "normalised"]

SYSTEM_FILES = frozenset((".ds_store", "thumbs.db", "desktop.ini"))

_DEEPER = "pictures that lie in a folder inside that of their identity, where none is read"


class Source(NamedTuple):
    """One image file of an identity."""

    identity: str
    path: Path


def folder_of_people(root: str | Path) -> Path:
    """The folder `root`.

    Raises:
        UserError: it is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(
            f"{root} is not a folder; give one with a sub-folder of images per identity"
        )
    return root


class Contents(NamedTuple):
    """What lies in the folder of an identity, but for hidden files and those of systems."""

    pictures: list[Path]
    """Sorted by name. Not yet decoded: they may be damaged, or of a kind that is not read."""
    deeper: list[Path]
    """Pictures in folders inside it, which are not read."""
    others: list[Path]
    """What is no picture, neither by its name nor by its content."""


class ImageFolder:
    """The identities and image files under a folder; names are in their composed (NFC) form.

    Raises:
        UserError: the folder is missing, or two identities differ only in case or Unicode form.
    """

    def __init__(self, root: str | Path):
        self.root = folder_of_people(root)
        self._folders: dict[str, Path] = {}
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

    def contents(self, identity: str) -> Contents:
        """All that lies in the folder of an identity that there is."""
        pictures, others, folders = _sorted_out(self._folders[identity])
        deeper: list[Path] = []
        while folders:
            here, more, inner = _sorted_out(folders.pop())
            deeper, others = deeper + here, others + more
            # A link could lead back.
            folders += [folder for folder in inner if not folder.is_symlink()]
        return Contents(pictures, sorted(deeper), sorted(others))

    @cached_property
    def _stems(self) -> dict[str, dict[str, list[Path]]]:
        return {}

    def numbered(self, identity: str, number: int) -> list[Path]:
        """Image files `<identity>_%04d` with any suffix or none: one, none, or several."""
        name = normalised(identity)
        if name not in self._stems:
            stems: dict[str, list[Path]] = {}
            for path in self.files(name):
                # Without a suffix, what follows a dot in a name (A.J._Cook) looks like one.
                for stem in {path.stem, path.name}:
                    stems.setdefault(normalised(stem), []).append(path)
            self._stems[name] = stems
        return self._stems[name].get(f"{name}_{number:04d}", [])

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


def write_folder(spec: Folder, image: Image, out: Path, about: dict[str, Any],
                 workers: int | None) -> None:  # fmt: skip
    """Write a training set from a folder of images to the folder `out`."""
    folder = ImageFolder(spec.root)
    found = {who: folder.contents(who) for who in folder.identities}
    everything = [Source(who, path) for who in found for path in found[who].pictures]
    deeper = [folder.relative(path) for who in found for path in found[who].deeper]
    if spec.on_bad_image == "refuse":
        refuse(_DEEPER, [str(folder.root / name) for name in deeper],
               "Move them up, or `root` down; on_bad_image: skip leaves them out")  # fmt: skip
    sources = enough(everything, spec.min_images)
    if not sources:
        raise UserError(
            f"{folder.root}: no identity has {spec.min_images} images in a sub-folder of its "
            "own; check `root` or lower `min_images`"
        )
    check_classes(len({source.identity for source in sources}), f"{folder.root}: a training set")
    warnings = _warnings(folder, found, sources, spec.min_images)
    skipped = [Skipped(file=name, reason=f"one of {_DEEPER}") for name in deeper]
    if spec.storage == "in_place":
        _write_in_place(spec, folder.root, sources, image, out, about, workers, warnings, skipped)
        return
    with written(out, count=len(sources), size=image.size, protocol="train", **about) as draft:
        draft.warnings += warnings
        draft.skipped += skipped
        write_sources(
            draft, sources, folder, image, workers,
            skip=spec.on_bad_image == "skip", min_images=spec.min_images,
        )  # fmt: skip


def _write_in_place(
    spec: Folder, root: Path, sources: list[Source], image: Image, out: Path,
    about: dict[str, Any], workers: int | None, warnings: list[str], skipped: list[Skipped],
) -> None:  # fmt: skip
    codes, names = pd.factorize(pd.Series([source.identity for source in sources]), sort=True)
    files = EncodedFiles(root, [source.path.relative_to(root).as_posix() for source in sources])
    write_training_in_place(
        files, codes.astype(np.int64), pd.Series(names), image, out, about,
        min_images=spec.min_images, skip=spec.on_bad_image == "skip", check=spec.check,
        workers=workers, warnings=warnings, skipped=skipped,
    )  # fmt: skip


def enough(sources: list[Source], min_images: int) -> list[Source]:
    """The images of identities that have at least `min_images` of them."""
    counts = Counter(source.identity for source in sources)
    return [source for source in sources if counts[source.identity] >= min_images]


def write_sources(
    draft: Draft,
    sources: list[Source],
    folder: ImageFolder,
    image: Image,
    workers: int | None,
    *,
    skip: bool = False,
    min_images: int = 1,
) -> None:
    """Read `sources` into `draft`, and make its index.

    Labels follow the sorted names of the identities.

    Args:
        draft: where to, with room for all of them.
        sources: the files.
        folder: what their names are relative to.
        image: crop and size.
        workers: threads.
        skip: leave bad images out and record them, instead of refusing.
        min_images: leave out identities with fewer good images.

    Raises:
        UserError: an image cannot be used and `skip` is false, or none can be used.
    """
    reasons = read_all([source.path for source in sources], image, draft.images, workers=workers)
    bad = {row: (folder.relative(sources[row].path), why) for row, why in reasons.items()}
    if skip:
        draft.skipped += [Skipped(file=file, reason=reason) for file, reason in bad.values()]
        if draft.skipped:
            draft.warnings.append(skipped_images(len(draft.skipped)))
    else:
        problems = [f"{folder.root / file}: {reason}" for file, reason in bad.values()]
        refuse("images cannot be used", problems,
               "Replace or remove them, or (kind: folder) set on_bad_image: skip")  # fmt: skip
    good = [row for row in range(len(sources)) if row not in reasons]
    counts = Counter(sources[row].identity for row in good)
    rows = [row for row in good if counts[sources[row].identity] >= min_images]
    if not rows:
        raise UserError(
            f"{folder.root}: no usable image is left after skipping {len(bad)} bad ones"
        )
    if len(rows) < len(sources):
        draft.keep(np.array(rows))
    draft.tables["index"] = _index([sources[row] for row in rows], folder)


def _index(sources: list[Source], folder: ImageFolder) -> pd.DataFrame:
    who = [source.identity for source in sources]
    labels = {name: label for label, name in enumerate(sorted(set(who)))}
    return pd.DataFrame(
        {
            "name": [folder.relative(source.path) for source in sources],
            "identity": who,
            "label": [labels[name] for name in who],
            # Nothing says which files are frames of one video: each is a medium of its own.
            "medium": range(len(sources)),
            "true_identity": who,
        }
    )


def _warnings(folder: ImageFolder, found: dict[str, Contents], kept: list[Source],
              min_images: int) -> list[str]:  # fmt: skip
    said = unused(folder, found)
    few = {who for who in found if found[who].pictures} - {source.identity for source in kept}
    if few:
        said.append(f"{len(few)} identities with fewer than {min_images} images were left out")
    return said


def unused(folder: ImageFolder, found: dict[str, Contents]) -> list[str]:
    """What of the folder is not used, counted, with the first of each kind; `found` is all of it.

    Pictures that lie deeper are no matter of these lines: they are refused or skipped by name.
    """
    others = [folder.relative(path) for who in found for path in found[who].others]
    empty = [who for who in found if not found[who].pictures]
    return [
        f"{len(names)} {what}, the first is {names[0]!r}"
        for what, names in (
            ("files lie beside the identities' folders and were ignored", folder.stray),
            ("files are no pictures by name or content and were ignored", others),
            ("folders hold no image", empty),
        )
        if names
    ]
