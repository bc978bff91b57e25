"""`frcore prepare`: from a spec to a prepared data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frcore.data.ijb.layout import SYNTHETIC_MARK
from frcore.data.origin import Origin
from frcore.data.prepared.folder import Prepared
from frcore.data.prepared.writing import PREPARED, write
from frcore.data.source import open_source, place_of
from frcore.files import refuse_other_folder, refuse_overlap
from frcore.records.manifest import Manifest
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec, stays_in_place
from frcore.study.section import without_places


def prepare(
    spec: TrainDataSpec | BenchmarkSpec,
    out: str | Path,
    *,
    workers: int | None = None,
    signature: str | None = None,
) -> Manifest:
    """Write the prepared data set described by `spec` to the folder `out`.

    Args:
        spec: a training set or a benchmark of a study.
        out: the folder; written completely or not at all. It replaces an older prepared data set,
            but nothing else.
        workers: processes to use; all available cores by default. They never change the result.
        signature: what the source contained when this was planned (`frcore.data.signatures.sign`).

    Raises:
        UserError: the source is missing or damaged, was changed after planning or while it was
            read, the spec is impossible, or the folder contains something else.
    """
    data = spec.data
    _refuse_other_place(data, Path(out))
    origin = Origin.of(data, signature)
    write(
        out,
        open_source(data).read(),
        spec.image,
        place=place_of(data),
        in_place=stays_in_place(data),
        min_images=getattr(data, "min_images", 1),
        skip=getattr(data, "on_bad_image", "refuse") == "skip",
        decode=getattr(data, "check", "decode") == "decode",
        workers=workers,
        origin=origin,
        kind=data.kind,
        # Paths would change the manifest, and so repeat trainings when only they changed.
        spec=without_places(spec),
        spec_hash=spec.hash,
        alignment=spec.image.alignment,
        synthetic=_is_synthetic(data),
    )
    return Prepared.open(out).manifest


def _is_synthetic(data: Any) -> bool:
    """Whether the images show no real people: rendered here or by `frcore simulate-ijb`."""
    if data.kind == "ijb":
        return (Path(data.root) / SYNTHETIC_MARK).is_file()
    return bool(data.kind.startswith("synthetic"))


def _refuse_other_place(data: Any, out: Path) -> None:
    """Refuse an `out` that is not an older prepared data set, or that overlaps the source."""
    place = place_of(data)
    # These read everything below their folder; others read what is listed, perhaps from ".".
    takes_all = data.kind == "folder" or (data.kind == "parquet" and "**" in data.pattern)
    refuse_overlap(out, [place] if place else [], inside=takes_all)
    refuse_other_folder(out, PREPARED)
