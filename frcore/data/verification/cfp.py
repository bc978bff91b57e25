"""Templates and 1:N search on CFP (Sengupta et al., 2016), which has pairs only (`pair_lists`).

CFP has no official search. Here the frontal images of a person, ten in the release, are one
template, and each profile image, four a person, is one probe:

- 1:N, as in IJB: people are enrolled in two galleries, in turns in the order of their numbers, so
  that every probe has its mate in one gallery and none in the other.
- 1:1: every frontal template with every probe, in the release 2,000 genuine and 998,000 impostor
  pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from frcore.data.contents import Contents, EncodedFiles, index_by_name
from frcore.data.refusal import folder_at
from frcore.data.source import File
from frcore.data.verification.pair_lists import (
    Side,
    about,
    cfp_images,
    find_images,
    lists_of,
    names_of,
    numbered,
)
from frcore.data.verification.pairs import ListedSource, missing
from frcore.errors import UserError

SMALLEST = 4
"""People: a search needs two in each gallery."""


class TemplatesSource(ListedSource):
    """Templates of frontal images, and profile images to search for; images stay in place."""

    def lists(self) -> Iterator[File]:
        yield from lists_of(self.section, cfp_images(Path(self.section.pairs), "P"))

    def read(self) -> Contents:
        root = folder_at(self.section.images, "`images` must hold the aligned images")
        where: dict[Side, str] = {}
        for path in cfp_images(Path(self.section.pairs), "P"):
            for at, side in enumerate(numbered(path, names_of(self.section)), 1):
                first = where.setdefault(side, f"{path}:{at}")
                if first != f"{path}:{at}":
                    raise UserError(f"{path}:{at}: {side.path} is also in {first}; remove one line")
        found, problems = find_images(root, where)
        images = EncodedFiles(root, list(found.values()))
        index = index_by_name(images.names, [side.identity for side in found])
        # Images that are missing are reported instead.
        tables = {} if problems else _tables(list(found), str(self.section.pairs))
        return Contents(
            "templates",
            images,
            index,
            tables,
            about=about(self.section, named=self.section.names is not None),
            **missing(problems, root),
        )


def _tables(sides: list[Side], protocol: str) -> dict[str, pd.DataFrame]:
    """The protocol of images in the order of their paths, which begin with the person's number.

    Raises:
        UserError: too few people, or one without a frontal or a profile image.
    """
    image = pd.DataFrame(
        {
            "number": [side.path.split("/")[0] for side in sides],
            "identity": [side.identity for side in sides],
            "is_probe": ["/profile/" in side.path for side in sides],
        }
    )
    of_person = image.groupby("number")["is_probe"]
    if (odd := of_person.nunique() < 2).any():
        number = odd.index[odd][0]
        has, lacks = ("profile", "frontal") if of_person.first()[number] else ("frontal", "profile")
        raise UserError(
            f"{protocol}: person {number} has {has} images but no {lacks} one; a person needs "
            "a frontal image to be enrolled and a profile image to be searched for: complete the "
            "lists"
        )
    if len(odd) < SMALLEST:
        raise UserError(
            f"{protocol}: {len(odd)} people; two galleries need at least {SMALLEST}: complete the "
            "lists"
        )
    person = pd.factorize(image["number"])[0]
    # Ids of templates: the people's, then one for each probe.
    template = np.where(image["is_probe"], len(odd) + image["is_probe"].cumsum() - 1, person)
    rows = np.arange(len(image))
    templates = pd.DataFrame(
        {
            "template": template,
            "image": rows,
            "medium": rows,
            "identity": image["identity"],
            "weight": np.float32(1),
        }
    )
    enrolled = templates[~image["is_probe"]].drop_duplicates("template")
    probes = templates[image["is_probe"]]
    a, b = np.meshgrid(np.arange(len(enrolled)), np.arange(len(probes)), indexing="ij")
    who = person[image["is_probe"]]
    pairs = {"a": a.ravel(), "b": len(odd) + b.ravel(), "same": (a == who[b]).ravel()}
    columns = ["template", "identity"]
    galleries = enrolled[columns].assign(gallery=1 + enrolled["template"] % 2)
    return {
        "templates": templates,
        "template_pairs": pd.DataFrame(pairs),
        "galleries": galleries.reset_index(drop=True),
        "probes": probes[columns].reset_index(drop=True),
    }
