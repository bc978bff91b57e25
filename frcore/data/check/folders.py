"""One checker per format that data come in. `CHECKERS` is the table of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from frcore.data.check.check import Checker, Report, same_picture
from frcore.data.check.recordio import RECORDIO
from frcore.data.check.shards import SHARDS
from frcore.data.folders.folder import ImageFolder, unused
from frcore.data.ijb.layout import CROPS, PUBLISHED, meta_file
from frcore.data.ijb.lists import read_lists
from frcore.data.ijb.people import people_of
from frcore.data.pixels.picture_kinds import SUFFIXES, is_picture
from frcore.data.prepared.encoded import EncodedFiles
from frcore.data.prepared.folder import MANIFEST, Prepared
from frcore.data.prepared.in_place import InPlaceImages
from frcore.data.prepared.tables import one_sided
from frcore.data.verification.insightface_bin import VerificationBin
from frcore.data.verification.lfw import IMAGES, PROTOCOL, find_numbered, numbers_of
from frcore.data.verification.lfw_lists import Pair, Person, read_pairs, read_people
from frcore.data.verification.pair_lists import READERS, Listed, find_images
from frcore.errors import UserError

_LISTS = ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt")
_PEOPLE = ("people.txt", "peopleDevTrain.txt", "peopleDevTest.txt")


# --- prepared folders ----------------------------------------------------------------------------


def _prepared(path: Path, report: Report) -> None:
    data = Prepared.open(path)
    manifest = data.manifest
    report.what += f": {manifest.kind}, protocol {manifest.protocol}, images {manifest.storage}"
    report.counts |= {"images": manifest.images, "identities": manifest.identities}
    report.sha256 = manifest.content_sha256
    report.notes += manifest.warnings
    data.verify()
    if isinstance(data.stored_images, InPlaceImages):
        names = data.index["name"].to_numpy(str)
        for row, reason in data.stored_images.problems().items():
            report.problem(f"image {row} ({names[row]}): {reason}")
    _ = data.labels  # Raises where a label has no class.
    _repeated(data.index["name"].to_numpy(str), "index.parquet: the name", report)
    if manifest.protocol == "pairs":
        report.counts["pairs"] = len(data.pairs)
        report.all_problems(one_sided(data.pairs))
        _pairs_fit(data, report)
    elif manifest.protocol == "templates":
        report.all_problems(one_sided(data.template_pairs))
        _templates_fit(data, report)


def _pairs_fit(data: Prepared, report: Report) -> None:
    """Pairs are of images that are there, and of the people that their label says."""
    ends = data.pairs[["a", "b"]].to_numpy(np.int64)
    outside = ((ends < 0) | (ends >= data.manifest.images)).any(axis=1)
    _rows(outside, report, "pairs.parquet", lambda row: f"image {ends[row]} does not exist")
    if outside.any():
        return
    who = data.index["identity"].to_numpy(str)
    wrong = (who[ends[:, 0]] == who[ends[:, 1]]) != data.pairs["same"].to_numpy(bool)
    _rows(wrong, report, "pairs.parquet", lambda row: "`same` is not what the identities say: "
          f"{who[ends[row, 0]]} and {who[ends[row, 1]]}")  # fmt: skip


def _templates_fit(data: Prepared, report: Report) -> None:
    """Templates are of images that are there, and pairs of templates that are there."""
    image = data.templates["image"].to_numpy(np.int64)
    known = np.unique(data.templates["template"])
    report.counts |= {"templates": len(known), "pairs": len(data.template_pairs)}
    outside = (image < 0) | (image >= data.manifest.images)
    _rows(outside, report, "templates.parquet", lambda row: f"image {image[row]} does not exist")
    for side in ("a", "b"):
        template = data.template_pairs[side].to_numpy(np.int64)
        _rows(~np.isin(template, known), report, "template_pairs.parquet",
              lambda row, of=template: f"template {of[row]} has no image")  # type: ignore[misc] # fmt: skip


def _rows(wrong: ArrayLike, report: Report, file: str, say: Callable[[int], str]) -> None:
    for row in np.flatnonzero(np.asarray(wrong)).tolist():
        report.problem(f"{file} row {row}: {say(row)}")


def _repeated(names: NDArray[np.str_], what: str, report: Report) -> None:
    found, count = np.unique(names, return_counts=True)
    for name in found[count > 1].tolist():
        report.problem(f"{what} {name!r} stands more than once")


# --- folders and lists ---------------------------------------------------------------------------


def _folder(path: Path, report: Report) -> None:
    folder = ImageFolder(path)
    found = {identity: folder.contents(identity) for identity in folder.identities}
    names = [file.relative_to(path).as_posix() for part in found.values() for file in part.pictures]
    who = [identity for identity, part in found.items() for _ in part.pictures]
    report.all_problems([f"{file}: lies in a folder inside that of its identity, so it is not used"
                         for part in found.values() for file in part.deeper])  # fmt: skip
    report.notes += unused(folder, found)
    digests = report.images(EncodedFiles(path, names), hashed=True)
    report.counts["identities"] = len(set(who))
    same_picture(digests, np.array(who), np.array(names), report)
    report.study = f'train: {{kind: folder, root: "{path}"}}'


def _lfw(path: Path, report: Report) -> None:
    folder = ImageFolder(path / IMAGES)
    lists = path / PROTOCOL
    _folder(path / IMAGES, report)
    present = [name for name in (*_LISTS, *_PEOPLE) if (lists / name).is_file()]
    missing = sorted({*_LISTS, "peopleDevTrain.txt"} - set(present))
    report.notes += [f"{PROTOCOL}/{name} is not there" for name in missing]
    for name in present:
        problems: list[str] = []
        try:
            for who, number, line in _wanted(lists / name, folder):
                find_numbered(folder, who, number, f"{lists / name}:{line}", [], problems)
        except UserError as error:
            problems = [str(error)]
        report.all_problems(problems)
    report.study = (
        f'train: {{kind: lfw, root: "{path}"}}\n'
        f'benchmarks:\n  lfw: {{kind: lfw_pairs, root: "{path}", view: 2}}'
    )


def _wanted(path: Path, folder: ImageFolder) -> list[tuple[str, int, int]]:
    """Name, number and line of each image that a list of LFW asks for."""
    if path.name.startswith("people"):
        return [(p.name, i, p.line) for p in read_people(path) for i in numbers_of(p, folder)]
    return [side for p in read_pairs(path) for side in ((p.a, p.i, p.line), (p.b, p.j, p.line))]


def _list(path: Path, report: Report) -> None:
    """A list by itself; whether its images are there shows when they are given with it."""
    report.file_hash(path)
    kind, found = _read_list(path)
    report.what = kind
    if isinstance(found[0], Person):
        people = [entry for entry in found if isinstance(entry, Person)]
        report.counts |= {"people": len(people), "images": sum(one.images for one in people)}
        report.study = f'train: {{kind: lfw, root: ..., people: "{path.name}"}}'
    else:
        pairs = [entry for entry in found if not isinstance(entry, Person)]
        genuine = sum(pair.same for pair in pairs)
        report.counts |= {"genuine pairs": genuine, "impostor pairs": len(pairs) - genuine,
                          "folds": len({pair.fold for pair in pairs})}  # fmt: skip
        kind = {"CA": "calfw", "CP": "cplfw"}.get(report.what[:2], "")
        report.study = "benchmarks:\n  pairs: " + (
            f'{{kind: pair_list, format: {kind}, images: ..., pairs: "{path}"}}'
            if kind
            else f'{{kind: folder_pairs, root: ..., pairs: "{path}"}}'
        )
    report.notes.append("the images it asks for are looked for when they are prepared")


def _read_list(path: Path) -> tuple[str, list[Pair] | list[Person] | list[Listed]]:
    """What kind of list a text file is, from its first line, and what it lists."""
    with path.open("rb") as file:
        head = [file.readline(4096).decode("utf-8-sig", "replace").split() for _ in range(3)]
    if head[0] and head[0][0].lower().endswith(tuple(SUFFIXES)):
        calfw = path.name.lower().find("calfw") >= 0
        return ("CALFW's pairs", READERS["calfw"](path)) if calfw else (
            "CPLFW's pairs", READERS["cplfw"](path))  # fmt: skip
    if len(head[1]) in (1, 2) and len(head[0]) == 1:
        return "a list of people in LFW's format", read_people(path)
    return "pairs in LFW's format", read_pairs(path)


def _cfp(path: Path, report: Report) -> None:
    protocol = path if path.name == "Protocol" else path / "Protocol"
    images = protocol.parent / "Data" / "Images"
    pairs: list[Listed] = []
    for form in ("cfp_ff", "cfp_fp"):
        read = READERS[form](protocol)
        report.counts[f"{form} pairs"] = len(read)
        pairs += read
    if images.is_dir():
        found, problems = find_images(images, pairs)
        report.all_problems(problems)
        report.images(EncodedFiles(images, list(found.values())), hashed=True)
    report.study = "benchmarks:\n" + "".join(
        f'  {form}: {{kind: pair_list, format: {form}, images: ..., pairs: "{protocol}"}}\n'
        for form in ("cfp_ff", "cfp_fp")
    )


# --- InsightFace ---------------------------------------------------------------------------------


def _bin(path: Path, report: Report) -> None:
    report.file_hash(path)
    found = VerificationBin(path)
    genuine = int(found.same.sum())
    report.counts |= {"genuine pairs": genuine, "impostor pairs": found.same.size - genuine}
    report.all_problems(one_sided(pd.DataFrame({"same": found.same})))
    report.images(found.images)
    for fold in range(int(found.fold.max()) + 1):
        labels = found.same[found.fold == fold]
        if labels.all() or not labels.any():
            report.notes.append(f"fold {fold} has pairs of one kind only")
    report.study = (
        f'benchmarks:\n  {path.stem}: {{kind: insightface_bin, path: "{path}"}}'
    )  # fmt: skip


# --- IJB -----------------------------------------------------------------------------------------


def _ijb(path: Path, report: Report) -> None:
    name = _ijb_name(path)
    lists = read_lists(path, name, keep_repeated_pairs=True)
    people = people_of(lists, name)
    report.what = f"{PUBLISHED[name].title}, in InsightFace's layout"
    genuine = int(lists.same.sum())
    report.counts |= {"images": len(lists.template), "templates": len(lists.templates),
                      "people": len(np.unique(people.identity.astype(str))),
                      "genuine pairs": genuine,
                      "impostor pairs": len(lists.same) - genuine}  # fmt: skip
    report.notes += [*lists.warnings, *people.warnings]
    report.all_problems(one_sided(pd.DataFrame({"same": lists.same})))
    if (path / CROPS).is_dir():
        names = lists.names.to_pandas().astype("str")
        report.images(EncodedFiles(path / CROPS, names), hashed=True)
    else:
        report.notes.append(f"{CROPS}/ is not there: only stored embeddings can be judged")
    images = "" if (path / CROPS).is_dir() else ", images: false"
    report.study = (
        f'benchmarks:\n  {name}: {{kind: ijb, name: {name}, root: "{path}"{images}}}'
    )  # fmt: skip


def _ijb_name(path: Path) -> str:
    """Which benchmark's lists lie below `path`; empty for neither."""
    return next(
        (name for name in PUBLISHED if meta_file(path, name, "face_tid_mid.txt").is_file()), ""
    )


