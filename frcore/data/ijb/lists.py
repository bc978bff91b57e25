"""The lists of IJB-B and IJB-C, read strictly; the folder layout is in `frcore.data.ijb.layout`.

This checks what InsightFace's scripts (`ijb_evals.py`, `eval_ijbc.py`) do not: they join two lists
by line number without comparing the names in them, and accept any text as a list.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from frcore.data.ijb.layout import (
    CROPS,
    IMAGE_COLUMNS,
    LANDMARK_COLUMNS,
    PAIR_COLUMNS,
    PUBLISHED,
    Ids,
    Name,
    enrolment_files,
    meta_file,
)
from frcore.data.refusal import refuse_rows
from frcore.data.text_table import (
    Kind,
    TextTable,
    first_line,
    is_number,
    landmarks_of,
    unsafe_names,
)
from frcore.errors import UserError

_REMEDY = "Correct these lines, or use the list as released"


@dataclass
class IJBLists:
    """The lists of one benchmark, consistent with one another.

    Attributes:
        names: of the images (N,).
        template, medium: of each image (N,).
        landmarks: pixels of the loose crop (N, 5, 2).
        score: of the detector (N,).
        a, b: templates of the pairs (P,).
        same: True for genuine pairs (P,).
        enrolled: one row per template in a 1:N list: `list` (gallery 1 or 2; 0: probe), `template`,
            `subject`, `line`; empty if there are no such lists.
        pairs_path: the list of pairs, for messages.
        warnings: how the lists differ from the released benchmark.
    """

    names: pa.ChunkedArray
    template: Ids
    medium: Ids
    landmarks: NDArray[np.float32]
    score: NDArray[np.float32]
    a: Ids
    b: Ids
    same: NDArray[np.bool_]
    enrolled: pd.DataFrame
    pairs_path: Path
    warnings: list[str]

    @property
    def templates(self) -> Ids:
        """Ids of all templates that have images (T,), ascending."""
        return np.unique(self.template)


def rows_of(known: Ids, values: Ids) -> Ids:
    """The position of each value (P,) in the unique `known` (T,); −1 where it is missing.

    >>> rows_of(np.array([3, 7], np.int32), np.array([7, 4, 3], np.int32)).tolist()
    [1, -1, 0]
    """
    return pd.Index(known).get_indexer(pd.Index(values)).astype(np.int32)


def read_lists(root: str | Path, name: Name, *, keep_repeated_pairs: bool = False) -> IJBLists:
    """Read the lists of the benchmark `name` below `root`.

    Args:
        root: the folder that contains `meta`.
        name: which benchmark.
        keep_repeated_pairs: count a pair that is listed twice as two; otherwise it is refused.

    Raises:
        UserError: a list is missing, malformed, or contradicts another (naming the first ten wrong
            lines).
    """
    root = Path(root)
    _refuse_other_folder(root, name)
    images = TextTable(meta_file(root, name, "face_tid_mid.txt"), IMAGE_COLUMNS, _REMEDY)
    names, template = images.texts("image"), images.values("template")
    images.refuse_where(
        (unsafe_names(names), f"the name of an image must be a path below {CROPS}/"),
        images.repeated(pd.factorize(names.to_pandas())[0], "the image"),
    )
    landmarks, score = _landmarks(root, name, images)
    known = np.unique(template)
    pairs = TextTable(meta_file(root, name, "template_pair_label.txt"), PAIR_COLUMNS, _REMEDY)
    a, b = pairs.values("template a"), pairs.values("template b")
    same = pairs.values("label").astype(bool)
    warnings = _check_pairs(pairs, rows_of(known, a), rows_of(known, b), same,
                            keep_repeated_pairs)  # fmt: skip
    enrolled, more = _read_enrolled(root, name, known)
    found = (len(template), len(known), len(a), int(same.sum()))
    warnings += [*more, *_against_published(name, found)]
    return IJBLists(names, template, images.values("medium"), landmarks, score, a, b, same,
                    enrolled, pairs.path, warnings)  # fmt: skip


def _refuse_other_folder(root: Path, name: Name) -> None:
    if (root / "meta").is_dir():
        return
    inner = [path.parent for path in root.glob("*/meta")] if root.is_dir() else []
    hint = f"; did you mean {inner[0]}, which has one?" if inner else ""
    raise UserError(
        f"{root} has no folder 'meta'{hint}. Give the folder of {PUBLISHED[name].title}, with "
        f"meta/{name}_face_tid_mid.txt and the other lists, and {CROPS}/"
    )


def _landmarks(
    root: Path, name: Name, images: TextTable
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Landmarks (N, 5, 2) and scores (N,), checked to be usable and of the same images."""
    points = TextTable(meta_file(root, name, "name_5pts_score.txt"), LANDMARK_COLUMNS, _REMEDY)
    if len(points) != len(images):
        raise UserError(
            f"{points.path} has {len(points):,} lines, but {images.path} has {len(images):,}; line "
            "n of each describes the same image, so the numbers must be equal: take both lists "
            "from one release"
        )
    here, there = points.texts("image"), images.texts("image")
    differ = pa.compute.not_equal(here, there).to_numpy()
    points.refuse_where(
        (differ, lambda row: f"line {row + 1} of {images.path.name} is {there[row]}")
    )
    landmarks, unusable = landmarks_of(points)
    score = points.values("score")
    points.refuse_where((score < 0, "the detector's score must not be negative"), unusable)
    return landmarks.astype(np.float32), score.astype(np.float32)


