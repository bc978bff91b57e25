"""Training sets in WebDataset's layout: tar shards in which the files of a sample share a key.

A member `a/0001.jpg` has the key `a/0001` and the extension `jpg`, everything after the first dot
of the file name (webdataset `tariterators.py`, base_plus_ext). Members are accessed by memory map.
"""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from frcore.data.contents import Contents
from frcore.data.labels import labelled, of_texts
from frcore.data.pixels.decoding import BadImageError
from frcore.data.pixels.picture_kinds import LOOKED_AT, SUFFIXES, kind_of
from frcore.data.refusal import refuse
from frcore.data.shards.files import ShardImages, ShardSource, shard_names
from frcore.data.shards.tar_index import Member, members
from frcore.errors import UserError
from frcore.machine.faults import raise_refusal

_OPEN_SHARDS = 128
"""Each takes a file descriptor, and a process may have 1,024."""
_LONGEST_LABEL = 2**16

_IMAGES = frozenset(suffix[1:] for suffix in SUFFIXES)
_KEY = re.compile(r"^((?:.*/)?[^./]+)\.([^/]+)$")
_WRONG = "samples of the shards cannot be used"
_REMEDY = "Repair the shards, or set `label` to where the labels are stored"
_COLUMNS = {"name": "str", "shard": "int64", "offset": "int64", "size": "int64", "label": "str"}


class MemberImages(ShardImages):
    """The encoded images in tar archives.

    Args:
        paths: the archives.
        table: the `name`, `shard` (index in `paths`), `offset` and `size` of each image.
    """

    kind = "tar"
    file_column = "shard"

    def __init__(self, paths: Sequence[str | Path], table: pd.DataFrame):
        super().__init__(paths, table)
        self._offset, self._size = (table[name].to_numpy(np.int64) for name in ("offset", "size"))
        # Views of images keep a map alive after it is dropped from the cache.
        self._mapped = lru_cache(_OPEN_SHARDS)(_mapped)

    def encoded(self, row: int) -> memoryview:
        path = self.paths[self.file[row]]
        offset, size = int(self._offset[row]), int(self._size[row])
        try:
            content = self._mapped(path)
        except (OSError, ValueError) as error:
            raise_refusal(error)
            raise BadImageError(f"{path} cannot be read: {error}") from error
        if not 0 <= offset <= offset + size <= len(content):
            raise BadImageError(f"{path} ends before the image")
        return content[offset : offset + size]

    @property
    def names(self) -> pd.Series:
        """Shard and member, such as `0001.tar/a/0001.jpg`."""
        return self.table["name"]


class TarSource(ShardSource):
    """Tar shards.

    The image of a sample is the member with an image extension, else the only one whose content is
    an image.
    """

    what = "a .tar file"

    def read(self) -> Contents:
        paths, parts, problems = self.paths(), [], list[str]()
        counts: Counter[str] = Counter()
        first: dict[str, str] = {}
        for shard, (path, short) in enumerate(zip(paths, shard_names(paths), strict=True)):
            samples, wrong, ignored = _read_shard(path, self.section.label, self.section.json_key)
            problems += [f"{short}/{problem}" for problem in wrong]
            for why, member in ignored:
                counts[why] += 1
                first.setdefault(why, f"{short}/{member.name}")
            rows = [(f"{short}/{image.name}", shard, image.offset, image.size, text)
                    for image, text in samples]  # fmt: skip
            # Columns take a tenth of the memory of Python objects.
            parts.append(pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS))
        table = pd.concat(parts, ignore_index=True)
        names, stored = table["name"], table.pop("label")
        try:
            if not len(table):
                raise UserError(f"{self.section.root}: the {len(paths)} shards have no image with "
                                "a label; check `pattern` and `label`")  # fmt: skip
            labels = of_texts(stored, self.section, lambda row: str(names[row]), "tar")
        except UserError:
            refuse(_WRONG, problems, _REMEDY)  # These may be the cause.
            raise
        return labelled(
            MemberImages(paths, table), labels,
            problems=problems, wrong=_WRONG, remedy=_REMEDY, counts={"shards": len(paths)},
            warnings=[f"{count} members are {why} and were ignored, such as {first[why]!r}"
                      for why, count in counts.items()],
        )  # fmt: skip


def _read_shard(
    path: Path, label: str, json_key: str
) -> tuple[list[tuple[Member, str]], list[str], list[tuple[str, Member]]]:
    """Image and label of each sample, problems, and ignored members with the reason."""
    by_key: dict[str, dict[str, list[Member]]] = {}
    problems: list[str] = []
    ignored: list[tuple[str, Member]] = []
    found = list(members(path))
    content = _mapped(path)
    for member in found:
        key, extension = key_of(member.name)
        if extension in _IMAGES:
            role = "image"
        elif extension == label:
            role = "label"
        elif _looks_like_a_picture(member, content):
            role = "picture"
        else:
            ignored.append(("neither image nor label", member))
            continue
        by_key.setdefault(key or member.name, {}).setdefault(role, []).append(member)
    samples = []
    for key, roles in by_key.items():
        images, pictures, labels = (roles.get(role, []) for role in ("image", "picture", "label"))
        named = (*images[1:], *labels[1:], *images, *pictures, *labels)[0]
        try:
            if len(images) > 1 or len(labels) > 1:
                raise ValueError(f"the sample {key!r} has another member of this kind")
            if images:
                ignored += [("further images", member) for member in pictures]
            elif len(pictures) > 1:
                raise ValueError(
                    f"the sample {key!r} has {len(pictures)} images and none has an extension such "
                    "as .jpg; a sample's key ends at the first dot"
                )
            elif not pictures:
                raise ValueError("there is no image with this key")
            samples.append((named, _label_of(key, label, labels, content, json_key)))
        except ValueError as error:
            problems.append(f"{named.name}: {error}")
    return sorted(samples, key=lambda sample: sample[0].offset), problems, ignored


def _looks_like_a_picture(member: Member, content: memoryview) -> bool:
    """Whether a member is not hidden and its content is an image."""
    is_hidden = PurePosixPath(member.name).name.startswith(".")
    head = content[member.offset : member.offset + min(member.size, LOOKED_AT)]
    return not is_hidden and kind_of(head) is not None


def key_of(name: str) -> tuple[str, str]:
    """The key of a member and its lower-case extension; without a dot both are empty.

    >>> key_of("a.b/0001.left.JPG")
    ('a.b/0001', 'left.jpg')
    """
    found = _KEY.match(name)
    return (found[1], found[2].lower()) if found else ("", "")


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _label_of(key: str, kind: str, labels: list[Member], content: memoryview, json_key: str) -> str:
    """The label of a sample: its folder's name, a member's text, or a value in JSON."""
    if kind == "folder":
        if folder := PurePosixPath(key).parent.name:
            return folder
        raise ValueError("it is not in a folder that names its identity")
    if not labels:
        raise ValueError(f"no member {key}.{kind} with its label")
    name, offset, size = labels[0]
    if size > _LONGEST_LABEL:
        raise ValueError(f"{name} has {size} bytes, too many for a label")
    text = str(content[offset : offset + size], "utf-8")
    if kind == "cls":
        return text.strip()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    value = values.get(json_key) if isinstance(values, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name} has no number or text with the key {json_key!r}")
    return str(value).strip()
