"""The folder of IJB-B and IJB-C in InsightFace's layout: files and sizes.

Under `root` (…/IJBB or …/IJBC), with the prefix ijbb or ijbc:

    meta/ijbc_face_tid_mid.txt          image template medium, one line per image of a template
    meta/ijbc_name_5pts_score.txt       image x1 y1 … x5 y5 score, the same images in the same order
    meta/ijbc_template_pair_label.txt   template template 0|1
    meta/ijbc_1N_gallery_G1.csv, …_G2   TEMPLATE_ID,SUBJECT_ID,…; a header, one line per image
    meta/ijbc_1N_probe_mixed.csv        the same for the probes (IJB-B: gallery_S1 and gallery_S2)
    loose_crop/                         the images

Names, columns and counts are from `recognition/_evaluation_/ijb/ijb_evals.py` of
github.com/deepinsight/insightface.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frcore.data.text_table import POINT_COLUMNS, Kind
from frcore.errors import UserError

Name = str
"""A key of `PUBLISHED`."""

Ids = NDArray[np.int32]


class Published(NamedTuple):
    """Sizes of a benchmark, and the names of its gallery lists."""

    title: str
    images: int
    templates: int
    pairs: int
    genuine: int
    galleries: tuple[str, str]


PUBLISHED: Mapping[str, Published] = {
    "ijbb": Published("IJB-B", 227_630, 12_115, 8_010_270, 10_270, ("S1", "S2")),
    "ijbc": Published("IJB-C", 469_375, 23_124, 15_658_489, 19_557, ("G1", "G2")),
}
"""Counts of the released lists. IJB-B: comments in ijb_evals.py; IJB-C: its output in issue 2747 of
InsightFace, and line counts reported by users of the lists."""

CROPS = "loose_crop"
SYNTHETIC_MARK = "synthetic.json"
"""Marks a folder of this layout as simulated, showing no real people."""

IMAGE_COLUMNS: Mapping[str, Kind] = {"image": "name", "template": "id", "medium": "id"}
LANDMARK_COLUMNS: Mapping[str, Kind] = {"image": "name", **POINT_COLUMNS, "score": "number"}
PAIR_COLUMNS: Mapping[str, Kind] = {"template a": "id", "template b": "id", "label": "flag"}


def meta_file(root: Path, name: str, ending: str) -> Path:
    """A list under `root`, such as `ijbc_face_tid_mid.txt` for the ending `face_tid_mid.txt`."""
    return root / "meta" / f"{name}_{ending}"


def enrolment_files(root: Path, name: Name) -> dict[int, Path]:
    """The 1:N lists: number (galleries 1 and 2; 0: probes) -> path."""
    parts = (f"gallery_{PUBLISHED[name].galleries[0]}", f"gallery_{PUBLISHED[name].galleries[1]}",
             "probe_mixed")  # fmt: skip
    return {number: meta_file(root, name, f"1N_{part}.csv")
            for number, part in zip((1, 2, 0), parts, strict=True)}  # fmt: skip


def list_files(root: Path, name: Name) -> list[Path]:
    """Every list of the benchmark; those for 1:N search may be absent."""
    endings = ("face_tid_mid.txt", "name_5pts_score.txt", "template_pair_label.txt")
    paths = [meta_file(root, name, ending) for ending in endings]
    return [*paths, *enrolment_files(root, name).values()]


def find_crops(root: Path, name: Name) -> Path:
    """The folder of the images.

    Raises:
        UserError: it does not exist.
    """
    crops = root / CROPS
    if not crops.is_dir():
        raise UserError(
            f"{crops}, with the images of {PUBLISHED[name].title}, does not exist; put it next to "
            "meta/, or set `images: false` to evaluate embeddings computed elsewhere"
        )
    return crops
