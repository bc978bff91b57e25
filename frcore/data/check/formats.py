"""The data formats: how each is recognised, and which section of a study reads it."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pydantic
import yaml

from frcore.data.check.prepared import check_prepared
from frcore.data.check.report import Report
from frcore.data.contents import Contents
from frcore.data.folders.folder import ImageFolder
from frcore.data.folders.image_list import read_list
from frcore.data.ijb.layout import CROPS, PUBLISHED, meta_file
from frcore.data.labels import WHOLE, of_texts
from frcore.data.names import NamesOnDisk
from frcore.data.pixels.picture_kinds import SUFFIXES, is_picture
from frcore.data.prepared.folder import MANIFEST
from frcore.data.prepared.tables import one_sided
from frcore.data.prepared.writing import enough
from frcore.data.shards.columnar import image_path, open_columns
from frcore.data.shards.files import find_shards
from frcore.data.shards.parquet import label_type
from frcore.data.shards.tar import key_of
from frcore.data.shards.tar_index import members
from frcore.data.source import open_source
from frcore.data.verification.lfw import (
    IMAGES,
    PROTOCOL,
    find_numbered,
    wanted_of,
    wanted_people,
)
from frcore.data.verification.lfw_lists import read_pairs, read_people
from frcore.data.verification.pair_lists import READERS
from frcore.data.verification.pairs import Pair
from frcore.errors import UserError
from frcore.study.data import Benchmark, ParquetImages, TarImages, TrainData

Section = dict[str, Any]

_PAIRS = ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt")
_PEOPLE = ("peopleDevTrain.txt", "people.txt", "peopleDevTest.txt")
_SECTION: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(TrainData | Benchmark)


class Format(NamedTuple):
    """How one format is recognised and checked.

    Attributes:
        name: of the format, as shown in the report.
        recognises: whether a path looks like this format, by names alone or a few bytes.
        check: reads all of it and fills in the report; a `UserError` becomes a problem.
    """

    name: str
    recognises: Callable[[Path], bool]
    check: Callable[[Path, Report], None]


# --- what all sources have in common --------------------------------------------------------------


def _read(section: Section) -> Contents:
    return open_source(_SECTION.validate_python(section)).read()


def _report(contents: Contents, report: Report) -> None:
    """Decode the images of a section's contents, and add the findings to the report."""
    report.add(contents.problems)
    report.add(f"{report.path}: {file}: {why}" for file, why in contents.skipped)
    report.counts |= contents.counts
    if contents.images is not None:
        is_training = contents.protocol == "train"
        who = contents.index["identity"].to_numpy(str) if is_training else None
        report.images(contents.images, who)
    report.notes += contents.warnings
    if contents.protocol == "train":
        report.counts["identities"] = contents.index["identity"].nunique()
        return
    pairs = contents.tables["pairs" if contents.protocol == "pairs" else "template_pairs"]
    genuine = int(pairs["same"].sum())
    report.counts |= {"genuine pairs": genuine, "impostor pairs": len(pairs) - genuine}
    report.add(one_sided(pairs[["same"]]))


def _study(**parts: Section) -> str:
    """The lines of a study: `train`, and `benchmarks` by name."""
    return yaml.safe_dump(
        parts, default_flow_style=None, sort_keys=False, allow_unicode=True, width=sys.maxsize
    )


def _labelled(section: Section, report: Report) -> None:
    """Check a training set with labels, which are taken as numbers if all can be."""
    contents = _read(section | {"labels": "name"})
    who = contents.index["identity"].drop_duplicates()
    if who.str.rpartition("/")[2].str.fullmatch(WHOLE).all():
        try:
            contents = _read(section)
        except UserError as error:
            # The images can be checked nevertheless.
            report.add([error])
    else:
        section = section | {"labels": "name"}
    report.study = _study(train=section)
    _report(contents, report)


# --- folders --------------------------------------------------------------------------------------


def _folder(path: Path, report: Report) -> None:
    section: Section = {"kind": "folder", "root": str(path)}
    report.study = _study(train=section)
    _report(_read(section | {"storage": "in_place", "on_bad_image": "skip"}), report)


def _lfw(path: Path, report: Report) -> None:
    folder, lists = ImageFolder(path / IMAGES), path / PROTOCOL
    _folder(path / IMAGES, report)
    pairs: Section = {"kind": "lfw_pairs", "root": str(path), "view": 2}
    report.study = _study(train={"kind": "lfw", "root": str(path)}, benchmarks={"lfw": pairs})
    missing = [name for name in (*_PAIRS, _PEOPLE[0]) if not (lists / name).is_file()]
    report.notes += [f"{PROTOCOL}/{name} does not exist" for name in sorted(missing)]
    for one in (lists / name for name in (*_PAIRS, *_PEOPLE)):
        if one.is_file():
            try:
                is_pairs = one.name in _PAIRS
                wanted = wanted_of(read_pairs(one)) if is_pairs else wanted_people(one, folder)
                report.add(find_numbered(folder, wanted)[1])
            except UserError as error:
                report.add([error])


