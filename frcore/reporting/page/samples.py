"""A sheet of training faces for the page; of real people only if the study allows it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from frcore.data.prepared.folder import Prepared
from frcore.data.source import place_of
from frcore.errors import UserError
from frcore.study.config import Study

IDENTITIES = 12
IMAGES = 4
FACE = 96
"""Size of a face on the sheet, in pixels."""


@dataclass(frozen=True)
class Samples:
    """A picture as a `data:` URI, or why there is none.

    Attributes:
        data: the URI; empty without a picture.
        text: what it shows, or why there is none.
        alt: alternative text for screen readers.
        shown: whether the page has a section of faces; it has none where nothing is trained.
    """

    data: str = ""
    text: str = ""
    alt: str = ""
    shown: bool = True


def samples(study: Study, root: Path) -> Samples:
    """Some identities (columns) with a few images each (rows); for real people only the reason."""
    if study.train is None or study.train.kind == "synthetic_identities":  # no one to see
        return Samples(shown=False)
    try:
        place = place_of(study.train)
        data = Prepared.open(root / "data" / "train", place=place, images=False)
        # Faces not known to be synthetic are treated as real people.
        synthetic = study.train.kind == "synthetic" and data.manifest.synthetic is True
        if not (synthetic or study.show_faces):
            return Samples(
                text="The training data show real people; their pictures are not embedded unless "
                "the study sets `show_faces: true`."
            )
        sheet = _sheet(data)
    except (UserError, OSError, ValueError) as error:
        return Samples(text=f"The training data are not available: {error}")
    _, buffer = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    encoded = base64.b64encode(buffer.tobytes()).decode("ascii")
    kind = "synthetic" if synthetic else "real"
    text = f"{sheet.shape[1] // FACE} {kind} identities of the training set, one per column."
    if not synthetic:
        text += " The study sets `show_faces: true`: the data's terms of use apply to this page."
    return Samples(f"data:image/png;base64,{encoded}", text, f"Sheet of {kind} training faces")


def _sheet(data: Prepared) -> np.ndarray:
    """Faces (rows · FACE, columns · FACE, 3), one identity per column; gaps are grey."""
    labels = np.asarray(data.labels)
    counts = np.bincount(labels)
    chosen = [label for label in np.argsort(-counts, kind="stable")[:IDENTITIES] if counts[label]]
    chosen.sort()
    sheet = np.full((IMAGES * FACE, len(chosen) * FACE, 3), 128, dtype=np.uint8)
    for column, label in enumerate(chosen):
        for row, image in enumerate(np.flatnonzero(labels == label)[:IMAGES]):
            face = np.asarray(data.images[image])
            size = (FACE, FACE)
            method = cv2.INTER_AREA if face.shape[0] > FACE else cv2.INTER_CUBIC
            place = np.s_[row * FACE : (row + 1) * FACE, column * FACE : (column + 1) * FACE]
            sheet[place] = cv2.resize(face, size, interpolation=method)
    return sheet
