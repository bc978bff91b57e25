"""Labeled Faces in the Wild, and pairs in its format over any folder of images.

Under `root` lie the images, `aligned-112/<name>/<name>_0001.jpg`, and the official lists,
`protocol/`. Huang, Ramesh, Berg, Learned-Miller: Labeled Faces in the Wild. UMass Amherst technical
report 07-49, 2007.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from frcore.data.contents import Contents, CopiedFiles, index_by_name
from frcore.data.folders.folder import ImageFolder
from frcore.data.source import File, below
from frcore.data.verification.lfw_lists import Numbered, read_pairs, read_people
from frcore.data.verification.pairs import ListedSource, Pair, missing, pair_contents
from frcore.errors import UserError
from frcore.study.data import LFW_LISTS

IMAGES, PROTOCOL = "aligned-112", "protocol"

VIEW_1_NOTE = (
    "View 1: the threshold comes from pairsDevTrain, whose people are those of peopleDevTrain; "
    "the test pairs are of other people"
)


class PeopleSource(ListedSource):
    """The people of an LFW list as a training set."""

    def lists(self) -> Iterator[File]:
        path = Path(self.section.root) / PROTOCOL / self.section.people
        yield f"list {path.name}", path

    def read(self) -> Contents:
        folder = ImageFolder(_root(self.section.root) / IMAGES)
        path = Path(self.section.root) / PROTOCOL / self.section.people
        files, problems = find_numbered(folder, wanted_people(path, folder))
        images = CopiedFiles(folder.root, list(files.values()))
        index = index_by_name(images.names, [side.identity for side in files])
        return Contents("train", images, index, **missing(problems, folder.root))

    def needed(self) -> list[tuple[str, Path]]:
        return [*super().needed(), *_needed(self.section.root, [self.section.people])]


class FolderPairsSource(ListedSource):
    """Pairs from a list in LFW's format, over any folder of images.

    The list is looked for below the folder first, then from the current folder.
    """

    def folder(self) -> Path:
        """The folder of the images."""
        return Path(self.section.root)

    def paths(self) -> dict[str, Path]:
        """Split -> path of its list."""
        path = below(self.section.root, self.section.pairs)
        if not path.is_file():
            raise UserError(
                f"the list of pairs {path} is not there, neither below {self.section.root} nor "
                "from here; correct `pairs`"
            )
        return {"test": path}

    def lists(self) -> Iterator[File]:
        for split, path in self.paths().items():
            yield f"{split} {path.name}", path

    def read(self) -> Contents:
        folder = ImageFolder(self.folder())
        pairs = [pair for split, path in self.paths().items() for pair in read_pairs(path, split)]
        files, problems = find_numbered(folder, wanted_of(pairs))
        sides = sorted(files)
        images = CopiedFiles(folder.root, [files[side] for side in sides])
        rows = {side: row for row, side in enumerate(sides)}
        return pair_contents(pairs, rows, images, problems)


class PairsSource(FolderPairsSource):
    """View 1's test list (with a threshold split), or View 2's ten folds."""

    def folder(self) -> Path:
        return _root(self.section.root) / IMAGES

    def paths(self) -> dict[str, Path]:
        lists = LFW_LISTS[self.section.view]
        return {split: Path(self.section.root) / PROTOCOL / name for split, name in lists.items()}

    def read(self) -> Contents:
        contents = super().read()
        if self.section.view == 1:
            contents.warnings.insert(0, VIEW_1_NOTE)
        return contents

    def needed(self) -> list[tuple[str, Path]]:
        root = self.section.root
        return [("root", Path(root)), *_needed(root, LFW_LISTS[self.section.view].values())]


def _root(given: str | Path) -> Path:
    root = Path(given)
    for part in (IMAGES, PROTOCOL):
        if not (root / part).is_dir():
            raise UserError(
                f"{root} has no folder {part}/; `root` must hold {IMAGES}/<name>/<name>_0001.jpg "
                f"and LFW's lists in {PROTOCOL}/"
            )
    return root


def _needed(root: str, lists: Iterable[str]) -> list[tuple[str, Path]]:
    parts = [IMAGES, *(f"{PROTOCOL}/{name}" for name in lists)]
    return [("root", Path(root) / part) for part in parts]


def wanted_of(pairs: list[Pair]) -> dict[Numbered, str]:
    """The images of pairs, and the first line that names each."""
    wanted: dict[Numbered, str] = {}
    for pair in pairs:
        for side in (pair.a, pair.b):
            wanted.setdefault(side, pair.where)
    return wanted


def wanted_people(path: Path, folder: ImageFolder) -> dict[Numbered, str]:
    """The images that a list of people requires, and the line of each.

    They end with the first that cannot be there: a damaged list may ask for a billion.
    """
    return {
        Numbered(person.name, number): f"{path}:{person.line}"
        for person in read_people(path)
        for number in range(1, min(person.images, len(folder.files(person.name)) + 1) + 1)
    }


def find_numbered(
    folder: ImageFolder, wanted: Mapping[Numbered, str]
) -> tuple[dict[Numbered, Path], list[str]]:
    """The files of images, and a problem for each image without a file.

    Args:
        folder: of the images.
        wanted: image -> the line that asks for it.
    """
    found, problems = dict[Numbered, Path](), list[str]()
    for side, where in wanted.items():
        files = folder.numbered(side.identity, side.number)
        if len(files) == 1:
            found[side] = files[0]
            continue
        name, number = side
        what = f"{name}/{name}_{number:04d}"
        if files:
            problem = f"{what} is ambiguous: {', '.join(path.name for path in files)}"
        elif folder.files(name):
            problem = f"{what} does not exist"
        else:
            # Finding similar names among thousands is slow, and only ten problems are shown.
            near = folder.nearest(name) if len(problems) < 10 else None
            problem = f"nobody is called {name!r}" + (f"; did you mean {near!r}?" if near else "")
        # One line of a list can name several images of the same missing person.
        if f"{where}: {problem}" not in problems[-1:]:
            problems.append(f"{where}: {problem}")
    return found, problems
