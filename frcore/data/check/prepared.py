"""The check of a prepared folder: its hash, and the consistency of its tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from frcore.data.check.report import Report
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.in_place import InPlaceImages
from frcore.data.prepared.tables import one_sided


def check_prepared(path: Path, report: Report) -> None:
    """Check a prepared data set."""
    data = Prepared.open(path)
    manifest = data.manifest
    report.what += f": {manifest.kind}, protocol {manifest.protocol}, images {manifest.storage}"
    report.counts |= {"images": manifest.images, "identities": manifest.identities}
    report.sha256 = manifest.content_sha256
    report.notes += manifest.warnings
    data.verify()
    names = data.index["name"]
    if isinstance(data.stored_images, InPlaceImages):
        bad = data.stored_images.problems()
        report.add(f"image {row} ({names[row]}): {reason}" for row, reason in bad.items())
    _ = data.labels  # Raises if a label has no class.
    again = names[names.duplicated()].unique()
    report.add(f"index.parquet: the name {name!r} is a duplicate" for name in again)
    if manifest.protocol == "pairs":
        report.counts["pairs"] = len(data.pairs)
        report.add(one_sided(data.pairs))
        _pairs_fit(data, report)
    elif manifest.protocol == "templates":
        report.add(one_sided(data.template_pairs))
        _templates_fit(data, report)


def _pairs_fit(data: Prepared, report: Report) -> None:
    """Check that the images of pairs exist and that their labels match the identities."""
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
    """Check that the images of templates and the templates of pairs exist."""
    image = data.templates["image"].to_numpy(np.int64)
    known = np.unique(data.templates["template"])
    report.counts |= {"templates": len(known), "pairs": len(data.template_pairs)}
    outside = (image < 0) | (image >= data.manifest.images)
    _rows(outside, report, "templates.parquet", lambda row: f"image {image[row]} does not exist")
    for side in ("a", "b"):
        template = data.template_pairs[side].to_numpy(np.int64)
        _rows(~np.isin(template, known), report, "template_pairs.parquet",
              lambda row, of=template: f"template {of[row]} has no image")  # type: ignore[misc] # fmt: skip


def _rows(wrong: ArrayLike, report: Report, file: str, problem: Callable[[int], str]) -> None:
    rows = np.flatnonzero(np.asarray(wrong)).tolist()
    report.add(f"{file} row {row}: {problem(row)}" for row in rows)
