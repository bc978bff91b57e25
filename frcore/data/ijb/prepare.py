"""IJB-B and IJB-C as a prepared benchmark: images stay where they are and are aligned when used."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.data.ijb.layout import CROPS, PUBLISHED, Name
from frcore.data.ijb.lists import IJBLists, read_lists
from frcore.data.ijb.people import People, people_of
from frcore.data.pixels.images import refuse
from frcore.data.prepared.draft import BareDraft, written_absent, written_in_place
from frcore.data.prepared.encoded import EncodedFiles
from frcore.data.prepared.in_place import InPlaceImages
from frcore.errors import UserError
from frcore.study.data import IJB, Image

_ALIGNMENT = "arcface-112"


def write_ijb(spec: IJB, image: Image, out: Path, about: dict[str, Any],
              workers: int | None) -> None:  # fmt: skip
    """Write the benchmark to the folder `out`; see `frcore.data.ijb.lists.read_lists` for its
    errors."""
    root = Path(spec.root)
    lists = read_lists(root, spec.name, keep_repeated_pairs=spec.repeated_pairs == "keep")
    people = people_of(lists, spec.name)
    about = {**about, "alignment": _ALIGNMENT, "people": "numbered"}
    with _draft(spec, lists, root, image, out, about, workers) as draft:
        draft.warnings += [*lists.warnings, *people.warnings, *_about_alignment(image)]
        _set_tables(draft, lists, people)


def _draft(spec: IJB, lists: IJBLists, root: Path, image: Image, out: Path,
           about: dict[str, Any], workers: int | None
           ) -> AbstractContextManager[BareDraft]:  # fmt: skip
    if not spec.images:
        return written_absent(out, size=image.size, protocol="templates", **about)
    crops = find_crops(root, spec.name)
    names = lists.names.to_pandas().astype("str")
    source = EncodedFiles(crops, names)
    _refuse_missing(source)
    images = InPlaceImages(source, image, landmarks=lists.landmarks, threads=workers)
    return written_in_place(out, images, protocol="templates", **about)


def find_crops(root: Path, name: Name) -> Path:
    """The folder of the images.

    Raises:
        UserError: it is not there.
    """
    crops = root / CROPS
    if not crops.is_dir():
        raise UserError(
            f"{crops} is not there, which holds the images of {PUBLISHED[name].title}; put it "
            "beside meta/, or set `images: false` to judge embeddings made elsewhere"
        )
    return crops


def _refuse_missing(source: EncodedFiles) -> None:
    """Every image is a file with content; whether it is a good one shows when it is decoded."""
    problems: list[str] = []
    total = 0
    for name in source.names:
        path = source.root / name
        with contextlib.suppress(OSError):
            if path.stat().st_size:
                continue
        total += 1
        if len(problems) < 10:
            problems.append(f"{path}: {'empty' if path.exists() else 'no such file'}")
    refuse("images are missing", problems,
           "Complete the folder, or set `images: false` to judge embeddings made elsewhere",
           total=total)  # fmt: skip


def _set_tables(draft: BareDraft, lists: IJBLists, people: People) -> None:
    who = pd.Series(people.of(lists.template)).astype("str")
    codes = pd.factorize(who, sort=True)[0].astype(np.int64)
    draft.tables["index"] = pd.DataFrame(
        {
            "name": lists.names.to_pandas().astype("str"),
            "identity": who,
            "label": codes,
            "medium": lists.medium,
            "true_identity": who,
        }
    )
    draft.tables["templates"] = pd.DataFrame(
        {
            "template": lists.template,
            "image": np.arange(len(lists.template), dtype=np.int32),
            "medium": lists.medium,
            "identity": who,
            "weight": lists.score,
        }
    )
    draft.tables["template_pairs"] = pd.DataFrame(
        {"a": lists.a, "b": lists.b, "same": lists.same}, copy=False
    )
    _set_search_tables(draft, lists, people)


def _set_search_tables(draft: BareDraft, lists: IJBLists, people: People) -> None:
    enrolled = lists.enrolled
    if {0, 1} - set(enrolled["list"]):
        # A search needs probes and at least one gallery.
        return
    table = pd.DataFrame(
        {
            "gallery": enrolled["list"].astype("int32"),
            "template": enrolled["template"],
            "identity": people.of(enrolled["template"].to_numpy()),
        }
    )
    is_probe = table["gallery"] == 0
    draft.tables["galleries"] = table[~is_probe].reset_index(drop=True)
    draft.tables["probes"] = table.loc[is_probe, ["template", "identity"]].reset_index(drop=True)


def _about_alignment(image: Image) -> list[str]:
    found = []
    if image.alignment != _ALIGNMENT:
        found.append(f"image.alignment is '{image.alignment}', but these faces are aligned to the "
                     "ArcFace template by their landmarks")  # fmt: skip
    if image.crop is not None:
        found.append("image.crop has no meaning for faces aligned by landmarks; not applied")
    return found
