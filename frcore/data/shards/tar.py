"""Training sets in WebDataset's layout: shards of tar, in which the files of a sample share a key.

A member `a/0001.jpg` has the key `a/0001` and the extension `jpg`: all after the first dot of the
file's name (webdataset `tariterators.py`, base_plus_ext). Members are read through memory maps.
"""

from __future__ import annotations

import json
import mmap
import re
import threading
from collections import Counter, OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from frcore.data.pixels.decoding import BadImageError
from frcore.data.pixels.images import refuse
from frcore.data.pixels.picture_kinds import LOOKED_AT, SUFFIXES, kind_of
from frcore.data.prepared.encoded import EncodedImages
from frcore.data.prepared.labels import of_texts, write_labelled
from frcore.data.shards.find import find_shards, shard_names
from frcore.data.shards.tar_index import Member, members
from frcore.errors import UserError
from frcore.machine.faults import raise_refusal
from frcore.study.data import Image, TarImages

_OPEN_SHARDS = 128
"""Each takes a file descriptor, of which a process may have 1,024."""
_LONGEST_LABEL = 2**16

_IMAGES = frozenset(suffix[1:] for suffix in SUFFIXES)
_KEY = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$")


class MemberImages(EncodedImages):
    """The encoded images in tar archives.

    Args:
        paths: the archives.
        table: of each image its `name`, `shard` (a place in `paths`), `offset` and `size`.
    """

    kind = "tar"

    def __init__(self, paths: list[Path], table: pd.DataFrame):
        self.paths = paths
        self._names = table["name"].astype("str").reset_index(drop=True)
        self._shard, self._offset, self._size = (
            table[name].to_numpy(np.int64) for name in ("shard", "offset", "size")
        )
        if len(table) and not (self._shard.min() >= 0 and self._shard.max() < len(paths)):
            raise ValueError(f"shard {self._shard.max()} of {len(paths)}")
        self._maps: OrderedDict[int, memoryview] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self._names)

    def encoded(self, row: int) -> memoryview:
        """The member's content: a view into the memory map."""
        shard, offset, size = int(self._shard[row]), int(self._offset[row]), int(self._size[row])
        try:
            content = self._map(shard)
        except (OSError, ValueError) as error:
            raise_refusal(error)
            raise BadImageError(f"{self.paths[shard]} cannot be read: {error}") from error
        if not 0 <= offset <= offset + size <= len(content):
            raise BadImageError(f"{self.paths[shard]} ends before it")
        return content[offset : offset + size]

    def _map(self, shard: int) -> memoryview:
        with self._lock:
            if shard not in self._maps:
                self._maps[shard] = _mapped(self.paths[shard])
                # Views of images keep a map alive that is dropped here.
                if len(self._maps) > _OPEN_SHARDS:
                    self._maps.popitem(last=False)
            self._maps.move_to_end(shard)
            return self._maps[shard]

    @property
    def names(self) -> pd.Series:
        """Shard and member, as `0001.tar/a/0001.jpg`."""
        return self._names

    def files(self) -> list[Path]:
        """The archives."""
        return self.paths

    def describe(self) -> tuple[dict[str, Any], pd.DataFrame]:
        """The archives; and where each image lies."""
        table = pd.DataFrame(
            {
                "name": self._names,
                "shard": self._shard,
                "offset": self._offset,
                "size": self._size,
            }
        )
        return {"paths": [str(path) for path in self.paths]}, table

    @classmethod
    def opened(cls, settings: dict[str, Any], table: pd.DataFrame) -> Self:
        """The reader of the members in `table`."""
        return cls([Path(path) for path in settings["paths"]], table)


class Sample(NamedTuple):
    """The members of one key that matter here."""

    image: Member
    label: str


class Shards(NamedTuple):
    """What several shards hold."""

    images: MemberImages
    labels: pd.Series
    """(N,), text."""
    problems: list[str]
    """One for each sample that cannot be used, which is not among the images."""
    unused: list[str]
    """What else there is, counted, with the first of each kind."""


def write_tar(spec: TarImages, image: Image, out: Path, about: dict[str, Any],
              workers: int | None) -> None:  # fmt: skip
    """Write a training set from shards of tar to the folder `out`."""
    paths = find_shards(spec.root, spec.pattern, "a .tar file")
    found = read_shards(paths, spec.label, spec.json_key)
    refuse("samples of the shards cannot be used", found.problems,
           "Repair the shards, or set `label` to where they keep it")  # fmt: skip
    if not len(found.images):
        raise UserError(f"{spec.root}: the {len(paths)} shards hold no image; check `pattern`")

    def where(row: int) -> str:
        return str(found.images.names.iloc[row])

    labels = of_texts(found.labels, spec, where, "tar")
    write_labelled(found.images, labels, spec, image, out, about, workers, found.unused)


