"""Labeled Faces in the Wild, and pairs in its format over any folder of images.

Under `root` lie the images, `aligned-112/<name>/<name>_0001.jpg`, and the official lists,
`protocol/`. Huang, Ramesh, Berg, Learned-Miller: Labeled Faces in the Wild. UMass Amherst technical
report 07-49, 2007.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from frcore.data.folders.folder import ImageFolder, Source, enough, write_sources
from frcore.data.pixels.images import refuse
from frcore.data.prepared.draft import written
from frcore.data.verification.lfw_lists import Pair, Person, read_pairs, read_people
from frcore.errors import UserError, check_classes
from frcore.study.data import LFW_LISTS, FolderPairs, Image, LFWPairs, LFWPeople

IMAGES, PROTOCOL = "aligned-112", "protocol"

VIEW_1_NOTE = (
    "View 1: the threshold comes from pairsDevTrain, whose people are those of peopleDevTrain; "
    "the test pairs are of other people"
)


def write_people(spec: LFWPeople, image: Image, out: Path, about: dict[str, Any],
                 workers: int | None) -> None:  # fmt: skip
    """Write the people of an LFW list as a training set to the folder `out`."""
    path = Path(spec.root) / PROTOCOL / spec.people
    folder, sources = find_people(Path(spec.root), path)
    kept = enough(sources, spec.min_images)
    if not kept:
        raise UserError(f"{path}: nobody has {spec.min_images} images; lower `min_images`")
    check_classes(len({source.identity for source in kept}), f"{path}: a training set")
    with written(out, count=len(kept), size=image.size, protocol="train", **about) as draft:
        left_out = len({s.identity for s in sources}) - len({s.identity for s in kept})
        if left_out:
            draft.warnings.append(
                f"{left_out} identities with fewer than {spec.min_images} images were left out"
            )
        write_sources(draft, kept, folder, image, workers)


def find_people(root: Path, path: Path) -> tuple[ImageFolder, list[Source]]:
    """The folder of images below `root`, and those of the people in the list `path`.

    Raises:
        UserError: the list is malformed, or an image of it is missing.
    """
    folder = ImageFolder(_root(root) / IMAGES)
    sources: list[Source] = []
    problems: list[str] = []
    for person in read_people(path):
        for number in numbers_of(person, folder):
            find_numbered(folder, person.name, number, f"{path}:{person.line}", sources, problems)
    refuse("images of the list are missing", problems, f"Complete {folder.root}")
    return folder, sources


def write_lfw_pairs(spec: LFWPairs, image: Image, out: Path, about: dict[str, Any],
                    workers: int | None) -> None:  # fmt: skip
    """Write View 1's test list (with a threshold split), or View 2's ten folds, to `out`."""
    notes = [VIEW_1_NOTE] if spec.view == 1 else []
    images = ImageFolder(_root(spec.root) / IMAGES)
    _write_lists(lists_of(spec), images, image, out, about, workers, notes)


def lists_of(spec: LFWPairs) -> dict[str, Path]:
    """Split -> the official list of the view."""
    return {
        split: Path(spec.root) / PROTOCOL / name for split, name in LFW_LISTS[spec.view].items()
    }


def write_folder_pairs(spec: FolderPairs, image: Image, out: Path, about: dict[str, Any],
                       workers: int | None) -> None:  # fmt: skip
    """Write pairs listed in LFW's format over any folder of images to the folder `out`.

    `spec.pairs` is looked for below `spec.root` first, then from the current folder.
    """
    below = Path(spec.root) / spec.pairs
    path = below if below.is_file() else Path(spec.pairs)
    if not path.is_file():
        raise UserError(f"the list of pairs is neither {below} nor {path}; correct `pairs`")
    _write_lists({"test": path}, ImageFolder(spec.root), image, out, about, workers, [])


def find_pairs(
    paths: dict[str, Path], folder: ImageFolder
) -> tuple[dict[str, list[Pair]], dict[tuple[str, int], Source]]:
    """The pairs of each split's list, and the image file of each name and number in them.

    Raises:
        UserError: a list is malformed, or an image of it is missing.
    """
    lists = {split: read_pairs(path) for split, path in paths.items()}
    files: dict[tuple[str, int], Source] = {}
    problems: list[str] = []
    for split, pairs in lists.items():
        for pair in pairs:
            for key in ((pair.a, pair.i), (pair.b, pair.j)):
                if key not in files:
                    found: list[Source] = []
                    find_numbered(folder, *key, f"{paths[split]}:{pair.line}", found, problems)
                    files.update((key, source) for source in found)
    refuse("images of the list are missing", problems, f"Complete {folder.root}")
    return lists, files


def _write_lists(
    paths: dict[str, Path],
    folder: ImageFolder,
    image: Image,
    out: Path,
    about: dict[str, Any],
    workers: int | None,
    notes: list[str],
) -> None:
    """Write the pairs of one list per split, in the lists' order."""
    lists, files = find_pairs(paths, folder)
    rows = {key: row for row, key in enumerate(sorted(files))}
    tables = [_table(pairs, rows, split) for split, pairs in lists.items()]
    with written(out, count=len(rows), size=image.size, protocol="pairs", **about) as draft:
        draft.warnings += notes + _shared_people(lists)
        draft.tables["pairs"] = pd.concat(tables, ignore_index=True)
        write_sources(draft, [files[key] for key in rows], folder, image, workers)


