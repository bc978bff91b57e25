"""A RecordIO file as the training set of a study, read in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow

from frcore.data.contents import Contents
from frcore.data.labels import Labels, labelled
from frcore.data.names import normalised
from frcore.data.recordio.container import read_tabs
from frcore.data.recordio.dataset import PROPERTY, RecordIODataset, find_rec
from frcore.data.refusal import refuse, refuse_rows
from frcore.data.source import File, Source, below
from frcore.errors import UserError
from frcore.study.data import RecordIO

_FORM = (
    "its lines must be `index<TAB>label<TAB>path` (im2rec, possibly with several labels) or "
    "`1<TAB>path<TAB>label` (InsightFace), all with the same number of fields"
)


class RecordIOSource(Source):
    """A `.rec` file, its index and `property`, and the list that names the identities."""

    section: RecordIO

    def files(self) -> Iterator[File]:
        rec = find_rec(Path(self.section.root))
        beside = (rec.with_suffix(".idx"), rec.parent / PROPERTY)
        yield from ((path.name, path) for path in (rec, *beside) if path == rec or path.is_file())
        if self.section.names is not None:
            names = below(rec.parent, self.section.names)
            yield f"names {names.name}", names

    def read(self) -> Contents:
        spec = self.section
        # Gaps in the labels are intended if the number of identities is given, as in other formats.
        data = RecordIODataset(
            spec.root, num_classes=spec.identities, label=spec.label,
            relabel=spec.identities is not None, skip=spec.on_bad_image == "skip",
        )  # fmt: skip
        if spec.names is None:
            who = "recordio/" + pd.Series(data.stored).astype("str")
        else:
            who = _named(data, below(data.path.parent, spec.names), spec.label)
        return labelled(
            data.images, Labels(data.labels, who, spec.names is not None), warnings=data.notes,
            skipped=[(str(key), "a record without an image") for key in data.empty],
        )  # fmt: skip


def _named(data: RecordIODataset, path: Path, label: int) -> pd.Series:
    """The name of each label that occurs (C,), from a list."""
    found = identity_names(path, label)
    refuse(
        f"labels of {data.path} are not in {path}",
        [f"label {label}" for label in pd.Index(data.stored).difference(found.index)],
        "Give the list that the file was made from, or omit `names`",
    )
    return found.reindex(data.stored).reset_index(drop=True)


def identity_names(path: Path, label: int = 0) -> pd.Series:
    """The name of each label in a list: str, indexed by label; `label` selects one of several.

    im2rec's lines are `index<TAB>label...<TAB>path`, those of InsightFace
    `aligned<TAB>path<TAB>label`, possibly followed by further numbers. An identity is named after
    the folder of its images.

    Raises:
        UserError: the file is missing, a line is malformed, images of one label are in several
            folders, or one folder has several labels.
    """
    columns = read_tabs(path, _FORM)
    is_text = [pyarrow.types.is_string(column.type) for column in columns]
    at = 1 if is_text[1:2] == [True] else len(columns) - 1
    if len(columns) < 3 or not is_text[at]:
        first = "\t".join(str(column[0]) for column in columns)[:100]
        raise UserError(f"{path}: none of the {len(columns)} tab-separated fields is a path, got "
                        f"{first!r}; {_FORM}")  # fmt: skip
    labels = columns[2:] if at == 1 else columns[1:at]
    if label >= len(labels):
        raise UserError(
            f"{path}: lines have {len(labels)} labels, so no number {label} (counted from 0); "
            f"correct `label`, or give the list that the .rec was made from: {_FORM}"
        )
    numbers = pd.to_numeric(labels[label].to_pandas(), errors="coerce")
    refuse_rows(
        f"labels of {path} are not whole numbers",
        np.flatnonzero((numbers % 1 != 0) | (numbers.abs() >= 2**53)),
        lambda row: f"{path}:{row + 1}: {str(labels[label][row])[:100]}",
        f"Correct them; {_FORM}",
    )
    paths = columns[at].to_pandas().astype("str")
    folders = paths.str.replace("\\", "/").str.extract(r"([^/]+)/+[^/]+$")[0]
    refuse_rows(
        f"images of {path} are not in a folder that names their identity",
        np.flatnonzero(folders.isna()),
        lambda row: f"{path}:{row + 1}: {paths[row]!r}",
        "Omit `names`; identities are then numbers",
    )
    found = pd.DataFrame({"label": numbers.astype("int64"), "folder": folders}).drop_duplicates()
    found = found.assign(folder=found["folder"].map(normalised)).drop_duplicates()
    for column, other in (("label", "folder"), ("folder", "label")):
        several = found[found[column].duplicated(keep=False)].sort_values([column, other])
        refuse(
            f"lines of {path} disagree about identities",
            [f"{column} {row[column]}: {other} {row[other]}" for _, row in several.iterrows()],
            "Each label needs one folder and each folder one label: correct the list, or omit "
            "`names`; identities are then numbers",
        )
    return found.set_index("label")["folder"].sort_index()
