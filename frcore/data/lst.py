"""Lists of images (`.lst`) beside `.rec` files: here they name the identities.

im2rec's lines are `index<TAB>label...<TAB>path`, those of InsightFace `aligned<TAB>path<TAB>label`,
perhaps with further numbers. An identity's name is the folder that its images lie in.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.csv

from frcore.data.images import refuse
from frcore.errors import UserError

_FORM = "its lines are `index<TAB>label<TAB>path` (im2rec) or `1<TAB>path<TAB>label` (InsightFace)"


def read_lst(path: Path) -> pd.DataFrame:
    """The label (int64) and the path (str) of each line.

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
    if len(columns) >= 3 and is_text[-1]:
        label, name = columns[1], columns[-1]
    elif len(columns) >= 3 and is_text[1]:
        label, name = columns[2], columns[1]
    else:
        raise UserError(f"{path}: of {len(columns)} columns none is a path; {_FORM}")
    try:
        labels = label.cast(pyarrow.int64())
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: a label is no whole number: {error}; {_FORM}") from error
    if labels.null_count:
        raise UserError(f"{path}: a line has no label; {_FORM}")
    return pd.DataFrame({"label": labels.to_numpy(), "path": name.to_pandas().astype("str")})


def identity_names(path: Path) -> pd.Series:
    """The name of each label that the list has: str, by label.

    Raises:
        UserError: images of one label lie in several folders, or one folder has several labels.
    """
    table = read_lst(path)
    folders = table["path"].str.replace("\\", "/").str.extract(r"([^/]+)/+[^/]+$")[0]
    if folders.isna().any():
        line = int(folders.isna().to_numpy().argmax())
        raise UserError(
            f"{path}:{line + 1}: {table['path'].iloc[line]!r} lies in no folder, which would name "
            "its identity; leave `names` out, then identities are numbers"
        )
    found = pd.DataFrame({"label": table["label"], "folder": folders}).drop_duplicates()
    for column, other in (("label", "folder"), ("folder", "label")):
        twice = found[found[column].duplicated(keep=False)].sort_values([column, other])
        refuse(
            f"lines of {path} disagree on who is who",
            [f"{column} {row[column]}: {other} {row[other]}" for _, row in twice.iterrows()],
            "Each label needs one folder and each folder one label: correct the list, or leave "
            "`names` out, then identities are numbers",
        )
    return found.set_index("label")["folder"].sort_index()
