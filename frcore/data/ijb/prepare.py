"""IJB-B and IJB-C as a prepared benchmark: images stay in place and are aligned on reading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.data.contents import Contents, EncodedFiles, index_by_name
from frcore.data.ijb.layout import (
    IMAGE_COLUMNS,
    SYNTHETIC_MARK,
    find_crops,
    list_files,
    meta_file,
)
from frcore.data.ijb.lists import IJBLists, read_lists
from frcore.data.ijb.people import People, people_of
from frcore.data.refusal import refuse_rows
from frcore.data.source import File, Source
from frcore.data.text_table import TextTable


class IJBSource(Source):
    """The benchmark; images stay in place and are aligned on reading."""

    def read(self) -> Contents:
        spec = self.section
        lists = read_lists(spec.root, spec.name, keep_repeated_pairs=spec.repeated_pairs == "keep")
        people = people_of(lists, spec.name)
        tables, images = _tables(lists, people), None
        if spec.images:
            images = EncodedFiles(find_crops(Path(spec.root), spec.name), tables["index"]["name"])
            _refuse_missing(images)
        return Contents(
            "templates",
            images,
            tables.pop("index"),
            tables,
            landmarks=lists.landmarks if spec.images else None,
            decode=False,
            about={"alignment": "arcface-112", "people": "numbered"},
            warnings=[*lists.warnings, *people.warnings],
        )

    def files(self) -> Iterator[File]:
        root, name = Path(self.section.root), self.section.name
        for path in (root / SYNTHETIC_MARK, *list_files(root, name)):
            if path.is_file():
                yield f"list {path.name}", path
        if self.section.images:
            crops, images = find_crops(root, name), meta_file(root, name, "face_tid_mid.txt")
            table = TextTable(images, IMAGE_COLUMNS, "Use the list as released")
            for image in table.texts("image").to_pylist():
                yield image, f"{crops}/{image}"


def _refuse_missing(source: EncodedFiles) -> None:
    """Refuse missing and empty image files; whether they can be decoded shows on reading."""

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
        "Complete the folder, or set `images: false` to evaluate embeddings computed elsewhere",
    )  # fmt: skip


def _tables(lists: IJBLists, people: People) -> dict[str, pd.DataFrame]:
    identity = pd.Series(people.of(lists.template)).astype("str")
    tables = {
        "index": index_by_name(lists.names.to_pandas(), identity, lists.medium),
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
