"""A few people as image files, which the tests pack in every format that is read in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from frcore.data.prepared.folder import Prepared
from frcore.study.data import Image
from tests.data.making import train, write_person

IMAGE = Image(size=16, crop=18, alignment="none")

PEOPLE = {"Ada": (3, ".jpg"), "Bea": (2, ".png"), "Čeněk": (4, ".jpg")}


def write_people(root: Path) -> list[Path]:
    """Nine images of three people below `root`, sorted by name."""
    return [
        path
        for name, (count, suffix) in PEOPLE.items()
        for path in write_person(root, name, count, suffix=suffix)
    ]


def copied(root: Path, out: Path) -> Prepared:
    """The people as the folder reader copies them."""
    return train(out, IMAGE, kind="folder", root=str(root))


def assert_same_images(found: Prepared, expected: Prepared) -> None:
    """The same pixels, labels and (where both have names) identities, in the same order."""
    assert found.manifest.storage == "in_place"
    assert not (found.folder / "images.npy").exists()
    np.testing.assert_array_equal(found.images[:], expected.images[:])
    rows = np.random.default_rng(0).permutation(len(expected.labels))
    np.testing.assert_array_equal(found.images[rows], expected.images[rows])
    assert found.labels.tolist() == expected.labels.tolist()
    found.verify()
