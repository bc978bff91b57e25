"""Checkers of training sets that are read in place: RecordIO, lists, Parquet and Arrow, tar.

Each is prepared in a temporary folder, which holds tables and no image, so that records, labels and
files that must agree are checked by the very code that trains on them; then every image is decoded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.config import Image
from frcore.data.check import Checker, Report
from frcore.data.in_place import InPlaceImages
from frcore.data.prepared import Prepared
from frcore.errors import UserError
from frcore.plan import TrainDataSpec

Settings = dict[str, Any]

_IMAGE = Image(size=112, alignment="none")
"""Not used: no image is cut here."""


def same_picture(digests: NDArray[np.uint64], who: NDArray[np.str_], names: NDArray[np.str_],
                 report: Report) -> None:  # fmt: skip
    """Add a note where one picture is of several people: at least one label is wrong.

    Args:
        digests: of the images' contents (N,), as `Report.images` gives them.
        who: the identity of each (N,).
        names: of the images (N,).
        report: where to.
    """
    order = np.argsort(digests, kind="stable")
    same = (digests[order][1:] == digests[order][:-1]) & (digests[order][1:] > 0)
    differs = np.flatnonzero(same & (who[order][1:] != who[order][:-1]))
    if len(differs):
        first, second = names[order[differs[0]]], names[order[differs[0] + 1]]
        report.notes.append(
            f"{len(differs)} pictures are under two identities, byte for byte; the first is "
            f"{first} and {second}: one of them has a wrong label"
        )


def _check(report: Report, choices: Iterable[Settings]) -> None:
    """Check the first of several readings that the data allow.

    Raises:
        UserError: of the first reading, where they allow none.
    """
    first: UserError | None = None
    for settings in choices:
        try:
            _read(report, settings)
        except UserError as error:
            first = first or error
            continue
        if first is not None:
            report.notes.append(f"not readable in another way: {first}")
        report.study = "train: " + _flow(settings)
        return
    raise first or UserError(f"{report.path} has no reading")


def _read(report: Report, settings: Settings) -> None:
    from frcore.data.prepare import prepare

    given = {"check": "none", **settings}
    spec = TrainDataSpec.model_validate({"image": _IMAGE.model_dump(), "data": given})
    with tempfile.TemporaryDirectory() as scratch:
        prepare(spec, Path(scratch) / "set")
        data = Prepared.open(Path(scratch) / "set")
        images = data.images
        if not isinstance(images, InPlaceImages):
            raise TypeError(f"{settings['kind']} is not read in place")
        digests = report.images(images.source, hashed=True)
        report.counts["identities"] = data.manifest.identities
        report.notes += [one for one in data.manifest.warnings if "(check: none)" not in one]
        index = data.index
        same_picture(digests, index["identity"].to_numpy(str), index["name"].to_numpy(str), report)


def _flow(settings: Settings) -> str:
    """Settings as YAML on one line."""
    return "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in settings.items()) + "}"


def _recordio(path: Path, report: Report) -> None:
    common = {"kind": "recordio", "root": str(path)}
    names = path.with_suffix(".lst")
    named = [{**common, "names": names.name}] if names.is_file() else []
    _check(report, [*named, common])


def _list(path: Path, report: Report) -> None:
    common = {"kind": "list", "root": str(path.parent), "list": path.name}
    _check(report, [common, {**common, "labels": "name"}])


def _columns(path: Path, report: Report) -> None:
    common = {"kind": "parquet", "root": str(path)}
    _check(report, [common, {**common, "labels": "name"}])


def _tar(path: Path, report: Report) -> None:
    common = {"kind": "tar", "root": str(path)}
    places: list[Settings] = [{}, {"label": "folder", "labels": "name"}, {"label": "json"}]
    _check(report, [{**common, **more, **named} for more in places for named in (
        {}, {"labels": "name"})])  # fmt: skip


def _has(*suffixes: str) -> Callable[[Path], bool]:
    """Whether a path is a file of one of the suffixes, or a folder that has such files in it."""

    def recognises(path: Path) -> bool:
        if path.is_file():
            return path.suffix in suffixes
        return any(
            next(path.glob(f"{depth}*{suffix}"), None) is not None
            for suffix in suffixes
            for depth in ("", "*/")
        )

    return recognises


def _is_list(path: Path) -> bool:
    # A .lst beside a .rec is what the .rec was made from: the images are inside.
    packed = path.with_suffix(".rec").is_file()
    return path.is_file() and path.suffix in (".lst", ".csv", ".tsv") and not packed


TRAINING: tuple[Checker, ...] = (
    Checker("RecordIO (.rec, with .idx and property)",
            lambda path: path.is_file() and path.suffix == ".rec", _recordio),
    Checker("Parquet or Arrow files of images", _has(".parquet", ".arrow"), _columns),
    Checker("tar shards of images", _has(".tar"), _tar),
    Checker("a list of images (.lst, .csv, .tsv)", _is_list, _list),
)  # fmt: skip
"""A folder with a `.rec` is no format of its own: it often holds `.bin` files too."""