def _has_images_by_identity(path: Path) -> bool:
    """Whether one of the first sub-folders of a folder has an image."""
    if not path.is_dir():
        return False
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())[:100]
    some = (file for folder in folders for file in itertools.islice(folder.iterdir(), 1000))
    return any(file.is_file() and is_picture(file) for file in some)


# --- lists ----------------------------------------------------------------------------------------


def _pairs_or_people(path: Path, report: Report) -> None:
    """A list on its own; its images can be checked only in preparation."""
    report.file_hash(path)
    report.notes.append("the images it lists are looked for in preparation")
    with path.open("rb") as file:
        head = [file.readline(4096).decode("utf-8-sig", "replace").split() for _ in range(2)]
    pairs: list[Pair]
    section: Section
    if head[0] and head[0][0].lower().endswith(tuple(SUFFIXES)):
        kind = "calfw" if "calfw" in path.name.lower() else "cplfw"
        report.what, pairs = f"{kind.upper()}'s pairs", READERS[kind](path)
        section = {"kind": "pair_list", "format": kind, "images": "...", "pairs": str(path)}
    elif len(head[1]) in (1, 2) and len(head[0]) == 1:
        report.what, people = "a list of people in LFW's format", read_people(path)
        report.counts |= {"people": len(people), "images": sum(one.images for one in people)}
        report.study = _study(train={"kind": "lfw", "root": "...", "people": path.name})
        return
    else:
        report.what, pairs = "pairs in LFW's format", read_pairs(path)
        section = {"kind": "folder_pairs", "root": "...", "pairs": str(path)}
    genuine = sum(pair.same for pair in pairs)
    report.counts |= {"genuine pairs": genuine, "impostor pairs": len(pairs) - genuine,
                      "folds": len({pair.fold for pair in pairs})}  # fmt: skip
    report.study = _study(benchmarks={"pairs": section})


def _list(path: Path, report: Report) -> None:
    """Check a list, and the images if they are below the list's folder."""
    report.file_hash(path)
    root, entries = path.parent, read_list(path)
    section: Section = {"kind": "list", "list": path.name, "root": str(root)}
    on_disk = NamesOnDisk(root)
    if any((root / name).is_file() or on_disk.find(name) for name in entries.paths):
        _labelled(section, report)
        return
    report.notes.append("its images are not next to it; they are looked for below `root`")
    if not entries.labels.str.fullmatch(WHOLE).all():
        section["labels"] = "name"
    report.study = _study(train=section)
    labels = of_texts(entries.labels, _SECTION.validate_python(section),
                      entries.where, "list")  # fmt: skip
    report.counts |= {"images": len(entries.paths), "identities": len(labels.identities)}


def _is_list(path: Path) -> bool:
    # A .rec next to a .lst was made from that list and contains the images.
    packed = path.with_suffix(".rec").is_file()
    return path.is_file() and path.suffix in (".lst", ".csv", ".tsv") and not packed


def _cfp(path: Path, report: Report) -> None:
    protocol = path if path.name == "Protocol" else path / "Protocol"
    forms, images = ("cfp_ff", "cfp_fp"), protocol.parent / "Data" / "Images"
    names = protocol.parent / "Data" / "list_name.txt"
    known = {"names": str(names)} if names.is_file() else {}
    pairs = {form: READERS[form](protocol, names if known else None) for form in forms}
    report.counts |= {f"{form} pairs": len(pairs[form]) for form in forms}
    there = str(images) if images.is_dir() else "..."
    section: Section = {"images": there, "pairs": str(protocol), **known}
    lists = {form: {"kind": "pair_list", "format": form, **section} for form in forms}
    searched = {"kind": "cfp_templates", **section}
    report.study = _study(benchmarks=lists | {"cfp_templates": searched})
    if images.is_dir():
        # Of all images, also those that no pair names.
        contents = _read(searched)
        report.add(contents.problems)
        assert contents.images is not None, "lists are of images"
        report.images(contents.images)
        report.counts["people"] = contents.index["identity"].nunique()


# --- packed sets ----------------------------------------------------------------------------------


def _bin(path: Path, report: Report) -> None:
    report.file_hash(path)
    section: Section = {"kind": "insightface_bin", "path": str(path)}
    report.study = _study(benchmarks={path.stem: section})
    contents = _read(section)
    _report(contents, report)
    kinds = contents.tables["pairs"].groupby("fold")["same"].nunique()
    report.notes += [f"fold {fold} has pairs of one kind only" for fold in kinds.index[kinds < 2]]


