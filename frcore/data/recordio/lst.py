"""Lists of images (`.lst`) beside `.rec` files: here they name the identities.

im2rec's lines are `index<TAB>label...<TAB>path`, those of InsightFace `aligned<TAB>path<TAB>label`,
perhaps with further numbers. An identity's name is the folder that its images lie in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.csv
from numpy.typing import NDArray

from frcore.data.folders.folder import normalised
from frcore.data.pixels.images import refuse, refuse_rows
from frcore.data.pixels.picture_kinds import without_suffix
from frcore.errors import UserError

_FORM = (
    "its lines are `index<TAB>label<TAB>path` (im2rec, perhaps with several labels) or "
    "`1<TAB>path<TAB>label` (InsightFace), all with equally many fields"
)


def read_lst(path: Path, label: int = 0) -> pd.DataFrame:
    """The label (int64) and the path (str) of each line.

    Args:
        path: the list.
        label: which one of several labels.

    Raises:
        UserError: the file is missing, or a line has another form.
    """
    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(autogenerate_column_names=True),
            pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        )
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}; {_FORM}") from error
    columns = table.columns
    is_text = [pyarrow.types.is_string(column.type) for column in columns]
    is_path = [text and _has_suffix(str(column[0]))
               for text, column in zip(is_text, columns, strict=True)]  # fmt: skip
    if len(columns) >= 3 and (is_path[1] or (is_text[1] and not is_text[-1])):
        labels, name = columns[2:], columns[1]
    elif len(columns) >= 3 and is_text[-1]:
        labels, name = columns[1:-1], columns[-1]
    else:
        first = "\t".join(str(column[0]) for column in columns)[:100]
        raise UserError(
            f"{path}: of the {len(columns)} fields between tabs none is a path, got {first!r}; "
            f"{_FORM}"
        )
    if label >= len(labels):
        raise UserError(
            f"{path}: lines have {len(labels)} labels, so none at place {label} (from 0); correct "
            f"`label`, or give the list that the .rec was made from: {_FORM}"
        )
    return pd.DataFrame({"label": _whole(path, labels[label]),
                         "path": name.to_pandas().astype("str")})  # fmt: skip


def _has_suffix(name: str) -> bool:
    return without_suffix(name) != name


def _whole(path: Path, labels: pyarrow.ChunkedArray) -> NDArray[np.int64]:
    """Labels as whole numbers."""
    numbers = pd.to_numeric(labels.to_pandas(), errors="coerce")
    refuse_rows(
        f"labels of {path} are no whole numbers",
        np.flatnonzero((numbers % 1 != 0) | (numbers.abs() >= 2**53)),
        lambda row: f"{path}:{row + 1}: {str(labels[row])[:100]}",
        f"Correct them; {_FORM}",
    )
    return numbers.to_numpy(np.int64)


def identity_names(path: Path, label: int = 0) -> pd.Series:
    """The name of each label that the list has: str, by label; `label` is which one of several.

    Raises:
        UserError: images of one label lie in several folders, or one folder has several labels.
    """
    table = read_lst(path, label)
    folders = table["path"].str.replace("\\", "/").str.extract(r"([^/]+)/+[^/]+$")[0]
    if folders.isna().any():
        line = int(folders.isna().to_numpy().argmax())
        raise UserError(
            f"{path}:{line + 1}: {table['path'].iloc[line]!r} lies in no folder, which would name "
            "its identity; leave `names` out, then identities are numbers"
        )
    found = pd.DataFrame({"label": table["label"], "folder": folders}).drop_duplicates()
    found = found.assign(folder=found["folder"].map(normalised)).drop_duplicates()
    for column, other in (("label", "folder"), ("folder", "label")):
        twice = found[found[column].duplicated(keep=False)].sort_values([column, other])
        refuse(
            f"lines of {path} disagree on who is who",
            [f"{column} {row[column]}: {other} {row[other]}" for _, row in twice.iterrows()],
            "Each label needs one folder and each folder one label: correct the list, or leave "
            "`names` out, then identities are numbers",
        )
    return found.set_index("label")["folder"].sort_index()
