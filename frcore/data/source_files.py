"""Which files each kind of data, and each kind of model, is read from, under which names.

One function per kind, as its reader looks for them: a file that none of them names changes nothing
that is prepared. An image's name is its path below the folder, a list's or archive's that of the
file, so that moving a folder changes none. What is missing or malformed is refused in the reader's
own words, before any job starts. Readers are imported where they are used: a study of synthetic
faces needs none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frcore.data.signatures import below

File = tuple[str, str | Path | None]
"""Name, and where it is; None where the name alone counts."""


def folder(data: Any) -> Iterator[File]:
    """Every file of an identity, also in folders inside; names alone of what lies beside them."""
    from frcore.data.folders.folder import SYSTEM_FILES, folder_of_people

    root = folder_of_people(data.root)
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
                # What is no file, such as a broken link, is named when it is read.
                yield name, entry.path if below and entry.is_file() else None
        waiting += reversed(inner)


def image_list(data: Any) -> Iterator[File]:
    """The list and its images."""
    from frcore.data.folders.folder import NamesOnDisk
    from frcore.data.folders.image_list import read_list

    path = below(data.root, data.list)
    yield f"list {path.name}", path
    on_disk = NamesOnDisk(Path(data.root).resolve())
    for name in read_list(path).paths:
        place = f"{data.root}/{name}"
        if not name.isascii() and not Path(place).exists():
            place = f"{data.root}/{on_disk.find(name) or name}"
        yield name, place


def parquet(data: Any) -> Iterator[File]:
    """The files."""
    return _shards(data, "a Parquet or Arrow file")


def tar(data: Any) -> Iterator[File]:
    """The archives."""
    return _shards(data, "a .tar file")


def _shards(data: Any, what: str) -> Iterator[File]:
    from frcore.data.shards.files import find_shards

    root = Path(data.root).resolve()
    for path in find_shards(data.root, data.pattern, what):
        yield path.relative_to(root).as_posix() if root.is_dir() else path.name, path


def recordio(data: Any) -> Iterator[File]:
    """The `.rec`, what is used beside it, and the list that names the identities."""
    from frcore.data.recordio.dataset import PROPERTY, find_rec

    rec = find_rec(Path(data.root))
    yield rec.name, rec
    for path in (rec.with_suffix(".idx"), rec.parent / PROPERTY):
        if path.is_file():
            yield path.name, path
    if data.names is not None:
        names = below(rec.parent, data.names)
        yield f"names {names.name}", names


def lfw(data: Any) -> Iterator[File]:
    """The list of people and their images."""
    from frcore.data.verification.lfw import PROTOCOL, find_people

    path = Path(data.root) / PROTOCOL / data.people
    yield f"list {path.name}", path
    images, sources = find_people(Path(data.root), path)
    for source in sources:
        yield images.relative(source.path), source.path


def lfw_pairs(data: Any) -> Iterator[File]:
    """The lists of the view and their images."""
    from frcore.data.verification.lfw import IMAGES, lists_of

    return _pairs(lists_of(data), f"{data.root}/{IMAGES}")


def folder_pairs(data: Any) -> Iterator[File]:
    """The list of pairs and its images."""
    return _pairs({"test": below(data.root, data.pairs)}, data.root)


def _pairs(paths: dict[str, Path], root: str) -> Iterator[File]:
    from frcore.data.folders.folder import ImageFolder
    from frcore.data.verification.lfw import find_pairs

    for split, path in paths.items():
        yield f"{split} {path.name}", path
    images = ImageFolder(root)
    for source in find_pairs(paths, images)[1].values():
        yield images.relative(source.path), source.path


def insightface_bin(data: Any) -> Iterator[File]:
    """The one file."""
    path = Path(data.path)
    yield path.name, path


def pair_list(data: Any) -> Iterator[File]:
    """The official lists and the images of their pairs."""
    from frcore.data.pixels.images import refuse
    from frcore.data.verification.pair_lists import READERS, cfp_files, find_images

    root, listed = Path(data.images), Path(data.pairs)
    if data.format.startswith("cfp"):
        for path in cfp_files(listed, data.format):
            yield f"list {path.relative_to(listed).as_posix()}", path
    else:
        yield f"list {listed.name}", listed
    found, problems = find_images(root, READERS[data.format](listed))
    refuse("images of the list are missing", problems, f"Complete {root}, or correct `images`")
    for side, name in found.items():
        yield side.path, root / name


def ijb(data: Any) -> Iterator[File]:
    """The lists that there are and, where they are wanted, the images that they name."""
    from frcore.data.ijb.layout import (
        IMAGE_COLUMNS,
        SYNTHETIC_MARK,
        find_crops,
        list_files,
        meta_file,
    )
    from frcore.data.text_table import TextTable

    root = Path(data.root)
    lists = list_files(root, data.name)
    for path in (root / SYNTHETIC_MARK, *lists):
        if path.is_file():
            yield f"list {path.name}", path
    if data.images:
        crops = find_crops(root, data.name)
        images = meta_file(root, data.name, "face_tid_mid.txt")
        table = TextTable(images, IMAGE_COLUMNS, "Take the list as it was released")
        for name in table.texts("image").to_pylist():
            yield name, f"{crops}/{name}"


def onnx(model: Any) -> Iterator[File]:
    """The graph, and the files beside it that hold its tensors."""
    from frcore.models.onnx_file import read_onnx

    path = Path(model.file)
    yield path.name, path
    folder = path.parent.resolve()
    for beside in read_onnx(path)[1]:
        yield f"tensors {beside.relative_to(folder).as_posix()}", beside


def one_file(model: Any) -> Iterator[File]:
    """A TorchScript archive or a checkpoint."""
    path = Path(model.file)
    yield path.name, path


def embeddings(model: Any, benchmark: str) -> Iterator[File]:
    """The embeddings of one benchmark, and the names of their rows."""
    for what in (model.files, model.names):
        if benchmark in what:
            path = Path(what[benchmark])
            yield path.name, path
