"""`frcore prepare`: from a spec to a prepared data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from frcore.data.folder import write_folder
from frcore.data.ijb_layout import SYNTHETIC_MARK
from frcore.data.ijb_prepare import write_ijb
from frcore.data.image_list import write_list
from frcore.data.lfw import write_folder_pairs, write_lfw_pairs, write_people
from frcore.data.pair_lists import write_pair_list
from frcore.data.parquet import write_parquet
from frcore.data.prepared import Manifest, Prepared
from frcore.data.recordio_training import write_recordio
from frcore.data.synthetic import write_faces, write_pairs, write_templates
from frcore.data.tar_shards import write_tar
from frcore.data.verification_bin import write_bin
from frcore.plan import BenchmarkSpec, TrainDataSpec

_WRITERS: dict[str, Callable[..., None]] = {
    "synthetic": write_faces,
    "folder": write_folder,
    "list": write_list,
    "parquet": write_parquet,
    "tar": write_tar,
    "recordio": write_recordio,
    "lfw": write_people,
    "synthetic_pairs": write_pairs,
    "synthetic_templates": write_templates,
    "lfw_pairs": write_lfw_pairs,
    "folder_pairs": write_folder_pairs,
    "insightface_bin": write_bin,
    "pair_list": write_pair_list,
    "ijb": write_ijb,
}
"""What writes each kind of data: called with the data's settings, the image's, the folder, the
manifest's entries that depend on the spec alone, and the number of processes."""


def _is_synthetic(data: Any) -> bool:
    """Whether nobody real is on the images: drawn here, or before by `frcore simulate-ijb`."""
    if data.kind == "ijb":
        return (Path(data.root) / SYNTHETIC_MARK).is_file()
    return bool(data.kind.startswith("synthetic"))


def prepare(
    spec: TrainDataSpec | BenchmarkSpec, out: str | Path, *, workers: int | None = None
) -> Manifest:
    """Write the prepared data set that `spec` asks for to the folder `out`.

    Args:
        spec: a training set or a benchmark of a study.
        out: the folder; it appears whole, or not at all.
        workers: processes to use; all available cores when absent. They never change the result.

    Raises:
        UserError: the source is missing or damaged, or the spec asks for the impossible.
    """
    about: dict[str, Any] = {
        "kind": spec.data.kind,
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec.hash,
        "alignment": spec.image.alignment,
        "synthetic": _is_synthetic(spec.data),
    }
    _WRITERS[spec.data.kind](spec.data, spec.image, Path(out), about, workers)
    return Prepared.open(out).manifest