def _check_pairs(pairs: TextTable, a: Ids, b: Ids, same: NDArray[np.bool_],
                 keep_repeated: bool) -> list[str]:  # fmt: skip
    """Check pairs whose templates have the rows `a` and `b` (P,) among all; return warnings."""
    pairs.refuse_where(
        (a < 0, "template a has no image"),
        (b < 0, "template b has no image"),
        ((a == b) & (a >= 0), "a template is paired with itself"),
    )
    keys = np.minimum(a, b).astype(np.int64) * (int(max(a.max(), b.max())) + 1) + np.maximum(a, b)
    if not keep_repeated:
        pairs.remedy += "; `repeated_pairs: keep` counts duplicate lines as often as they occur"
        pairs.refuse_where(pairs.repeated(keys, "the pair"))
        return []
    both = np.intersect1d(keys[same], keys[~same])
    pairs.refuse_where((np.isin(keys, both) & same, "the pair is also listed with the label 0"))
    repeated = len(keys) - len(np.unique(keys))
    return [f"{repeated} duplicate pairs count as often as they are listed"] if repeated else []


def _against_published(name: Name, found: tuple[int, ...]) -> list[str]:
    known = PUBLISHED[name]
    differ = [f"{have:,} {what} instead of {want:,}"
              for what, have, want in zip(known._fields[1:5], found, known[1:5], strict=True)
              if have != want]  # fmt: skip
    return [f"not the released {known.title}: {', '.join(differ)}"] if differ else []


# --- the 1:N lists, which also give the subject of a template ------------------------------------


def _read_enrolled(root: Path, name: Name, known: Ids) -> tuple[pd.DataFrame, list[str]]:
    """The galleries and probes: one row per template, and a warning if lists are missing."""
    paths = enrolment_files(root, name)
    missing = [path.name for path in paths.values() if not path.is_file()]
    warnings = [f"no {', '.join(missing)} in meta/, so 1:N search cannot be evaluated"]
    tables = [_read_list(path, number, known) for number, path in paths.items() if path.is_file()]
    if not tables:
        empty = {"list": np.int8, "template": np.int32, "subject": np.int32, "line": np.int64}
        return pd.DataFrame({key: np.empty(0, kind) for key, kind in empty.items()}), warnings
    enrolled = pd.concat(tables, ignore_index=True)
    first = enrolled.drop_duplicates("template").set_index("template")["subject"]
    before = first[enrolled["template"]].to_numpy()
    refuse_rows(
        "rows contradict others", np.flatnonzero(enrolled["subject"] != before),
        lambda row: "{}:{line}: template {template} has subject {subject} here, but {} earlier"
        .format(paths[enrolled["list"][row]], before[row], **enrolled.loc[row]),
        _REMEDY,
    )  # fmt: skip
    return enrolled, warnings if missing else []


def _read_list(path: Path, number: int, known: Ids) -> pd.DataFrame:
    """The distinct templates of one list, in list order, with the first line of each."""
    columns, template, subject = _columns(path)
    table = TextTable(path, columns, _REMEDY, separator=",", header=True)
    rows = pd.DataFrame({"list": np.int8(number), "template": table.values(template),
                         "subject": table.values(subject)})  # fmt: skip
    rows["line"] = np.arange(2, len(rows) + 2)
    distinct = rows.drop_duplicates(["template", "subject"])
    again = distinct.duplicated("subject") & ~distinct.duplicated("template") & (number > 0)
    table.refuse_where(
        (rows_of(known, rows["template"].to_numpy()) < 0, "the template has no image"),
        (again.reindex(rows.index, fill_value=False).to_numpy(),
         "the subject already has another template in this gallery"),
    )  # fmt: skip
    return distinct


def _columns(path: Path) -> tuple[dict[str, Kind], str, str]:
    """The columns of a 1:N list from its header, and the names of the template and subject ones."""
    fields = next(csv.reader([first_line(path)]))
    if len(fields) < 2 or any(map(is_number, fields[:2])):
        raise UserError(
            f"{path}:1: {','.join(fields)[:100]!r} is not a header; the first line must name the "
            "columns, TEMPLATE_ID, SUBJECT_ID and any others, separated by commas"
        )
    names = [field.strip().upper() for field in fields]
    # As in InsightFace: the first two columns, unless the header says otherwise.
    wanted = ("TEMPLATE_ID", "SUBJECT_ID")
    places = [names.index(name) for name in wanted] if set(wanted) <= set(names) else [0, 1]
    # pyarrow needs unique names.
    unique = [name if names.count(name) == 1 else f"{name} in column {place + 1}"
              for place, name in enumerate(names)]  # fmt: skip
    columns: dict[str, Kind] = {name: "id" if place in places else "name"
                                for place, name in enumerate(unique)}  # fmt: skip
    return columns, unique[places[0]], unique[places[1]]