def _table(pairs: list[Pair], rows: dict[tuple[str, int], int], split: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [rows[pair.a, pair.i] for pair in pairs],
            "b": [rows[pair.b, pair.j] for pair in pairs],
            "same": [pair.same for pair in pairs],
            "fold": [pair.fold for pair in pairs],
            "split": split,
        }
    )


def _shared_people(lists: dict[str, list[Pair]]) -> list[str]:
    """A warning when folds share people, because their accuracies are then not independent."""
    folds: dict[str, set[tuple[str, int]]] = {}
    for split, pairs in lists.items():
        for pair in pairs:
            for name in (pair.a, pair.b):
                folds.setdefault(name, set()).add((split, pair.fold))
    shared = sorted(name for name, where in folds.items() if len(where) > 1)
    if not shared:
        return []
    return [f"{len(shared)} people are in more than one fold or split, the first is {shared[0]!r}"]


def _root(given: str | Path) -> Path:
    root = Path(given)
    for part in (IMAGES, PROTOCOL):
        if not (root / part).is_dir():
            raise UserError(
                f"{root} has no folder {part}/; `root` must hold {IMAGES}/<name>/<name>_0001.jpg "
                f"and LFW's lists in {PROTOCOL}/"
            )
    return root


def numbers_of(person: Person, folder: ImageFolder) -> range:
    """The numbers of the images that a list gives to a person.

    They end with the first that cannot be there: a damaged list may ask for a billion.
    """
    return range(1, min(person.images, len(folder.files(person.name)) + 1) + 1)


def find_numbered(folder: ImageFolder, name: str, number: int, where: str, found: list[Source],
          problems: list[str]) -> None:  # fmt: skip
    """Add the file of image `number` of `name` to `found`, or what is wrong to `problems`."""
    files = folder.numbered(name, number)
    wanted = f"{name}/{name}_{number:04d}"
    if len(files) == 1:
        found.append(Source(name, files[0]))
        return
    if files:
        problem = f"{wanted} is ambiguous: {', '.join(path.name for path in files)}"
    elif folder.files(name):
        problem = f"{wanted} does not exist"
    else:
        # Similar names take long to find among thousands, and refusals show ten.
        near = folder.nearest(name) if len(problems) < 10 else None
        hint = f"; did you mean {near!r}?" if near else ""
        problem = f"nobody is called {name!r}{hint}"
    # One line of a list can ask for several images of the same missing person.
    if f"{where}: {problem}" not in problems[-1:]:
        problems.append(f"{where}: {problem}")