def _recordio(path: Path, report: Report) -> None:
    section: Section = {"kind": "recordio", "root": str(path)}
    names = path.with_suffix(".lst")
    contents = None
    if names.is_file():
        try:
            contents = _read(section | {"names": names.name})
            section["names"] = names.name
        except UserError as error:
            report.notes.append(f"{names.name} does not name the identities: {error}")
    report.study = _study(train=section)
    contents = contents or _read(section)
    _report(contents, report)
    enough(contents, np.arange(len(contents.index)), 1, path)


def _tar(path: Path, report: Report) -> None:
    shards = find_shards(path, TarImages.model_fields["pattern"].default, "a .tar file")
    kinds = Counter(key_of(member.name)[1] for shard in shards for member in members(shard))
    label = next((kind for kind in ("cls", "json") if kinds[kind]), "folder")
    other = {"label": label} if label != "cls" else {}
    _labelled({"kind": "tar", "root": str(path), **other}, report)


def _columns(path: Path, report: Report) -> None:
    pattern = ParquetImages.model_fields["pattern"].default
    schema = open_columns(find_shards(path, pattern, "a Parquet or Arrow file")[0], None).schema
    section: Section = {"kind": "parquet", "root": str(path)}
    for key, fits in (
        ("image", lambda field: _can_be_image(schema, field.name)),
        ("label", lambda field: label_type(field.type) is not None),
    ):
        found = [field.name for field in schema if fits(field)]
        if found and key not in found:
            section[key] = found[0]
    _labelled(section, report)


def _can_be_image(schema: pa.Schema, name: str) -> bool:
    try:
        image_path(Path(), schema, name)
    except UserError:
        return False
    return True


def _is_or_holds(path: Path, suffixes: tuple[str, ...]) -> bool:
    if path.is_file():
        return path.suffix.lower().removeprefix(".") in suffixes
    return any(
        next(path.glob(pattern + suffix), None) is not None
        for suffix in suffixes
        for pattern in ("*.", "data/*.")
    )


# --- IJB ------------------------------------------------------------------------------------------


def _ijb(path: Path, report: Report) -> None:
    name = _ijb_name(path)
    report.what = f"{PUBLISHED[name].title}, in InsightFace's layout"
    section: Section = {"kind": "ijb", "name": name, "root": str(path)}
    if not (path / CROPS).is_dir():
        section["images"] = False
        report.notes.append(f"{CROPS}/ does not exist: only stored embeddings can be evaluated")
    report.study = _study(benchmarks={name: section})
    contents = _read(section | {"repeated_pairs": "keep"})
    report.counts |= {
        "images": len(contents.index),
        "templates": contents.tables["templates"]["template"].nunique(),
        "people": contents.index["identity"].nunique(),
    }
    _report(contents, report)


def _ijb_name(path: Path) -> str:
    """The benchmark whose lists are below `path`; empty if neither."""
    return next(
        (name for name in PUBLISHED if meta_file(path, name, "face_tid_mid.txt").is_file()), ""
    )


def _is_lfw(path: Path) -> bool:
    return (path / IMAGES).is_dir() and (path / PROTOCOL).is_dir()


def _is_cfp(path: Path) -> bool:
    return any((path / part / "Pair_list_F.txt").is_file() for part in ("", "Protocol"))


def _is_columns(path: Path) -> bool:
    return _is_or_holds(path, ("parquet", "arrow"))


FORMATS: tuple[Format, ...] = (
    Format("a prepared data set", lambda path: (path / MANIFEST).is_file(), check_prepared),
    Format(f"LFW: {IMAGES}/ and {PROTOCOL}/", _is_lfw, _lfw),
    Format("CFP: its folder or Protocol/", _is_cfp, _cfp),
    Format("IJB-B or IJB-C", lambda path: bool(_ijb_name(path)), _ijb),
    # A folder with a .rec is not a separate format: it often contains .bin files too.
    Format(
        "RecordIO (.rec, with .idx and property)", lambda path: path.suffix == ".rec", _recordio
    ),
    Format("a verification set of InsightFace (.bin)", lambda path: path.suffix == ".bin", _bin),
    Format(
        "a list of pairs or people (.txt)", lambda path: path.suffix == ".txt", _pairs_or_people
    ),
    Format("tar shards in WebDataset's layout", lambda path: _is_or_holds(path, ("tar",)), _tar),
    Format("Parquet or Arrow files of encoded images", _is_columns, _columns),
    Format("a list of images with labels (.lst, .csv, .tsv)", _is_list, _list),
    Format("a folder of images by identity", _has_images_by_identity, _folder),
)
"""Every format, the more specific first: the first that recognises a path checks it."""
