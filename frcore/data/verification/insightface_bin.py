"""InsightFace's `.bin` verification sets: LFW, CFP-FP, AgeDB-30 and others, each one pickle.

A file is a pickle of (list of 2P encoded images, list of P labels); pair i is images 2i and 2i + 1,
and the folds are ten consecutive blocks of pairs (insightface, `recognition/arcface_torch/eval/
verification.py`: `load_bin`, and `KFold(n_splits=10, shuffle=False)` in `calculate_roc`). Python 2
and 3 have written such files with every pickle protocol; images are bytes, text of code points
below 256, or uint8 arrays of the encoded bytes; labels are bools, 0 and 1, or numpy's bools.

Unpickling such a file would run whatever it contains: see `frcore.data.verification.pickles`. It is
indexed here (offset and length of each image) and images are read in place.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frcore.data.contents import Contents, EncodedImages, index_of
from frcore.data.pixels.decoding import BadImageError
from frcore.data.refusal import reading
from frcore.data.source import File, Source
from frcore.data.verification.pickles import (
    Array,
    Blob,
    Buffer,
    Fault,
    PickleReader,
    RefusedPickleError,
)
from frcore.errors import UserError

FOLDS = 10

LAYOUT = (
    "allowed is what InsightFace's tools write: a pickle of (list of 2P encoded images as bytes, "
    "text or uint8 arrays; list of P bools)"
)


_WHY: Mapping[Fault, str] = {
    "cut short": "{}: the file ends too early; check the download: compare its size or its sha256 "
    "with those of its source",
    "damaged": "{}; " + LAYOUT + "; check the download: it may be damaged, or another file",
    "forbidden": "{}, which no list of images and bools needs; " + LAYOUT + "; the download is "
    "damaged, or the file is meant to run code: do not load it with Python's pickle either, and "
    "compare its sha256 with that of its source",
}


class BinImages(EncodedImages):
    """The images of a `.bin` file, read in place from a memory map.

    Args:
        path: of the file.
        table: `image` (its number in the file), `offset`, `length` and `codec` (see `Blob`).
    """

    kind = "insightface_bin"

    def __init__(self, path: str | Path, table: pd.DataFrame):
        self.path = Path(path).resolve()
        types = {"image": "int64", "offset": "int64", "length": "int64", "codec": "str"}
        super().__init__({"path": str(self.path)}, table.astype(types))
        self._buffer = _mapped(self.path)
        self._offset, self._length = (self.table[name].to_numpy() for name in ("offset", "length"))
        self._codec = self.table["codec"].to_numpy(object)
        within = (self._offset >= 0) & (self._length >= 0)
        within &= self._offset + self._length <= len(self._buffer)
        if not within.all():
            raise UserError(f"{path} is shorter than its images; run `frcore prepare` again")

    def encoded(self, row: int) -> Buffer:
        blob = Blob(int(self._offset[row]), int(self._length[row]), self._codec[row])
        try:
            return blob.read(self._buffer)
        except (ValueError, KeyError) as error:
            raise BadImageError(f"it is not stored as bytes ({error})") from error

    @property
    def names(self) -> pd.Series:
        return self.path.name + "#" + self.table["image"].astype("str")

    def files(self) -> list[Path]:
        return [self.path]


class VerificationBin:
    """The images and pairs of a `.bin` file.

    Attributes:
        path: of the file.
        same: True for genuine pairs (P,); pair i is images 2i and 2i + 1.

    Raises:
        UserError: the file is missing, is not a pickle of this layout, or contains anything but
            lists of bytes and bools; nothing in it is run.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._buffer = _mapped(self.path)
        try:
            value = PickleReader(self._buffer).load()
        except RefusedPickleError as refused:
            raise self._error(str(refused), refused.fault) from refused
        if type(value) not in (tuple, list) or len(value) != 2:
            raise self._error(f"its content is a {_kind(value)}, not two lists")
        images, labels = value
        if type(images) not in (list, tuple):
            raise self._error(f"the images are a {_kind(images)}, not a list")
        self._blobs = [self._image(row, image) for row, image in enumerate(images)]
        try:
            self.same = self._labels(labels)
        except (ValueError, KeyError) as error:
            raise self._error(f"a label is not stored as bytes ({error})") from error
        if len(self._blobs) != 2 * len(self.same) or not self._blobs:
            raise self._error(f"{len(self._blobs)} images for {len(self.same)} pairs")

    def __len__(self) -> int:
        return len(self._blobs)

    @property
    def images(self) -> BinImages:
        """The 2P images."""
        table = pd.DataFrame(self._blobs, columns=["offset", "length", "codec"])
        table.insert(0, "image", np.arange(len(table)))
        return BinImages(self.path, table)

    @property
    def fold(self) -> NDArray[np.int64]:
        """The fold of each pair (P,): ten consecutive blocks, as in InsightFace's `KFold`."""
        blocks = np.array_split(np.arange(len(self.same)), min(FOLDS, len(self.same)))
        return np.repeat(np.arange(len(blocks)), [len(block) for block in blocks])

    @property
    def people(self) -> NDArray[np.int64]:
        """A code for the person in each image (2P,), as far as the file identifies them.

        It has no names. Two images show one person if they are the same file or a genuine pair;
        what is linked so gets one code. People of different codes may still be one. Where links
        contradict an impostor pair (a wrong label), only genuine pairs are linked.
        """
        images, genuine = self.images, 2 * np.flatnonzero(self.same)
        links = [(row, row + 1) for row in genuine.tolist()]
        first: dict[bytes, int] = {}
        hashes: dict[Blob, bytes] = {}
        for row, blob in enumerate(self._blobs):
            # A pickle can name one image many times.
            if blob not in hashes:
                try:
                    hashes[blob] = sha256(images.encoded(row)).digest()
                except BadImageError:  # Reported when images are decoded.
                    hashes[blob] = repr(blob).encode()
            links.append((row, first.setdefault(hashes[blob], row)))
        linked = _components(len(self), links)
        if (linked[::2] == linked[1::2])[~self.same].any():
            return _components(len(self), links[: len(genuine)])
        return linked

    def _image(self, row: int, image: Any) -> Blob:
        if type(image) is Blob:
            return image
        if type(image) is not Array or image.data is None or image.kind != "u1":
            raise self._error(f"image {row} is a {_kind(image)}")
        if sum(side != 1 for side in image.shape) > 1:
            raise self._error(
                f"image {row} is an array of shape {image.shape}: pixels, whose order of colours "
                "nothing says, not an encoded image"
            )
        return image.data

    def _labels(self, labels: Any) -> NDArray[np.bool_]:
        if type(labels) is Array and labels.data is not None and len(labels.shape) == 1:
            labels = list(bytes(labels.data.read(self._buffer)))
        if type(labels) not in (list, tuple):
            raise self._error(f"the labels are a {_kind(labels)}, not a list")
        values = [self._scalar(label) for label in labels]
        for row, value in enumerate(values):
            if value not in (0, 1):
                raise self._error(f"label {row} is {_kind(labels[row])}, not a bool")
        return np.array(values, dtype=np.bool_)

    def _scalar(self, label: Any) -> int | None:
        if type(label) in (bool, int):
            return int(label)
        if type(label) is Array and label.data is not None and label.shape == ():
            return int.from_bytes(bytes(label.data.read(self._buffer)), "little")
        return None

    def _error(self, problem: str, fault: Fault = "damaged") -> UserError:
        return UserError(f"{self.path}: {_WHY[fault].format(problem)}")


