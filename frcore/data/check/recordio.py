"""The checker of RecordIO files.

The set is prepared in a temporary folder, which holds tables and no image, so that records, labels
and files that must agree are checked by the very code that trains on them; then every image is
decoded.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frcore.data.check.check import Checker, Report, same_picture
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.in_place import InPlaceImages
from frcore.errors import UserError
from frcore.study.data import Image
from frcore.study.expansion import TrainDataSpec

Settings = dict[str, Any]

_IMAGE = Image(size=112, alignment="none")
"""Not used: no image is cut here."""


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


RECORDIO = Checker(
    "RecordIO (.rec, with .idx and property)",
    lambda path: path.is_file() and path.suffix == ".rec",
    _recordio,
)
"""A folder with a `.rec` is no format of its own: it often holds `.bin` files too."""
