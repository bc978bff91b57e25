"""Benchmarks of listed pairs: the common parts of the lists of LFW, CFP, CALFW and CPLFW."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from frcore.data.contents import Contents, EncodedFiles, index_by_name
from frcore.data.refusal import refuse
from frcore.data.source import File, Source


class Pair(NamedTuple):
    """Two images of a list.

    Attributes:
        a, b: the images, each a tuple that has the `identity` on it and is sorted like its name.
        same: whether the pair is genuine.
        fold: from 0.
        where: file and line, for messages.
        split: `test` or `threshold`.
    """

    a: Any
    b: Any
    same: bool
    fold: int
    where: str
    split: str = "test"


class ListedSource(Source):
    """A source whose lists name its images."""

    @abstractmethod
    def lists(self) -> Iterator[File]:
        """The lists, with their names."""

    def files(self) -> Iterator[File]:
        yield from self.lists()
        contents = self.read()
        refuse(contents.wrong, contents.problems, contents.remedy)
        images = contents.images
        assert images is not None, "lists are of images"
        yield from zip(images.names, images.files(), strict=True)


def missing(problems: list[str], root: Path) -> dict[str, Any]:
    """The fields of `Contents` about images that a list names but that do not exist."""
    return {
        "problems": problems,
        "wrong": "images of the list are missing",
        "remedy": f"Complete {root}, or correct the list",
    }


def pair_contents(
    pairs: Sequence[Pair], rows: Mapping[Any, int], images: EncodedFiles, problems: list[str]
) -> Contents:
    """The contents of a benchmark.

    Args:
        pairs: in the order of the lists; those of an image that is missing are left out.
        rows: the row of each image that is there.
        images: these.
        problems: the others.
    """
    there = [pair for pair in pairs if pair.a in rows and pair.b in rows]
    table = pd.DataFrame(
        {
            "a": [rows[pair.a] for pair in there],
            "b": [rows[pair.b] for pair in there],
            "same": [pair.same for pair in there],
            "fold": [pair.fold for pair in there],
            "split": pd.Series([pair.split for pair in there], dtype="str"),
        }
    )
    return Contents(
        "pairs",
        images,
        index_by_name(images.names, [side.identity for side in rows]),
        {"pairs": table},
        warnings=_shared_people(pairs),
        **missing(problems, images.root),
    )


def _shared_people(pairs: Sequence[Pair]) -> list[str]:
    """A warning when folds share people, because their accuracies are then not independent."""
    folds: dict[str, set[tuple[str, int]]] = {}
    for pair in pairs:
        for side in (pair.a, pair.b):
            folds.setdefault(side.identity, set()).add((pair.split, pair.fold))
    shared = sorted(name for name, where in folds.items() if len(where) > 1)
    if not shared:
        return []
    return [f"{len(shared)} people are in more than one fold or split, the first is {shared[0]!r}"]