class BinSource(Source):
    """The pairs of a `.bin` file as a benchmark; images stay in the file."""

    def read(self) -> Contents:
        found = VerificationBin(self.section.path)
        people, rows = found.people, np.arange(len(found))
        who = [f"{found.path.name}/{code}" for code in range(int(people.max()) + 1)]
        table = {"a": rows[::2], "b": rows[1::2], "same": found.same, "fold": found.fold}
        return Contents(
            "pairs",
            found.images,
            index_of(found.images.names, people, who),
            {"pairs": pd.DataFrame(table | {"split": "test"})},
            about={"people": "linked"},
            warnings=[unnamed_people(len(who))],
        )

    def files(self) -> Iterator[File]:
        path = Path(self.section.path)
        yield path.name, path


def unnamed_people(count: int) -> str:
    """The warning for a benchmark without names, printed under its numbers."""
    return (
        "the file has no names of people. Intervals are over pairs, or over groups of pairs that "
        f"share people because they share an image ({count} such people); if pairs share people "
        "in other ways, intervals are too narrow. Whether people are also in the training set is "
        "unknown"
    )


def _mapped(path: Path) -> Buffer:
    """The file as a memory map."""
    with reading(path, "`path` must be an InsightFace .bin file"), path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise UserError(f"{path} is empty; {LAYOUT}; check the download")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _kind(value: Any) -> str:
    names = {Blob: "string of bytes", Array: "numpy array", type(None): "None"}
    return names.get(type(value), type(value).__name__)


def _components(count: int, links: list[tuple[int, int]]) -> NDArray[np.int64]:
    """A code for each of `count` items, equal for linked items."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)