def read_shards(paths: list[Path], label: str, json_key: str) -> Shards:
    """The samples of all shards, in their order; see `read_samples`.

    Raises:
        UserError: an archive cannot be used.
    """
    parts, problems = [], []
    counts: Counter[bool] = Counter()
    first: dict[bool, str] = {}
    for shard, (path, name) in enumerate(zip(paths, shard_names(paths), strict=True)):
        samples, wrong, unused = read_samples(path, label, json_key)
        problems += wrong
        for member in unused:
            counts[member.is_picture] += 1
            first.setdefault(member.is_picture, f"{name}/{member.name}")
        part = pd.DataFrame(
            [(f"{name}/{image.name}", shard, image.offset, image.size, text)
             for image, text in samples],
            columns=["name", "shard", "offset", "size", "label"],
        )  # fmt: skip
        # As columns an image takes a tenth of what it takes as Python objects.
        parts.append(part.astype({"name": "str", "label": "str"}))
    table = pd.concat(parts, ignore_index=True)
    said = [
        f"{counts[kind]} members are {what} and were ignored, the first is {first[kind]!r}"
        for kind, what in ((False, "neither image nor label"), (True, "further pictures"))
        if kind in first
    ]
    return Shards(MemberImages(paths, table), table["label"], problems, said)


class _Unused(NamedTuple):
    """A member that is not read."""

    name: str
    is_picture: bool


def read_samples(
    path: Path, label: str, json_key: str
) -> tuple[list[Sample], list[str], list[_Unused]]:
    """The samples of a shard, in the order of their images; problems; members that are not read.

    The image of a sample is the member with the extension of a picture, else the only one whose
    content is a picture.

    Args:
        path: the shard.
        label: `cls`, `json` or `folder`; see `TarImages`.
        json_key: key of the label in JSON.

    Raises:
        UserError: the archive cannot be used.
    """
    images: dict[str, Member] = {}
    labels: dict[str, Member] = {}
    by_content: dict[str, list[Member]] = {}
    problems: list[str] = []
    unused: list[_Unused] = []
    found = list(members(path))
    content = _mapped(path)
    for member in found:
        key, extension = key_of(member.name)
        kind = images if extension in _IMAGES else labels if extension == label else None
        if kind is not None and key in kind:
            problems.append(f"{path.name}/{member.name}: the sample {key!r} has two of its kind")
        elif kind is not None:
            kind[key] = member
        elif _looks_like_a_picture(member, content):
            by_content.setdefault(key or member.name, []).append(member)
        else:
            unused.append(_Unused(member.name, is_picture=False))
    for key, pictures in by_content.items():
        if key in images:
            unused += [_Unused(member.name, is_picture=True) for member in pictures]
        elif len(pictures) == 1:
            images[key] = pictures[0]
        else:
            problems.append(
                f"{path.name}/{pictures[0].name}: the sample {key!r} has {len(pictures)} pictures "
                "and none is called .jpg or the like; a sample's name ends at its first dot"
            )
    samples = []
    for key, image in sorted(images.items(), key=lambda item: item[1].offset):
        try:
            if label == "folder":
                text = _folder(key)
            elif key in labels:
                text = _stored(content, labels[key], json_key if label == "json" else None)
            else:
                raise ValueError(f"no member {key}.{label} with its label")
            samples.append(Sample(image, text))
        except ValueError as error:
            problems.append(f"{path.name}/{image.name}: {error}")
    alone = sorted(labels.keys() - images.keys() - by_content.keys())
    problems += [f"{path.name}/{labels[key].name}: there is no image of this key" for key in alone]
    return samples, problems, unused


def _looks_like_a_picture(member: Member, content: memoryview) -> bool:
    """Whether a member that is not hidden has the content of a picture."""
    is_hidden = PurePosixPath(member.name).name.startswith(".")
    head = content[member.offset : member.offset + min(member.size, LOOKED_AT)]
    return not is_hidden and kind_of(head) is not None


def key_of(name: str) -> tuple[str, str]:
    """The key of a member and its extension in lower case; without a dot both are empty.

    >>> key_of("a.b/0001.left.JPG")
    ('a.b/0001', 'left.jpg')
    """
    found = _KEY.match(name)
    return (found[1], found[2].lower()) if found else ("", "")


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _folder(key: str) -> str:
    folder = PurePosixPath(key).parent.name
    if not folder:
        raise ValueError("it is in no folder that would name its identity")
    return folder


def _stored(content: memoryview, member: Member, json_key: str | None) -> str:
    """The label in a member: its whole text, or a value of JSON."""
    if member.size > _LONGEST_LABEL:
        raise ValueError(f"{member.name} has {member.size} bytes, which is no label")
    text = bytes(content[member.offset : member.offset + member.size]).decode("utf-8")
    if json_key is None:
        return text.strip()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{member.name} is not JSON: {error}") from error
    value = values.get(json_key) if isinstance(values, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{member.name} has no number or text with the key {json_key!r}")
    return str(value).strip()
