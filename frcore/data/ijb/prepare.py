"""IJB-B and IJB-C as a prepared benchmark: images stay where they are and are aligned when used."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.ijb.layout import find_crops
from frcore.data.ijb.lists import IJBLists, read_lists
from frcore.data.ijb.people import People, people_of
from frcore.data.pixels.images import refuse_rows
from frcore.data.prepared.draft import BareDraft, written_absent, written_in_place
from frcore.data.prepared.encoded import EncodedFiles
from frcore.data.prepared.in_place import InPlaceImages
from frcore.study.data import IJB, Image

_ALIGNMENT = "arcface-112"


def write_ijb(spec: IJB, image: Image, out: Path, about: dict[str, Any],
              workers: int | None) -> None:  # fmt: skip
    """Write the benchmark to the folder `out`.

    Raises:
        UserError: a list is wrong (see `read_lists`), or an image is missing.
    """
    lists = read_lists(spec.root, spec.name, keep_repeated_pairs=spec.repeated_pairs == "keep")
    people = people_of(lists, spec.name)
    about = {**about, "alignment": _ALIGNMENT, "people": "numbered", "protocol": "templates"}
    writing: AbstractContextManager[BareDraft]
    if spec.images:
        source = EncodedFiles(find_crops(Path(spec.root), spec.name),
                              lists.names.to_pandas().astype("str"))  # fmt: skip
        _refuse_missing(source)
        images = InPlaceImages(source, image, landmarks=lists.landmarks, threads=workers)
        writing = written_in_place(out, images, **about)
    else:
        writing = written_absent(out, size=image.size, **about)
    with writing as draft:
        draft.warnings += [*lists.warnings, *people.warnings]
        if image.alignment != _ALIGNMENT:
            draft.warnings.append(f"image.alignment is '{image.alignment}', but these faces are "
                                  "aligned to the ArcFace template by their landmarks")  # fmt: skip
        if image.crop is not None:
            draft.warnings.append("image.crop has no meaning for faces aligned by landmarks; not "
                                  "applied")  # fmt: skip
        draft.tables |= _tables(lists, people)


def _refuse_missing(source: EncodedFiles) -> None:
    """Every image is a file with content; whether it can be decoded is seen when it is used."""

    def size(path: Path) -> int:
        try:
            return path.stat().st_size
        except OSError:
            return -1

    sizes = np.array([size(source.root / name) for name in source.names])
    refuse_rows(
        "images are missing", np.flatnonzero(sizes <= 0),
        lambda row: f"{source.root / source.names[row]}: "
        f"{'empty' if sizes[row] == 0 else 'no such file'}",
        "Complete the folder, or set `images: false` to judge embeddings made elsewhere",
    )  # fmt: skip


def _tables(lists: IJBLists, people: People) -> dict[str, pd.DataFrame]:
    identity = pd.Series(people.of(lists.template)).astype("str")
    tables = {
        "index": pd.DataFrame({
            "name": lists.names.to_pandas().astype("str"),
            "identity": identity,
            "label": pd.factorize(identity, sort=True)[0].astype(np.int64),
            "medium": lists.medium,
            "true_identity": identity,
        }),
        "templates": pd.DataFrame({
            "template": lists.template,
            "image": np.arange(len(lists.template), dtype=np.int32),
            "medium": lists.medium,
            "identity": identity,
            "weight": lists.score,
        }),
        "template_pairs": pd.DataFrame({"a": lists.a, "b": lists.b, "same": lists.same},
                                       copy=False),
    }  # fmt: skip
    enrolled = lists.enrolled
    # A search needs probes and at least one gallery.
    if {0, 1} <= set(enrolled["list"]):
        searched = pd.DataFrame({
            "gallery": enrolled["list"].astype("int32"),
            "template": enrolled["template"],
            "identity": people.of(enrolled["template"].to_numpy()),
        })  # fmt: skip
        probes = searched["gallery"] == 0
        tables["galleries"] = searched[~probes].reset_index(drop=True)
        tables["probes"] = searched.loc[probes, ["template", "identity"]].reset_index(drop=True)
    return tables
