"""Synthetic identities as vectors: up to millions of people, for studies of the last layer.

Samples are a function of their numbers (`frcore.data.synthetic.samples`), so a prepared folder
holds no pixels: settings, and the identity and number of each sample. They are made when they are
read. Their labels, and the pairs of a benchmark, follow the rules of procedural faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.contents import Contents, GeneratedImages
from frcore.data.source import Source
from frcore.data.synthetic.labels import (
    check_labels,
    disturbed_labels,
    images_per_identity,
    numbers,
)
from frcore.data.synthetic.pairing import check_pairs, verification_pairs
from frcore.data.synthetic.samples import Samples
from frcore.study.data import SyntheticIdentities, SyntheticIdentityPairs


class VectorImages(GeneratedImages):
    """Samples as images, each of 3 · size² bytes.

    Args:
        settings: of `Samples`, without the size.
        table: `identity` and `number` of each.
    """

    kind = "synthetic_identities"

    def __init__(self, settings: dict[str, Any], table: pd.DataFrame):
        super().__init__(settings, table)
        self._identity = self.table["identity"].to_numpy(np.int64)
        self._number = self.table["number"].to_numpy(np.int64)

    def generated(self, rows: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
        samples = Samples(**self.settings, size=size)
        return samples.draw(self._identity[rows], self._number[rows])

    @property
    def names(self) -> pd.Series:
        numbers = self.table["number"].astype("str")
        return _people(self.settings, self._identity) + "/" + numbers

    def files(self) -> list[Path]:
        return []

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> VectorImages:
        return cls(settings, table)


class TestVectors(VectorImages):
    """Those of a benchmark; readers are looked up by the kind of data."""

    kind = "synthetic_identity_pairs"


class Identities(Source):
    """A training set of vectors."""

    def read(self) -> Contents:
        spec: SyntheticIdentities = self.section
        check_labels(spec)
        counts = images_per_identity(spec.identities, spec.images, spec.long_tail)
        images = _images(spec, "train", counts)
        true = _people(images.settings, np.arange(spec.identities)).to_numpy(object)
        labels, names = disturbed_labels(spec, images.table["identity"].to_numpy(), counts, true)
        given = pd.Series(names, dtype="str").iloc[labels].reset_index(drop=True)
        return Contents("train", images, _index(images, labels, given), decode=False)


class IdentityPairs(Source):
    """A verification benchmark of vectors."""

    def read(self) -> Contents:
        spec: SyntheticIdentityPairs = self.section
        check_pairs(spec)
        counts = np.full(spec.identities, spec.images)
        images = _images(spec, spec.kind, counts, TestVectors)
        index = _index(images, images.table["identity"].to_numpy())
        tables = {"pairs": verification_pairs(spec)}
        return Contents("pairs", images, index, tables, decode=False)


def _images(
    spec: SyntheticIdentities | SyntheticIdentityPairs,
    split: str,
    counts: NDArray[np.int64],
    reader: type[VectorImages] = VectorImages,
) -> VectorImages:
    settings = {"seed": spec.seed, "split": split, "difficulty": spec.difficulty,
                "quality_spread": spec.quality_spread}  # fmt: skip
    who = np.repeat(np.arange(len(counts)), counts)
    return reader(settings, pd.DataFrame({"identity": who, "number": numbers(counts)}))


def _people(settings: dict[str, Any], identity: NDArray[np.int64]) -> pd.Series:
    """Names that are unique across all synthetic data sets."""
    prefix = f"vectors/{settings['split']}/{settings['seed']}/"
    return prefix + pd.Series(identity).astype("str").str.zfill(7)


def _index(
    images: VectorImages, labels: NDArray[np.int64], given: pd.Series | None = None
) -> pd.DataFrame:
    true = _people(images.settings, images.table["identity"].to_numpy())
    return pd.DataFrame(
        {
            "name": images.names,
            "identity": true if given is None else given,
            "label": labels,
            "medium": np.arange(len(images)),
            "true_identity": true,
        }
    )