# --- the table -----------------------------------------------------------------------------------


def _has_images_by_identity(path: Path) -> bool:
    """Whether a folder has, in one of its first sub-folders, an image."""
    if not path.is_dir():
        return False
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir())[:100]
    some = (file for folder in folders for file in itertools.islice(folder.iterdir(), 1000))
    return any(file.is_file() and is_picture(file) for file in some)


CHECKERS: tuple[Checker, ...] = (
    Checker("a prepared data set", lambda path: (path / MANIFEST).is_file(), _prepared),
    Checker(
        f"LFW: {IMAGES}/ and {PROTOCOL}/",
        lambda path: (path / IMAGES).is_dir() and (path / PROTOCOL).is_dir(),
        _lfw,
    ),
    Checker(
        "CFP: its folder or Protocol/",
        lambda path: any((path / part / "Pair_list_F.txt").is_file() for part in ("", "Protocol")),
        _cfp,
    ),
    Checker("IJB-B or IJB-C", lambda path: bool(_ijb_name(path)), _ijb),
    RECORDIO,
    Checker("a verification set of InsightFace (.bin)", lambda path: path.suffix == ".bin", _bin),
    Checker("a list of pairs or people (.txt)", lambda path: path.suffix == ".txt", _list),
    *SHARDS,
    Checker("a folder of images by identity", _has_images_by_identity, _folder),
)
"""Every format, the more special first: the first that recognises a path checks it."""
