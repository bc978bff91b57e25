"""`manifest.json` of a prepared data set."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from frcore.records.base import Record

Protocol = Literal["train", "pairs", "templates"]

Storage = Literal["copied", "in_place", "absent"]
"""Where the images are: in `images.npy`; where they always were; nowhere, only their names."""


class Skipped(BaseModel):
    """A source file that was left out, and why."""

    file: str
    reason: str


class Manifest(Record):
    """`manifest.json`, written last, and the same to the letter where the content is, because
    trainings depend on it."""

    # Lists of JSON become tuples, which nobody changes.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)

    format: Literal[2] = 2
    """2"""
    kind: str
    """of the section, such as `recordio`"""
    protocol: Protocol
    """`train`, `pairs`, `templates`"""
    storage: Storage = "copied"
    """`copied`, `in_place`, `absent`"""
    tables: tuple[str, ...] = ()
    """the protocol tables that there are"""
    spec: dict[str, Any]
    """the section, its paths empty"""
    spec_hash: str
    """of the section"""
    images: int
    """how many"""
    identities: int
    """how many"""
    image_size: int
    """side, pixels"""
    label_range: tuple[int, int]
    """the lowest and the highest"""
    alignment: str
    """how faces were aligned"""
    colour: Literal["RGB"] = "RGB"
    """`RGB`"""
    synthetic: bool
    """whether the faces were drawn"""
    people: Literal["named", "numbered", "linked"] = "named"
    """what `identity` is: `named`; `numbered`: a number that distinguishes people of this set and
    names none; `linked`: the same, but some who are one person have several (`insightface_bin`)"""
    content_sha256: str
    """of images, index and protocol tables"""
    skipped: tuple[Skipped, ...] = ()
    """source files that were left out: `file`, `reason`"""
    warnings: tuple[str, ...] = ()
    """sentences"""
