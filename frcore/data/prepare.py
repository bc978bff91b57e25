"""`frcore prepare`: from a spec to a prepared data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frcore.components.catalogue import at_place
from frcore.data.ijb.layout import SYNTHETIC_MARK
from frcore.data.origin import Origin
from frcore.data.prepared.draft import PREPARED
from frcore.data.prepared.folder import Prepared
from frcore.files import refuse_other_folder, refuse_overlap
from frcore.records.manifest import Manifest
from frcore.study.expansion import BenchmarkSpec, TrainDataSpec
from frcore.study.section import without_places

WRITERS = {
    "synthetic": "frcore.data.synthetic.sets:write_faces",
    "folder": "frcore.data.folders.folder:write_folder",
    "list": "frcore.data.folders.image_list:write_list",
    "parquet": "frcore.data.shards.parquet:write_parquet",
    "tar": "frcore.data.shards.tar:write_tar",
    "recordio": "frcore.data.recordio.training:write_recordio",
    "lfw": "frcore.data.verification.lfw:write_people",
    "synthetic_pairs": "frcore.data.synthetic.sets:write_pairs",
    "synthetic_templates": "frcore.data.synthetic.sets:write_templates",
    "lfw_pairs": "frcore.data.verification.lfw:write_lfw_pairs",
    "folder_pairs": "frcore.data.verification.lfw:write_folder_pairs",
    "insightface_bin": "frcore.data.verification.insightface_bin:write_bin",
    "pair_list": "frcore.data.verification.pair_lists:write_pair_list",
    "ijb": "frcore.data.ijb.prepare:write_ijb",
}
"""The place of what writes each kind of data: called with the data's settings, the image's, the
folder, the manifest's entries that depend on the spec alone, and the number of processes."""


def _is_synthetic(data: Any) -> bool:
    """Whether nobody real is on the images: drawn here, or before by `frcore simulate-ijb`."""
    if data.kind == "ijb":
        return (Path(data.root) / SYNTHETIC_MARK).is_file()
    return bool(data.kind.startswith("synthetic"))


def _refuse_other_place(data: Any, out: Path) -> None:
    """Nothing but an older prepared data set is replaced, and no source is."""
    sources = [Path(value) for key in ("root", "images", "path")
               if isinstance(value := getattr(data, key, None), str)]  # fmt: skip
    # These take whatever lies below their folder; others read what is listed, perhaps from ".".
    takes_all = data.kind == "folder" or (data.kind == "parquet" and "**" in data.pattern)
    refuse_overlap(out, sources, inside=takes_all)
    refuse_other_folder(out, PREPARED)


def prepare(
    spec: TrainDataSpec | BenchmarkSpec,
    out: str | Path,
    *,
    workers: int | None = None,
    signature: str | None = None,
) -> Manifest:
    """Write the prepared data set that `spec` asks for to the folder `out`.

    Args:
        spec: a training set or a benchmark of a study.
        out: the folder; it appears whole, or not at all. An older prepared data set is replaced,
            and nothing else.
        workers: processes to use; all available cores when absent. They never change the result.
        signature: what the source contained when this was planned (`frcore.data.signatures.sign`).

    Raises:
        UserError: the source is missing or damaged, was changed since it was planned or while it
            was read, the spec asks for the impossible, or something else is in the folder.
    """
    _refuse_other_place(spec.data, Path(out))
    about: dict[str, Any] = {
        "kind": spec.data.kind,
        # Paths would change the manifest, and so repeat trainings, where nothing but they changed.
        "spec": without_places(spec),
        "spec_hash": spec.hash,
        "alignment": spec.image.alignment,
        "synthetic": _is_synthetic(spec.data),
        "origin": Origin.of(spec.data, signature),
    }
    at_place(WRITERS[spec.data.kind])(spec.data, spec.image, Path(out), about, workers)
    return Prepared.open(out).manifest
