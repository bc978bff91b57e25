"""A RecordIO file as the training set of a study, read in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow

from frcore.data.folders.folder import normalised
from frcore.data.pixels.images import refuse, refuse_rows
from frcore.data.prepared.folder import Skipped
from frcore.data.prepared.training_set import write_training_in_place
from frcore.data.recordio.container import read_tabs
from frcore.data.recordio.dataset import RecordIODataset
from frcore.errors import UserError
from frcore.study.data import Image, RecordIO

_NUMBERED = (
    "identities have numbers and no names, so people of a benchmark who are also trained on are "
    "not noticed; name them with `names`"
)

_FORM = (
    "its lines are `index<TAB>label<TAB>path` (im2rec, perhaps with several labels) or "
    "`1<TAB>path<TAB>label` (InsightFace), all with equally many fields"
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
    refuse(
        f"labels of {data.path} are not in {path}",
        [f"label {label}" for label in pd.Index(data.stored).difference(found.index)],
        "Give the list that the file was made from, or leave `names` out",
    )
    return found.reindex(data.stored).reset_index(drop=True)


def identity_names(path: Path, label: int = 0) -> pd.Series:
    """The name of each label of a list: str, by label; `label` is which one of several.

    im2rec's lines are `index<TAB>label...<TAB>path`, those of InsightFace
    `aligned<TAB>path<TAB>label`, perhaps with further numbers. An identity's name is the folder
    that its images are in.

    Raises:
        UserError: the file is missing, a line has another form, images of one label are in several
            folders, or one folder has several labels.
    """
    columns = read_tabs(path, _FORM)
    is_text = [pyarrow.types.is_string(column.type) for column in columns]
    at = 1 if is_text[1:2] == [True] else len(columns) - 1
    if len(columns) < 3 or not is_text[at]:
        first = "\t".join(str(column[0]) for column in columns)[:100]
        raise UserError(f"{path}: of the {len(columns)} fields between tabs none is a path, got "
                        f"{first!r}; {_FORM}")  # fmt: skip
    labels = columns[2:] if at == 1 else columns[1:at]
    if label >= len(labels):
        raise UserError(
            f"{path}: lines have {len(labels)} labels, so none at place {label} (from 0); correct "
            f"`label`, or give the list that the .rec was made from: {_FORM}"
        )
    numbers = pd.to_numeric(labels[label].to_pandas(), errors="coerce")
    refuse_rows(
        f"labels of {path} are no whole numbers",
        np.flatnonzero((numbers % 1 != 0) | (numbers.abs() >= 2**53)),
        lambda row: f"{path}:{row + 1}: {str(labels[label][row])[:100]}",
        f"Correct them; {_FORM}",
    )
    paths = columns[at].to_pandas().astype("str")
    folders = paths.str.replace("\\", "/").str.extract(r"([^/]+)/+[^/]+$")[0]
    refuse_rows(
        f"images of {path} are in no folder, which would name their identity",
        np.flatnonzero(folders.isna()),
        lambda row: f"{path}:{row + 1}: {paths[row]!r}",
        "Leave `names` out, then identities are numbers",
    )
    found = pd.DataFrame({"label": numbers.astype("int64"), "folder": folders}).drop_duplicates()
    found = found.assign(folder=found["folder"].map(normalised)).drop_duplicates()
    for column, other in (("label", "folder"), ("folder", "label")):
        several = found[found[column].duplicated(keep=False)].sort_values([column, other])
        refuse(
            f"lines of {path} disagree on who is who",
            [f"{column} {row[column]}: {other} {row[other]}" for _, row in several.iterrows()],
            "Each label needs one folder and each folder one label: correct the list, or leave "
            "`names` out, then identities are numbers",
        )
    return found.set_index("label")["folder"].sort_index()
