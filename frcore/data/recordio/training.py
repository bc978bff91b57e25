"""A RecordIO file as the training set of a study, read in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from frcore.data.pixels.images import refuse
from frcore.data.prepared.folder import Skipped
from frcore.data.prepared.training_set import write_training_in_place
from frcore.data.recordio.dataset import RecordIODataset
from frcore.data.recordio.lst import identity_names
from frcore.study.data import Image, RecordIO

_NUMBERED = (
    "identities have numbers and no names, so people of a benchmark who are also trained on are "
    "not noticed; name them with `names`"
)


def write_recordio(spec: RecordIO, image: Image, out: Path, about: dict[str, Any],
                   workers: int | None) -> None:  # fmt: skip
    """Write a training set that is read from a `.rec` file to the folder `out`."""
    # Gaps in the labels are meant where the number of identities is given, as in other formats.
    is_given = spec.identities is not None
    data = RecordIODataset(
        spec.root, num_classes=spec.identities, label=spec.label, relabel=is_given,
        skip=spec.on_bad_image == "skip",
    )  # fmt: skip
    if spec.names is None:
        numbers = pd.Series(data.stored).astype("str")
        identities = "recordio/" + numbers
        about = about | {"people": "numbered"}
    else:
        identities = _named(data, spec.names, spec.label)
    write_training_in_place(
        data.images, data.labels, identities, image, out, about,
        min_images=spec.min_images, check=spec.check, skip=spec.on_bad_image == "skip",
        workers=workers, warnings=[*data.notes, *([] if spec.names else [_NUMBERED])],
        skipped=[Skipped(file=str(key), reason="a record without an image") for key in data.empty],
    )  # fmt: skip


def _named(data: RecordIODataset, names: str, label: int) -> pd.Series:
    """The name of each label that occurs (C,), from a list beside the file or wherever it is."""
    beside = data.path.parent / names
    path = beside if beside.is_file() else Path(names)
    found = identity_names(path, label)
    missing = pd.Index(data.stored).difference(found.index)
    refuse(
        f"labels of {data.path} are not in {path}",
        [f"label {label}" for label in missing],
        "Give the list that the file was made from, or leave `names` out",
    )
    return found.reindex(data.stored).reset_index(drop=True)
