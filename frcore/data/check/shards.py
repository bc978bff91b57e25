"""Checkers of what is read in place: lists, Parquet and Arrow files, tar shards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from frcore.data.check.check import Checker, Report, same_picture
from frcore.data.folders.folder import NamesOnDisk
from frcore.data.folders.image_list import found_on_disk, read_list
from frcore.data.prepared.encoded import EncodedFiles
from frcore.data.prepared.labels import Labels, of_texts
from frcore.data.shards.columnar import image_path, open_columns
from frcore.data.shards.files import find_shards
from frcore.data.shards.parquet import ColumnImages, label_type, read_labels
from frcore.data.shards.tar import key_of, read_shards
from frcore.data.shards.tar_index import members
from frcore.errors import UserError
from frcore.study.data import ImageList, ParquetImages, TarImages

_NUMBER = r"-?\d+(?:\.0*)?"
_COLUMNAR = ("parquet", "arrow")


def _study(path: Path, settings: dict[str, str]) -> str:
    """The line of a study, with those settings that are not the default."""
    inside = "".join(f", {key}: {value}" for key, value in settings.items())
    return f'train: {{{inside.removeprefix(", ")}, root: "{path}"}}'


def _identities(
    report: Report, labels: Labels, names: pd.Series, digests: NDArray[np.uint64] | None
) -> None:
    report.counts["identities"] = len(labels.identities)
    if digests is not None:
        who = labels.identities.to_numpy(str)[labels.codes]
        same_picture(digests, who, names.to_numpy(str), report)
    if not labels.are_named:
        report.notes.append("identities have numbers and no names")


def _tar(path: Path, report: Report) -> None:
    shards = find_shards(path, TarImages.model_fields["pattern"].default, "a .tar file")
    kinds = Counter(key_of(member.name)[1] for shard in shards for member in members(shard))
    label = next((kind for kind in ("cls", "json") if kinds[kind]), "folder")
    key = TarImages.model_fields["json_key"].default
    found = read_shards(shards, label, key)
    report.counts["shards"] = len(shards)
    report.all_problems(found.problems)
    report.notes += found.unused
    if not len(found.images):
        raise UserError(f"{path}: no member is an image with a label; see docs/data.md")
    settings = {"kind": "tar"} | ({"label": label} if label != "cls" else {})
    if not found.labels.str.fullmatch(_NUMBER).all():
        settings["labels"] = "name"
    report.study = _study(path, settings)
    digests = report.images(found.images, hashed=True)
    spec = TarImages.model_validate(settings | {"root": str(path)})
    names = found.images.names
    labels = of_texts(found.labels, spec, lambda row: names[row], "tar")
    _identities(report, labels, names, digests)


def _columns(path: Path, report: Report) -> None:
    pattern = ParquetImages.model_fields["pattern"].default
    files = find_shards(path, pattern, "a Parquet or Arrow file")
    settings = {"kind": "parquet"} | _columns_of(files[0])
    report.study = _study(path, settings)
    spec = ParquetImages.model_validate(settings | {"root": str(path)})
    source = ColumnImages.of(files, spec.image)
    report.counts |= {"files": len(files), "row groups": sum(len(c.starts) - 1
                                                             for c in source.columns)}  # fmt: skip
    digests = report.images(source, hashed=True)
    _identities(report, read_labels(source, spec), source.names, digests)


def _columns_of(file: Path) -> dict[str, str]:
    """The columns of images and of labels, where they are not called so, and the labels' kind."""
    schema = open_columns(file, None).schema
    images = [name for name in schema.names if _can_be_image(schema, name)]
    labels = [field.name for field in schema if label_type(field.type) is not None]
    image, label = (
        wanted if wanted in found or not found else found[0]
        for wanted, found in (("image", images), ("label", labels))
    )
    settings = {key: value for key, value in (("image", image), ("label", label)) if key != value}
    if label in labels and label_type(schema.field(label).type) != pa.int64():
        settings["labels"] = "name"
    return settings


def _can_be_image(schema: pa.Schema, name: str) -> bool:
    try:
        image_path(Path(), schema, name)
    except UserError:
        return False
    return True


def _list(path: Path, report: Report) -> None:
    """With the images, where they lie below the list's folder."""
    report.file_hash(path)
    entries = read_list(path)
    kind = "number" if entries.labels.str.fullmatch(_NUMBER).all() else "name"
    settings = {"kind": "list", "list": path.name} | ({"labels": kind} if kind == "name" else {})
    spec = ImageList.model_validate(settings | {"root": str(path.parent)})
    report.counts["images"] = len(entries.paths)
    report.study = _study(path.parent, settings)
    digests = None
    on_disk = NamesOnDisk(path.parent)
    if any((path.parent / name).is_file() or on_disk.find(name) for name in entries.paths):
        entries = found_on_disk(path.parent, path, entries)
        digests = report.images(EncodedFiles(path.parent, entries.paths))
    else:
        report.notes.append("its images do not lie beside it; they are looked for below `root`")
    where = entries.lines
    labels = of_texts(entries.labels, spec, lambda row: f"{path}:{where[row]}", "list")
    _identities(report, labels, entries.paths, digests)


def _is_list(path: Path) -> bool:
    # A .lst beside a .rec is what the .rec was made from: the images are inside.
    packed = path.with_suffix(".rec").is_file()
    return path.is_file() and path.suffix in (".lst", ".csv", ".tsv") and not packed


def _is_or_holds(path: Path, suffixes: tuple[str, ...]) -> bool:
    if path.is_file():
        return path.suffix.lower().removeprefix(".") in suffixes
    return any(
        next(path.glob(pattern + suffix), None) is not None
        for suffix in suffixes
        for pattern in ("*.", "data/*.")
    )


SHARDS: tuple[Checker, ...] = (
    Checker("tar shards in WebDataset's layout", lambda path: _is_or_holds(path, ("tar",)), _tar),
    Checker(
        "Parquet or Arrow files of encoded images", lambda path: _is_or_holds(path, _COLUMNAR),
        _columns,
    ),
    Checker("a list of images with labels (.lst, .csv, .tsv)", _is_list, _list),
)  # fmt: skip
