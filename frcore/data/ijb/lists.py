"""The lists of IJB-B and IJB-C, read strictly; `frcore.data.ijb.layout` says what lies where.

What InsightFace's scripts (`ijb_evals.py`, `eval_ijbc.py`) do not check is checked here: they join
two lists by line number without comparing the names in them, and take any text for a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from frcore.data.ijb.galleries import read_enrolled
from frcore.data.ijb.layout import (
    CROPS,
    IMAGE_COLUMNS,
    LANDMARK_COLUMNS,
    PAIR_COLUMNS,
    PUBLISHED,
    Ids,
    Name,
    Published,
    meta_file,
    rows_of,
)
from frcore.data.pixels.align import unusable_landmarks
from frcore.data.text_table import TextTable, unsafe_names
from frcore.errors import UserError

_REMEDY = "Correct these lines, or take the list as it was released"


@dataclass
class IJBLists:
    """The lists of one benchmark, consistent with one another.

    Attributes:
        names: of the images (N,).
        template, medium: of each image (N,).
        landmarks: pixels of the loose crop (N, 5, 2).
        score: the detector's (N,).
        a, b: templates of the pairs (P,).
        same: True for genuine pairs (P,).
        enrolled: one row per template of a 1:N list: `list` (gallery 1 or 2; 0: probe), `template`,
            `subject`; empty where there are no such lists.
        pairs_path: where the pairs stand, for messages.
        warnings: what differs from the released benchmark.
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
    warnings: list[str] = field(default_factory=list)

    @property
    def templates(self) -> Ids:
        """Ids of all templates that have images (T,), ascending."""
        return np.unique(self.template)


def read_lists(root: str | Path, name: Name, *, keep_repeated_pairs: bool = False) -> IJBLists:
    """Read the lists of the benchmark `name` below `root`.

    Args:
        root: the folder that has `meta`.
        name: which benchmark.
        keep_repeated_pairs: count a pair that stands twice as two; otherwise it is refused.

    Raises:
        UserError: a list is missing, malformed, or contradicts another; the first ten lines that
            are wrong are named.
    """
    root = Path(root)
    _refuse_other_folder(root, name)
    images = TextTable(meta_file(root, name, "face_tid_mid.txt"), IMAGE_COLUMNS, _REMEDY)
    _check_images(images)
    template = images.values("template")
    points = TextTable(meta_file(root, name, "name_5pts_score.txt"), LANDMARK_COLUMNS, _REMEDY)
    landmarks = _checked_landmarks(points, images)
    score = points.values("score").astype(np.float32)
    del points
    known = np.unique(template)
    pairs = TextTable(meta_file(root, name, "template_pair_label.txt"), PAIR_COLUMNS, _REMEDY)
    a, b = pairs.values("template a"), pairs.values("template b")
    same = pairs.values("label").astype(bool)
    warnings = _check_pairs(pairs, rows_of(known, a), rows_of(known, b), same,
                            keep_repeated_pairs)  # fmt: skip
    enrolled, more = read_enrolled(root, name, known)
    lists = IJBLists(images.texts("image"), template, images.values("medium"), landmarks, score,
                     a, b, same, enrolled, pairs.path, warnings + more)  # fmt: skip
    lists.warnings += _against_published(lists, PUBLISHED[name])
    return lists


def _refuse_other_folder(root: Path, name: Name) -> None:
    if (root / "meta").is_dir():
        return
    inner = [path.parent for path in root.glob("*/meta")] if root.is_dir() else []
    hint = f"; {inner[0]} has one, is that meant?" if inner else ""
    raise UserError(
        f"{root} has no folder 'meta'{hint}. Give the folder of {PUBLISHED[name].title}, with "
        f"meta/{name}_face_tid_mid.txt and the other lists, and {CROPS}/"
    )


def _check_images(images: TextTable) -> None:
    names = images.texts("image")
    images.note(unsafe_names(names), f"the name of an image must be a path below {CROPS}/")
    codes = names.combine_chunks().dictionary_encode().indices.to_numpy()
    images.note_repeats(codes.astype(np.int64), "the image")
    images.refuse_noted()


def _checked_landmarks(points: TextTable, images: TextTable) -> NDArray[np.float32]:
    """Landmarks (N, 5, 2), if the table is about the same images and has usable values."""
    points.refuse_noted()
    if len(points) != len(images):
        raise UserError(
            f"{points.path} has {len(points):,} lines, but {images.path} has {len(images):,}; line "
            "n of each is about the same image, so they must be equally many: take both lists from "
            "one release"
        )
    here, there = points.texts("image"), images.texts("image")
    differ = np.asarray(pa.compute.not_equal(here, there).to_numpy())
    points.note(differ, lambda row: f"line {row + 1} of {images.path.name} is {there[row]}")
    points.refuse_noted()
    points.note(points.values("score") < 0, "the detector's score must not be negative")
    columns = [points.values(name) for name in LANDMARK_COLUMNS if name[0] in "xy"]
    landmarks = np.stack(columns, axis=1).astype(np.float32).reshape(-1, 5, 2)
    reasons = unusable_landmarks(landmarks)
    points.note(np.array(list(reasons), np.int64), lambda row: reasons[row])
    points.refuse_noted()
    return landmarks


def _check_pairs(pairs: TextTable, a: Ids, b: Ids, same: NDArray[np.bool_],
                 keep_repeated: bool) -> list[str]:  # fmt: skip
    """Check pairs whose templates stand in rows `a` and `b` (P,) of all; warnings."""
    for side, rows in (("a", a), ("b", b)):
        pairs.note(rows < 0, f"template {side} has no image")
    pairs.note((a == b) & (a >= 0), "a template is paired with itself")
    pairs.refuse_noted()
    count = int(max(a.max(), b.max())) + 1
    keys = np.minimum(a, b).astype(np.int64) * count + np.maximum(a, b)
    if keep_repeated:
        both = np.intersect1d(keys[same], keys[~same])
        pairs.note(np.isin(keys, both) & same, "the pair also stands with the label 0")
        pairs.refuse_noted()
        repeated = len(keys) - len(np.unique(keys))
        return [f"{repeated} pairs stand more than once and count as often"] if repeated else []
    pairs.note_repeats(keys, "the pair")
    pairs.remedy += "; `repeated_pairs: keep` counts equal lines as often as they stand"
    pairs.refuse_noted()
    return []


def _against_published(lists: IJBLists, known: Published) -> list[str]:
    found = Published(known.title, len(lists.template), len(lists.templates), len(lists.a),
                      int(lists.same.sum()), known.galleries)  # fmt: skip
    if found == known:
        return []
    counts = zip(Published._fields[1:5], found[1:5], known[1:5], strict=True)
    differ = [f"{have:,} {what} instead of {want:,}" for what, have, want in counts if have != want]
    return [f"not the released {known.title}: {', '.join(differ)}"]
