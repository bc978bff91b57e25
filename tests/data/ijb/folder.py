"""A folder of IJB-C's layout small enough to be checked by eye."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from frcore.data.pixels.align import TEMPLATE_112

# Subjects 10 and 20 are enrolled with templates 1 and 2; probes: 5 (10), 6 (20), 8 (20).
IMAGES = """\
1.jpg 1 100
2.jpg 1 100
3.jpg 1 101
4.jpg 2 200
5.jpg 5 102
6.jpg 6 201
7.jpg 8 202
8.jpg 8 203
"""
PAIRS = """\
1 5 1
2 6 1
1 6 0
2 5 0
1 8 0
"""
GALLERY_1 = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n1,10,1.jpg\n1,10,2.jpg\n1,10,3.jpg\n"
GALLERY_2 = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n2,20,4.jpg\n"
PROBES = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n5,10,5.jpg\n6,20,6.jpg\n8,20,7.jpg\n8,20,8.jpg\n"

LISTS = {
    "face_tid_mid.txt": IMAGES,
    "template_pair_label.txt": PAIRS,
    "1N_gallery_G1.csv": GALLERY_1,
    "1N_gallery_G2.csv": GALLERY_2,
    "1N_probe_mixed.csv": PROBES,
}


def landmarks() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (TEMPLATE_112 + rng.normal(0, 1, (8, 5, 2))).round(3)


def score_list() -> str:
    lines = []
    for row, points in enumerate(landmarks().reshape(8, 10)):
        numbers = " ".join(f"{value:.3f}" for value in points)
        lines.append(f"{row + 1}.jpg {numbers} 0.9{row}\n")
    return "".join(lines)


def write(root: Path, **changes: str | bytes | None) -> Path:
    """The folder, with the text of some lists (pairs=..., score=...) replaced; None: not there."""
    (root / "meta").mkdir(parents=True, exist_ok=True)
    texts: dict[str, str | bytes | None] = {**LISTS, "name_5pts_score.txt": score_list()}
    for short, text in changes.items():
        (ending,) = (name for name in texts if short in name)
        texts[ending] = text
    for ending, text in texts.items():
        if text is not None:
            content = text if isinstance(text, bytes) else text.encode()
            (root / "meta" / f"ijbc_{ending}").write_bytes(content)
    return root


def line(text: str, number: int, change: Callable[[str], str]) -> str:
    """`text` with its line `number`, from 1, changed."""
    lines = text.splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1].rstrip("\n")) + "\n"
    return "".join(lines)


def as_ijbb(root: Path) -> None:
    """Give the lists of the folder the names that IJB-B's have."""
    for path in (root / "meta").iterdir():
        name = path.name.replace("ijbc", "ijbb").replace("_G", "_S")
        path.rename(path.with_name(name))
